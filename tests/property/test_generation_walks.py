"""The store of generations under random walks: tests/property/walk.py says what may happen and what must hold.

I10 is left out: it is about the rate limiter.
"""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from converse_stream.protocol.events import Chunk, Message, Usage
from converse_stream.store import keys
from converse_stream.store.conversations import Conversations
from converse_stream.store.generation_record import End, GenerationRecord
from converse_stream.store.generation_writer import RUN, TableWriter
from converse_stream.store.generations import Generations
from tests.property import walk
from tests.property.fake_table import ITEM_BYTES, Calm, FakeDynamo, size
from tests.property.mutants import MUTANTS, Mutant
from tests.property.walk_actors import BEGIN

STEPS = 300
SHORT = range(60)
LONG = range(1000, 2500)
MUTANT_WALKS = range(5000, 5200)  # as many as it takes

# How often things must have happened in the short walks, or they prove nothing.
RARE = (
    "crash in a call", "deleted mid-answer", "deliver", "ended: cancel", "expire", "fenced", "key reused",
    "put: after", "race_ahead", "rollback", "started: continue", "started: regenerate", "transact: after",
    "transact: late", "update: after", "update: again", "update: before", "update: late", "day",
    "put: conflict", "transact: conflict", "transact: throttled", "update: conflict", "batch: unprocessed",
    "being erased", "erased", "deletion broken off",
    "a closed key is used", "a head is replaced before it is swept", "a key is closed", "a segment of another owner",
    "put back",
)  # fmt: skip
COMMON = (
    "attached", "attached from the table", "cancel acknowledged", "conversation_busy", "crash", "ended: done",
    "ended: error", "followed to the end", "get: before", "nested", "query: before", "reaped", "told of a cancel",
    *(rule for rule, weight in walk.RULES.items() if weight >= 8 and rule not in ("deliver", "thaw")),
)  # fmt: skip


def walks(seeds: Sequence[int], steps: int = STEPS) -> Counter[str]:
    counts: Counter[str] = Counter()
    for seed in seeds:
        counts += walk.walk(seed, steps).counts
    return counts


def noise(length: int) -> str:
    """Text that cannot be deflated, four bytes a character."""
    characters = random.Random(7)  # noqa: S311  # reproducible, not a secret
    return "".join(chr(characters.randrange(0x10000, 0x3FFFF)) for _ in range(length))


def large() -> None:
    """I11: an answer of three megabytes, in as few writes as can be."""
    dynamo = FakeDynamo(Calm())
    archive = Conversations(dynamo.table())
    shelf = Generations(dynamo.table(), archive, lambda: BEGIN)
    at = int(BEGIN * 1000)
    record = GenerationRecord(
        "gid", "run", "me", "payload", "conversation", 0, "answer", "nova-lite", 0, 0, (), at, at + 60_000
    )
    question = Message("question", "user", (Chunk("q"),), "t", generation_id="gid")
    writer = shelf.start("alice", record, None, question)
    assert isinstance(writer, TableWriter)
    text = noise(750_000)
    writer.flush([Chunk(text)])
    there = shelf.get("alice", "gid")
    assert there is not None
    assert shelf.read("alice", there, 0)[0] == Chunk(text[:RUN])
    answer = Message("answer", "assistant", (Chunk(text),), "t", generation_id="gid")
    writer.finish(answer, End("done", "stop", Usage()))
    assert archive.recent("alice", "conversation", 5)[1] == [question, answer]
    assert max(map(size, dynamo.items.values())) <= ITEM_BYTES
    assert dynamo.items[keys.generation("alice", "gid"), keys.RECORD]["st"] == "done"


def test_walks_keep_every_invariant() -> None:
    counts = walks(SHORT)
    assert {name: counts[name] for name in COMMON if counts[name] < 40} == {}
    assert {name: counts[name] for name in RARE if counts[name] < 3} == {}


def test_a_large_answer_keeps_items_below_their_limit() -> None:
    large()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_long_walks_keep_every_invariant() -> None:
    counts = walks([*LONG, *MUTANT_WALKS])  # those of the mutants must find nothing without one
    counts += walks(range(3000, 3060), 3000)
    assert {name: counts[name] for name in (*COMMON, *RARE) if counts[name] < 200} == {}


def caught(mutant: Mutant) -> str | None:
    """What the suite says to this bug."""
    with mutant.broken():
        try:
            if mutant.invariant == "I11":
                large()
            else:
                walks(MUTANT_WALKS)
        except AssertionError as error:  # a bug that no longer fits the store is not caught
            return f"{type(error).__name__}: {error}"
    return None


QUICK = (
    "a flush whatever n is", "active stays", "a position too far", "nothing is put back",
    "a batch that is read in part", "a batch without end", "a write that meets a transaction fails",
    "a throttled transaction fails", "the index is believed at once",
)  # fmt: skip


@pytest.mark.parametrize("mutant", [each for each in MUTANTS if each.name in QUICK], ids=lambda mutant: mutant.name)
def test_seeded_bugs_are_caught(mutant: Mutant) -> None:
    assert caught(mutant)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_seeded_bug_is_caught(mutant: Mutant) -> None:
    assert caught(mutant)


def test_every_invariant_has_a_seeded_bug() -> None:
    without = {"I10"}  # the rate limiter's
    assert {mutant.invariant for mutant in MUTANTS} == {f"I{number}" for number in range(1, 15)} - without
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
