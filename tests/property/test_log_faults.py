"""What the walks found in a generation's log: flushes, segments and leases that are late or lost."""

from unittest import mock

import pytest

from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.events import (
    Chunk,
    Message,
    Reasoning,
    Usage,
)
from converse_stream.store import keys
from converse_stream.store.generation_record import LEASE_GRACE_MS, LEASE_MS, End
from tests.property.fake_table import Fault
from tests.property.steered_store import ALICE, Store, fails


def test_a_flush_that_succeeded_unseen_may_be_given_again_with_more(store: Store) -> None:
    writer = store.send("one")
    store.once.arm("update", fails("after"))
    with pytest.raises(StorageError):
        writer.flush([Chunk("a")])
    writer.flush([Chunk("a"), Chunk("b")])
    assert store.durable("one") == "ab"


def test_a_flush_that_failed_in_its_second_write_may_be_given_again(store: Store) -> None:
    writer = store.send("one")
    entries = [Chunk("a" * 10), Chunk("b" * 10)]

    def second() -> Fault:
        store.once.arm("update", fails("before"))
        return "none"

    with mock.patch("converse_stream.store.generation_writer.RUN", 10):
        store.once.arm("update", second)
        with pytest.raises(StorageError):
            writer.flush(entries)
        writer.flush(entries)
    assert store.durable("one") == "a" * 10 + "b" * 10


def test_a_segment_that_arrives_late_does_not_replace_a_longer_one(store: Store) -> None:
    writer = store.send("one")
    with (
        mock.patch("converse_stream.store.generation_writer.RUN", 40),
        mock.patch("converse_stream.store.generation_writer.TAIL_BYTES", 40),
    ):
        writer.flush([Chunk("a")])
        store.once.arm("put", fails("late"))
        with pytest.raises(StorageError):
            writer.flush([Reasoning("b"), Chunk("c" * 35)])  # one run: "a" is sealed for it, and the write is late
        writer.flush([Reasoning("b"), Chunk("c" * 40)])  # two runs: "b" joins the tail, and both are sealed
    store.dynamo.deliver()
    assert store.durable("one") == "a" + "c" * 40


def test_a_reader_that_loses_against_a_renewed_lease_sees_a_running_generation(store: Store) -> None:
    writer = store.send("one")
    store.at += (LEASE_MS + LEASE_GRACE_MS) / 1000 + 1

    def wake() -> Fault:
        writer.flush([])
        return "none"

    store.once.arm("transact", wake)
    record = store.generations.get_or_reap(ALICE, "one")
    assert record is not None
    assert record.status == "run"


# A key that is used again after a day


@pytest.mark.parametrize("swept", ["nothing", "the head", "the segments"])
def test_a_key_that_is_used_again_after_a_day_begins_anew(store: Store, swept: str) -> None:
    """Whatever of its old items the table has deleted by then."""
    with mock.patch("converse_stream.store.generation_writer.TAIL_BYTES", 40):
        writer = store.send("one")
        for text in ("o" * 50, "l" * 50, "d" * 50):
            writer.flush([Reasoning(text), Chunk(text)])
        writer.finish(Message("old", "assistant", (), "t"), End("done", "stop", Usage()))
        store.at += 25 * 3600
        parts = {"nothing": (), "the head": (keys.RECORD,), "the segments": ("S#",)}[swept]
        store.dynamo.expire(store.at, lambda key: key[1].startswith(parts) if parts else False)
        again = store.send("one")
        for text in ("n" * 30, "e" * 60, "w" * 20):
            again.flush([Reasoning(text), Chunk(text)])
    assert store.durable("one") == "n" * 30 + "e" * 60 + "w" * 20
    assert store.generations.observe(ALICE, "one")[0] is not None


def test_a_head_whose_time_is_over_is_not_looked_at(store: Store) -> None:
    store.finish(store.send("one"), "answer")
    store.at += 25 * 3600
    assert store.generations.observe(ALICE, "one")[0] is None


def test_a_segment_of_a_day_ago_does_not_arrive_over_a_new_one(store: Store) -> None:
    with mock.patch("converse_stream.store.generation_writer.TAIL_BYTES", 40):
        writer = store.send("one")
        writer.flush([Chunk("o" * 50)])
        store.once.arm("put", fails("late"))
        with pytest.raises(StorageError):
            writer.flush([Reasoning("l" * 90)])
        store.at += 25 * 3600
        again = store.send("one")
        again.flush([Chunk("new ")])
        again.flush([Reasoning("x" * 90), Chunk("answer")])
        store.dynamo.deliver()
    assert store.durable("one") == "new answer"


def test_an_answer_of_a_key_that_was_used_again_can_be_made_again(store: Store) -> None:
    """Its earlier versions have one key: a generation's id, which a day later is another generation's."""
    first = store.finish(store.send("one"), "first")
    second = store.finish(store.made_again("two", first), "second")
    third = store.finish(store.made_again("three", second), "third")
    store.at += 25 * 3600
    fourth = store.finish(store.made_again("two", third), "fourth")
    store.finish(store.made_again("four", fourth), "fifth")
    assert store.history == ["q", "fifth"]
