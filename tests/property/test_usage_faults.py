"""What an answer costs is counted once: one that is lost, one that is not stored, and what a task has spent."""

import pytest

from converse_stream.limits import NO_SLOTS, CurrentUsage, make_slot
from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.events import (
    Chunk,
    Message,
    Reasoning,
    Usage,
)
from converse_stream.store.generation_record import End, Estimate
from converse_stream.store.usage import UsageStore
from converse_stream.store.usage_writer import UsageWriter
from tests.property.steered_store import ALICE, GENEROUS_LIMITS, Store, fails


def test_what_a_task_has_spent_is_counted_when_the_table_is_throttled(store: Store, slept: list[float]) -> None:
    usages = UsageStore(store.dynamo.table(), GENEROUS_LIMITS, lambda: store.at)
    store.once.arm("transact", fails("throttled"))
    usages.count(ALICE, Usage(1_000, 500, cost=7))
    assert store.day == [0, 1_000, 500, 7]
    assert len(slept) == 1


def test_an_answer_that_is_not_stored_is_counted_once_however_often_it_is_tried(store: Store) -> None:
    usages = UsageStore(store.dynamo.table(), GENEROUS_LIMITS, lambda: store.at)
    taken = make_slot(int(store.at * 1000) + 60_000, "gid")
    usages.admit(ALICE, "here", taken, CurrentUsage())
    writer = UsageWriter(store.dynamo.table(), ALICE, taken, lambda: store.at)
    message = Message("m", "assistant", (), "t")
    end = End("done", "stop", Usage(1_000, 500))
    for _ in range(3):
        store.once.arm("transact", fails("after"))
        with pytest.raises(StorageError):
            writer.finish(message, end)
        store.at += 1
    writer.finish(message, end)
    used = usages.read(ALICE, "here")
    assert (used.user.tokens, used.deployment.tokens, used.slots) == (1_500, 1_500, NO_SLOTS)


@pytest.mark.parametrize("begun", ["", "paid for before, "])
def test_a_lost_answer_is_charged_for_what_it_read_and_said(store: Store, begun: str) -> None:
    if begun:
        first = store.finish(store.send("one"), begun)
        writer = store.made_again("two", first, begun=first.parts, estimate=Estimate(1000, 2_000_000, 4_000_000_000))
    else:
        writer = store.send("two", estimate=Estimate(1000, 2_000_000, 4_000_000_000))
    writer.flush([Reasoning("h" * 40), Chunk("a" * 40)])
    before = store.day
    store.at += 3600
    assert store.generations.get_or_reap(ALICE, "two") == store.generations.get_or_reap(ALICE, "two")
    record = store.generations.get(ALICE, "two")
    assert record is not None
    assert record.usage == Usage(1000, 20, basis="estimated", cost=2_000_000 + 20 * 4_000)
    counted = [now - then for now, then in zip(store.day, before, strict=True)]
    assert counted == [1, 1000, 20, 2_080_000], "once, in the transaction of the end"


def test_a_lost_answer_that_its_users_own_key_pays_for_costs_nothing(store: Store) -> None:
    store.send("one", estimate=Estimate(1000)).flush([Chunk("a" * 40)])
    store.at += 3600
    record = store.generations.get_or_reap(ALICE, "one")
    assert record is not None
    assert record.usage == Usage(1000, 10, basis="estimated")
