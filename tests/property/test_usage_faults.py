"""Usage is counted once: of a lost generation, of a temporary answer, and of a task."""

import pytest

from converse_stream.limits import NO_SLOTS, CurrentUsage, make_slot
from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.events import Chunk, Message, Reasoning, Usage
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.store.generation_record import End, Estimate
from converse_stream.store.usage import UsageStore
from converse_stream.store.usage_writer import UsageWriter
from tests.property.controlled_store import ALICE, HIGH_LIMITS, Store, inject


def test_the_usage_of_a_task_is_counted_if_the_table_is_throttled(store: Store, pauses: list[float]) -> None:
    usages = UsageStore(store.dynamo.table(), HIGH_LIMITS, lambda: store.now)
    store.hook.arm("transact", inject("throttled"))
    usages.count(ALICE, Usage(1_000, 500, cost=7))
    assert store.usage == [0, 1_000, 500, 7]
    assert len(pauses) == 1


def test_a_temporary_answer_is_counted_once_after_repeated_finishes(store: Store) -> None:
    usages = UsageStore(store.dynamo.table(), HIGH_LIMITS, lambda: store.now)
    request_slot = make_slot(int(store.now * 1000) + 60_000, "gid")
    usages.admit(ALICE, "here", request_slot, CurrentUsage())
    writer = UsageWriter(store.dynamo.table(), ALICE, request_slot, lambda: store.now)
    message = Message("m", "assistant", (), "t")
    end = End("done", "stop", Usage(1_000, 500))
    for _ in range(3):
        store.hook.arm("transact", inject("after"))
        with pytest.raises(StorageError):
            writer.finish(message, end)
        store.now += 1
    writer.finish(message, end)
    used = usages.read(ALICE, "here")
    assert (used.user.tokens, used.deployment.tokens, used.slots) == (1_500, 1_500, NO_SLOTS)


@pytest.mark.parametrize("prefix", ["", "paid for before, "])
def test_a_lost_generation_is_charged_for_its_input_and_output(store: Store, prefix: str) -> None:
    if prefix:
        first = store.finish(store.send("one"), prefix)
        writer = store.start_replacement(
            "two", first, prefix=first.parts, estimate=Estimate(1000, 2_000_000, 4_000_000_000)
        )
    else:
        writer = store.send("two", estimate=Estimate(1000, 2_000_000, 4_000_000_000))
    writer.flush([Reasoning("h" * 40), Chunk("a" * 40)])
    usage_before = store.usage
    store.now += 3600
    assert store.generations.get_or_reap(ALICE, "two") == store.generations.get_or_reap(ALICE, "two")
    record = store.generations.get(ALICE, "two")
    assert record is not None
    tokens = estimate_tokens("h" * 40 + "a" * 40)
    assert record.usage == Usage(1000, tokens, basis="estimated", cost=2_000_000 + tokens * 4_000)
    counted = [after - before for after, before in zip(store.usage, usage_before, strict=True)]
    assert counted == [1, 1000, tokens, record.usage.cost], "counted once, in the transaction that ends the generation"


def test_a_lost_generation_with_the_users_own_key_has_no_cost(store: Store) -> None:
    store.send("one", estimate=Estimate(1000)).flush([Chunk("a" * 40)])
    store.now += 3600
    record = store.generations.get_or_reap(ALICE, "one")
    assert record is not None
    assert record.usage == Usage(1000, estimate_tokens("a" * 40), basis="estimated")
