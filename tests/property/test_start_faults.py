"""Regression tests of the walks, starts: concurrent starts, late starts, and conversations that stay busy."""

import pytest

from converse_stream.protocol.errors import ConversationBusy, StorageError
from converse_stream.protocol.events import Chunk, Message
from converse_stream.store.generation_record import GenerationRecord
from converse_stream.store.generation_writer import TableWriter
from tests.property.controlled_store import ALICE, CONVERSATION, Store, inject
from tests.property.fake_table import Fault


def test_two_concurrent_regenerations_with_one_key_start_once(store: Store) -> None:
    answer = store.finish(store.send("one"), "first")
    started: list[TableWriter | GenerationRecord] = []

    def concurrent_start() -> Fault:
        started.append(store.regenerate("two", answer))
        return "none"

    conversation = store.conversations.get(ALICE, CONVERSATION)
    store.hook.arm("get", concurrent_start)
    again = store.generations.start(ALICE, store.record("two"), conversation, answer, replace_last=True)
    assert isinstance(started[0], TableWriter)
    assert isinstance(again, (TableWriter, GenerationRecord))


@pytest.mark.parametrize("deleted", [False, True])
def test_a_conversation_accepts_a_message_a_day_after_its_owner_died(store: Store, deleted: bool) -> None:
    store.send("one")
    store.now += 25 * 3600
    if deleted:
        store.dynamo.expire(store.now)
    try:
        store.send("two")
    except ConversationBusy:
        pytest.fail("the conversation stays busy")


def test_two_concurrent_sends_with_a_key_reused_after_a_day_keep_the_conversation_busy(store: Store) -> None:
    """Otherwise the later start releases the conversation of the other one, because both have the same id."""
    store.send("one")
    store.now += 25 * 3600

    def concurrent_start() -> Fault:
        store.send("one", owner="concurrent")
        return "none"

    store.hook.arm("query", concurrent_start)
    question = Message("again", "user", (Chunk("q"),), "t", generation_id="one")
    attached = store.generations.start(ALICE, store.record("one"), None, question)
    assert isinstance(attached, GenerationRecord)
    assert attached.owner == "concurrent"
    assert store.conversations.get(ALICE, CONVERSATION).active == "one"


# Starts that arrive late


def test_a_start_that_arrives_late_starts_nothing(store: Store) -> None:
    store.hook.arm("transact", inject("late"))
    with pytest.raises(StorageError):
        store.send("one")
    store.dynamo.deliver()
    assert store.conversations.get(ALICE, CONVERSATION).active is None
    writer = store.send("one", owner="second attempt")
    assert store.generations.get_or_reap(ALICE, "one") == writer.record
    store.finish(writer, "answer")
    assert store.history == ["q", "answer"]


def test_two_starts_that_arrive_late_start_nothing(store: Store) -> None:
    for owner in ("first attempt", "second attempt"):
        store.hook.arm("transact", inject("late"))
        with pytest.raises(StorageError):
            store.send("one", owner=owner)
    store.dynamo.deliver()
    assert store.generations.get(ALICE, "one") is None
    store.finish(store.send("one", owner="third attempt"), "answer")
    assert store.history == ["q", "answer"]


def test_a_start_that_arrived_before_its_key_was_closed_continues(store: Store) -> None:
    store.hook.arm("transact", inject("after"))
    store.finish(store.send("one"), "answer")
    assert store.history == ["q", "answer"]


def test_a_late_close_does_not_close_a_generation(store: Store) -> None:
    def close_late() -> Fault:
        store.hook.arm("update", inject("late"))
        return "before"

    store.hook.arm("transact", close_late)
    with pytest.raises(StorageError):
        store.send("one")
    writer = store.send("one", owner="second attempt")
    store.dynamo.deliver()
    assert store.generations.get(ALICE, "one") == writer.record
