"""How the costs of a message grow with its conversation, with the user's facts, with the answer and with time."""

import copy
import random
import secrets
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import uuid4

from bench.contenders.contender import Contender, Running, running, url_event
from bench.measuring.rows import FLAT_SHORT, MS, SHORT, US, WARM_UPS, Row
from bench.servers.model import Answer
from bench.servers.runtime_api import FunctionError
from bench.servers.services import Services
from bench.servers.table import Item

REPEATS = 10
FEW_MESSAGES, MANY_MESSAGES, FACTS = 2, 1_000, 1_000
LONG = Answer(20_000)
WORDS = ("river", "lake", "village", "lunch", "train", "bridge", "winter", "garden", "letter", "window", "music")

ROWS = (
    *(
        Row(f"{key}-{part}", "growth", f"{title}, {text}", *MS)
        for text, key in (
            ("new conversation", "new"),
            (f"conversation of {FEW_MESSAGES} messages", "few"),
            (f"conversation of {MANY_MESSAGES:,} messages", "many"),
            (f"new conversation, {FACTS:,} facts", "facts"),
        )
        for part, title in (("wall", "request to the first delta"), ("cpu", "CPU of a request"))
    ),
    Row("token-short", "growth", f"CPU per token flat out, {FLAT_SHORT.tokens} tokens, without the fixed part", *US),
    Row("token-long", "growth", f"CPU per token flat out, {LONG.tokens:,} tokens, without the fixed part", *US),
    Row("memory-first", "growth", "RSS after 1 request", "MiB"),
    Row("memory-many", "growth", f"RSS after {MANY_MESSAGES // 2} requests", "MiB"),
    Row("memory-long", "growth", f"RSS after an answer of {LONG.tokens:,} tokens", "MiB"),
)


async def measure_round(
    contenders: Sequence[Contender], converse: Mapping[str, Contender], services: Services, folder: Path
) -> Mapping[str, Mapping[str, float]]:
    """Returns the values of all rows, by contender and key. `converse` has the function that stores facts."""
    return {each.name: await _measure(each, converse[each.name], services, folder / "log") for each in contenders}


async def _measure(contender: Contender, converse: Contender, services: Services, log: Path) -> dict[str, float]:
    partition, facts = await _facts(converse, services, log)
    async with running(contender, services, log) as process:
        await process.wait_until_ready()
        await process.ask(SHORT)
        values = {"memory-first": process.process.resident_megabytes()}
        for _ in range(WARM_UPS):
            await process.ask(SHORT)
        values |= await _costs(process, "new", [str(uuid4()) for _ in range(REPEATS)])
        values |= await _costs(process, "few", [await _conversation(process, FEW_MESSAGES) for _ in range(REPEATS)])
        values |= await _costs(process, "many", [await _conversation(process, MANY_MESSAGES)] * REPEATS)
        values["memory-many"] = process.process.resident_megabytes()
        stored = services.table.items.setdefault(partition, {})
        stored |= facts
        values |= await _costs(process, "facts", [str(uuid4()) for _ in range(REPEATS)])
        for key in facts:
            del stored[key]
        fixed = (await process.ask(SHORT)).cpu
        for key, answer in ("token-short", FLAT_SHORT), ("token-long", LONG):
            values[key] = ((await process.ask(answer)).cpu - fixed) / (answer.tokens - SHORT.tokens)
        values["memory-long"] = process.process.resident_megabytes()
    return values


async def _costs(process: Running, key: str, conversations: list[str]) -> dict[str, float]:
    answers = [await process.ask(SHORT, conversation) for conversation in conversations]
    return {
        f"{key}-wall": statistics.median(each.first_delta for each in answers),
        f"{key}-cpu": statistics.median(each.cpu for each in answers),
    }


async def _conversation(process: Running, messages: int) -> str:
    """A conversation with so many messages: each request adds one of the user and one of the assistant."""
    name = str(uuid4())
    for _ in range(messages // 2):
        await process.ask(SHORT, name)
    return name


async def _facts(converse: Contender, services: Services, log: Path) -> tuple[str, dict[str, Item]]:
    """Many facts in the form in which the function stores one: their partition key, and the items by sort key."""
    text, items = f"I live near a {WORDS[0]}", services.table.items
    async with running(converse, services, log) as process:
        _, response = await process.send(url_event("POST", "/memory", {"text": text}), SHORT)
    stored = [item for partition in items.values() for item in partition.values() if item.get("text") == {"S": text}]
    if not stored:
        raise FunctionError(f"no fact stored: {response.body!r}")
    original, chance = stored[-1], random.Random(1)  # noqa: S311  # the same facts each time
    del items[original["pk"]["S"]][original["sk"]["S"]]
    prefix = original["sk"]["S"].rpartition("#")[0]
    facts: dict[str, Item] = {}
    for _ in range(FACTS):
        fact = copy.deepcopy(original)
        fact["sk"] = {"S": f"{prefix}#{secrets.token_urlsafe(16)}"}
        fact["text"] = {"S": f"{text}: {' '.join(chance.choices(WORDS, k=10))}"}
        facts[fact["sk"]["S"]] = fact
    return original["pk"]["S"], facts
