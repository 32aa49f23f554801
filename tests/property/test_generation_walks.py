"""The store of generations in random walks. tests/property/walk.py has the rules and the invariants.

I10 is an invariant of the rate limiter: see test_limits.py.
"""

import random
from collections import Counter
from collections.abc import Sequence

import pytest

from converse_stream.protocol.events import Chunk, Message, Part, ReasoningSignature, Usage
from converse_stream.store import keys
from converse_stream.store.conversations import Conversations
from converse_stream.store.generation_record import End, GenerationRecord
from converse_stream.store.generation_writer import RUN, TableWriter
from converse_stream.store.generations import Generations
from tests.property import walk
from tests.property.fake_table import ITEM_BYTES, FakeDynamo, NoFaults, size
from tests.property.mutants import MUTANTS, Mutant
from tests.property.walk_actors import BEGIN

STEPS = 300
SHORT = range(60)
LONG = range(1000, 2500)
MUTANT_WALKS = range(5000, 5200)  # enough to find every mutant

# Events that must occur in the short walks at least 3 (RARE) or 40 (COMMON) times. Otherwise the walks prove nothing.
RARE = (
    "crash in a call", "deleted during a generation", "deliver_late_writes", "ended: cancel", "expire_items",
    "fenced", "key reused",
    "put: after", "flush_with_fast_clock", "rollback", "started: continue", "started: regenerate", "transact: after",
    "transact: late", "update: after", "update: again", "update: before", "update: late", "pass_days",
    "put: conflict", "transact: conflict", "transact: throttled", "update: conflict", "batch: unprocessed",
    "erasure in progress", "erased", "deletion unfinished",
    "a closed key is reused", "a record is replaced before it is removed", "a key is closed",
    "a segment of another owner",
    "answer restored",
)  # fmt: skip
COMMON = (
    "attached", "attached from the table", "cancel acknowledged", "conversation_busy", "crash", "ended: done",
    "ended: error", "followed to the end", "get: before", "nested", "query: before", "reaped", "cancel signalled",
    *(rule for rule, weight in walk.RULES.items() if weight >= 8 and rule not in ("deliver_late_writes", "unfreeze")),
)  # fmt: skip


def walks(seeds: Sequence[int], steps: int = STEPS) -> Counter[str]:
    counts: Counter[str] = Counter()
    for seed in seeds:
        counts += walk.walk(seed, steps).counts
    return counts


def incompressible_text(length: int) -> str:
    """Returns text that cannot be compressed, with four bytes per character."""
    characters = random.Random(7)  # noqa: S311  # reproducible, not a secret
    return "".join(chr(characters.randrange(0x10000, 0x3FFFF)) for _ in range(length))


def check_large_answer() -> None:
    """Checks I11 with an answer of three megabytes, in as few writes as possible: with signatures of 100 KB."""
    dynamo = FakeDynamo(NoFaults())
    conversations = Conversations(dynamo.table())
    generations = Generations(dynamo.table(), conversations, lambda: BEGIN)
    at = int(BEGIN * 1000)
    record = GenerationRecord(
        "gid", "run", "me", "payload", "conversation", 0, "answer", "nova-lite", 0, 0, (), at, at + 60_000
    )
    question = Message("question", "user", (Chunk("q"),), "t", generation_id="gid")
    writer = generations.start("alice", record, None, question)
    assert isinstance(writer, TableWriter)
    text = incompressible_text(600_000)
    signatures = [ReasoningSignature(incompressible_text(25_000), str(number)) for number in range(8)]
    parts: tuple[Part, ...] = (Chunk(text), *signatures, Chunk("end"))
    writer.flush(parts)
    stored = generations.get("alice", "gid")
    assert stored is not None
    assert generations.read("alice", stored, 0)[0] == Chunk(text[:RUN])
    answer = Message("answer", "assistant", parts, "t", generation_id="gid")
    writer.finish(answer, End("done", "stop", Usage()))
    assert conversations.recent("alice", "conversation", 5)[1] == [question, answer]
    assert max(map(size, dynamo.items.values())) <= ITEM_BYTES
    assert dynamo.items[keys.generation("alice", "gid"), keys.RECORD]["st"] == "done"


def test_walks_keep_every_invariant() -> None:
    counts = walks(SHORT)
    assert {name: counts[name] for name in COMMON if counts[name] < 40} == {}
    assert {name: counts[name] for name in RARE if counts[name] < 3} == {}


def test_a_large_answer_keeps_items_below_their_limit() -> None:
    check_large_answer()


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_long_walks_keep_every_invariant() -> None:
    counts = walks([*LONG, *MUTANT_WALKS])  # the walks of the mutants find nothing without a mutant
    counts += walks(range(3000, 3060), 3000)
    assert {name: counts[name] for name in (*COMMON, *RARE) if counts[name] < 200} == {}


def failure_with(mutant: Mutant) -> str | None:
    """Returns the failure of the walks with this bug, or None."""
    with mutant.applied():
        try:
            if mutant.invariant == "I11":
                check_large_answer()
            else:
                walks(MUTANT_WALKS)
        except AssertionError as error:  # not other errors: a mutant must still fit the store
            return f"{type(error).__name__}: {error}"
    return None


QUICK = (
    "a flush does not check n", "active is not removed", "a position is skipped", "a replaced answer is not restored",
    "unprocessed keys are ignored", "a batch is retried without limit", "a conflicting write is not retried",
    "a throttled transaction is not retried", "an erasure does not wait for the index",
)  # fmt: skip


@pytest.mark.parametrize("mutant", [item for item in MUTANTS if item.name in QUICK], ids=lambda mutant: mutant.name)
def test_seeded_bugs_violate_an_invariant(mutant: Mutant) -> None:
    assert failure_with(mutant)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_every_seeded_bug_violates_an_invariant(mutant: Mutant) -> None:
    assert failure_with(mutant)


def test_every_invariant_has_a_seeded_bug() -> None:
    without = {"I10"}  # the rate limiter's
    assert {mutant.invariant for mutant in MUTANTS} == {f"I{number}" for number in range(1, 15)} - without
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
