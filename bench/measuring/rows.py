"""The rows of the comparison, and how each is measured in a started contender."""

import statistics
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from bench.contenders.contender import Contender, Exchange, running
from bench.servers.model import Answer
from bench.servers.runtime_api import FunctionError
from bench.servers.services import Services

SHORT, WARM_UPS, REPEATS = Answer(5), 3, 20
PACE = 0.02  # seconds between two tokens: how models really speak
PACED, PACED_SHORT = Answer(150, PACE), Answer(15, PACE)
FLAT, FLAT_SHORT, FLAT_REPEATS = Answer(2_000), Answer(500), 3


@dataclass(frozen=True)
class Row:
    """One row. `scale` turns the measured value into the unit. Rows of a group are measured together."""

    key: str
    group: str
    title: str
    unit: str
    scale: float = 1.0


MS, US = ("ms", 1e3), ("us", 1e6)
ROWS = (
    Row("cold-next", "cold", "cold: process start to the first `next`", *MS),
    Row("cold-first", "cold", "cold: process start to the first delta", *MS),
    Row("cold-cpu", "cold", "cold: CPU until the first answer has ended", *MS),
    Row("first-wall", "first", "warm: request to the first delta", *MS),
    Row("first-cpu", "first", "warm: CPU until the first delta", *MS),
    Row("request-cpu", "first", f"CPU of a request with {SHORT.tokens} tokens", *MS),
    Row("paced-cpu", "paced", "CPU per token at 20 ms pace, everything counted", *US),
    Row("paced-token", "paced", "CPU per token at 20 ms pace, without the fixed part", *US),
    Row("delay-median", "paced", "latency added per token, median", *US),
    Row("delay-p99", "paced", "latency added per token, p99", *US),
    Row("flat-token", "flat", "CPU per token flat out, without the fixed part", *US),
    Row("memory", "memory", "RSS, warm", "MiB"),
    Row("size", "size", "unzipped size of layers and functions", "MB"),
    Row("calls", "calls", "store calls of a message", ""),
    Row("calls-before", "calls", "store calls before the model is called", ""),
)
GROUPS = tuple(dict.fromkeys(row.group for row in ROWS))


async def measure(contender: Contender, services: Services, log: Path, groups: Collection[str]) -> dict[str, float]:
    """Starts the contender once, and returns the values of the rows of `groups` by key, in seconds, MiB or counts."""
    groups = set(groups) if contender.groups is None else contender.groups & set(groups)
    values = {} if contender.megabytes is None else {"size": contender.megabytes}
    if not groups - {"size"}:
        return values
    async with running(contender, services, log) as process:
        values["cold-next"] = await process.wait_until_ready()
        before, tasks = process.age(), len(services.invoke.payloads)
        first = await process.ask(SHORT)
        if contender.is_ours:
            _check_everything_ran(first, len(services.invoke.payloads) - tasks, log)
        values |= {"cold-first": before + first.first_delta, "cold-cpu": process.process.cpu_seconds()}
        values |= {"calls": len(first.store_calls), "calls-before": first.store_calls_before_model}
        if groups - {"size", "cold", "calls"}:
            for _ in range(WARM_UPS):
                await process.ask(SHORT)
        if "first" in groups:
            short = [await process.ask(SHORT) for _ in range(REPEATS)]
            values["first-wall"] = statistics.median(each.first_delta for each in short)
            values["first-cpu"] = statistics.median(each.first_delta_cpu for each in short)
            values["request-cpu"] = statistics.median(each.cpu for each in short)
        if "paced" in groups:
            paced = await process.ask(PACED)
            values["paced-cpu"] = paced.cpu / PACED.tokens
            values["paced-token"] = _per_token(paced, await process.ask(PACED_SHORT), PACED, PACED_SHORT)
            values["delay-median"] = statistics.median(paced.delays)
            values["delay-p99"] = statistics.quantiles(paced.delays, n=100)[98]
        if "flat" in groups:
            await process.ask(FLAT)  # Node compiles what runs often
            pairs = [(await process.ask(FLAT), await process.ask(FLAT_SHORT)) for _ in range(FLAT_REPEATS)]
            values["flat-token"] = statistics.median(_per_token(*pair, FLAT, FLAT_SHORT) for pair in pairs)
        values["memory"] = process.process.resident_megabytes()
    wanted = {row.key for row in ROWS if row.group in groups}
    return {key: value for key, value in values.items() if key in wanted}


def _check_everything_ran(first: Exchange, learning_tasks: int, log: Path) -> None:
    """Raises FunctionError if the message was answered without its memory, limits, log, metrics or learning."""
    before = first.store_calls[: first.store_calls_before_model]
    after = first.store_calls[first.store_calls_before_model :]
    checks = {
        "memory": "Query" in before,
        "limits": "UpdateItem" in before,
        "log": "TransactWriteItems" in before and "TransactWriteItems" in after,
        "learning": learning_tasks == 1,
        "metrics": "CloudWatchMetrics" in log.read_text(encoding="utf-8"),
    }
    if missing := [name for name, ran in checks.items() if not ran]:
        raise FunctionError(f"the function ran without: {', '.join(missing)}; its calls: {first.store_calls}")


def _per_token(long: Exchange, short: Exchange, longer: Answer, shorter: Answer) -> float:
    """The CPU seconds of one token: of the difference between a long and a short answer."""
    return (long.cpu - short.cpu) / (longer.tokens - shorter.tokens)
