"""Regression tests of the walks, log: flushes, segments and leases that are late or lost."""

from unittest import mock

import pytest

from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.events import Chunk, Message, Reasoning, Usage
from converse_stream.store import keys
from converse_stream.store.generation_record import LEASE_GRACE_MS, LEASE_MS, End
from tests.property.controlled_store import ALICE, Store, inject
from tests.property.fake_table import Fault


def test_a_flush_whose_response_was_lost_can_be_repeated_with_more_text(store: Store) -> None:
    writer = store.send("one")
    store.hook.arm("update", inject("after"))
    with pytest.raises(StorageError):
        writer.flush([Chunk("a")])
    writer.flush([Chunk("a"), Chunk("b")])
    assert store.durable("one") == "ab"


def test_a_flush_that_failed_in_its_second_write_can_be_repeated(store: Store) -> None:
    writer = store.send("one")
    entries = [Chunk("a" * 10), Chunk("b" * 10)]

    def fail_next() -> Fault:
        store.hook.arm("update", inject("before"))
        return "none"

    with mock.patch("converse_stream.store.generation_writer.RUN", 10):
        store.hook.arm("update", fail_next)
        with pytest.raises(StorageError):
            writer.flush(entries)
        writer.flush(entries)
    assert store.durable("one") == "a" * 10 + "b" * 10


def test_a_late_segment_does_not_replace_a_longer_one(store: Store) -> None:
    writer = store.send("one")
    with (
        mock.patch("converse_stream.store.generation_writer.RUN", 40),
        mock.patch("converse_stream.store.generation_writer.TAIL_BYTES", 40),
    ):
        writer.flush([Chunk("a")])
        store.hook.arm("put", inject("late"))
        with pytest.raises(StorageError):
            writer.flush([Reasoning("b"), Chunk("c" * 35)])  # one run: "a" is sealed, and that write is late
        writer.flush([Reasoning("b"), Chunk("c" * 40)])  # two runs: "b" joins the tail, and both are sealed
    store.dynamo.deliver()
    assert store.durable("one") == "a" + "c" * 40


def test_a_reader_that_loses_the_race_with_a_renewed_lease_sees_a_running_generation(store: Store) -> None:
    writer = store.send("one")
    store.now += (LEASE_MS + LEASE_GRACE_MS) / 1000 + 1

    def flush_first() -> Fault:
        writer.flush([])
        return "none"

    store.hook.arm("transact", flush_first)
    record = store.generations.get_or_reap(ALICE, "one")
    assert record is not None
    assert record.status == "run"


# A key that is reused after a day


@pytest.mark.parametrize("removed", ["nothing", "the record", "the segments"])
def test_a_key_reused_after_a_day_starts_a_new_generation(store: Store, removed: str) -> None:
    """The table has removed none or some of its old items."""
    with mock.patch("converse_stream.store.generation_writer.TAIL_BYTES", 40):
        writer = store.send("one")
        for text in ("o" * 50, "l" * 50, "d" * 50):
            writer.flush([Reasoning(text), Chunk(text)])
        writer.finish(Message("old", "assistant", (), "t"), End("done", "stop", Usage()))
        store.now += 25 * 3600
        parts = {"nothing": (), "the record": (keys.RECORD,), "the segments": ("S#",)}[removed]
        store.dynamo.expire(store.now, lambda key: key[1].startswith(parts) if parts else False)
        second_writer = store.send("one")
        for text in ("n" * 30, "e" * 60, "w" * 20):
            second_writer.flush([Reasoning(text), Chunk(text)])
    assert store.durable("one") == "n" * 30 + "e" * 60 + "w" * 20
    assert store.generations.observe(ALICE, "one")[0] is not None


def test_an_expired_record_is_not_observed(store: Store) -> None:
    store.finish(store.send("one"), "answer")
    store.now += 25 * 3600
    assert store.generations.observe(ALICE, "one")[0] is None


def test_a_segment_that_is_a_day_late_does_not_replace_a_new_one(store: Store) -> None:
    with mock.patch("converse_stream.store.generation_writer.TAIL_BYTES", 40):
        writer = store.send("one")
        writer.flush([Chunk("o" * 50)])
        store.hook.arm("put", inject("late"))
        with pytest.raises(StorageError):
            writer.flush([Reasoning("l" * 90)])
        store.now += 25 * 3600
        second_writer = store.send("one")
        second_writer.flush([Chunk("new ")])
        second_writer.flush([Reasoning("x" * 90), Chunk("answer")])
        store.dynamo.deliver()
    assert store.durable("one") == "new answer"


def test_an_answer_of_a_reused_key_can_be_regenerated(store: Store) -> None:
    """The earlier answers of a message are stored by generation id, and a reused key has the id of an earlier one."""
    first = store.finish(store.send("one"), "first")
    second = store.finish(store.start_replacement("two", first), "second")
    third = store.finish(store.start_replacement("three", second), "third")
    store.now += 25 * 3600
    fourth = store.finish(store.start_replacement("two", third), "fourth")
    store.finish(store.start_replacement("four", fourth), "fifth")
    assert store.history == ["q", "fifth"]
