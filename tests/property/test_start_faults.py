"""What the walks found at the start of an answer: two at once, one that lands late, a conversation that is stuck."""

import pytest

from converse_stream.protocol.errors import ConversationBusy, StorageError
from converse_stream.protocol.events import Chunk, Message
from converse_stream.store.generation_record import GenerationRecord
from converse_stream.store.generation_writer import TableWriter
from tests.property.fake_table import Fault
from tests.property.steered_store import ALICE, CONVERSATION, Store, fails


def test_a_regeneration_sent_twice_at_once_is_one(store: Store) -> None:
    answer = store.finish(store.send("one"), "first")
    begun: list[TableWriter | GenerationRecord] = []

    def twin() -> Fault:
        begun.append(store.regenerate("two", answer))
        return "none"

    message = answer
    known = store.conversations.get(ALICE, CONVERSATION)
    store.once.arm("get", twin)
    again = store.generations.start(ALICE, store.record("two"), known, message, replace_last=True)
    assert isinstance(begun[0], TableWriter)
    assert isinstance(again, (TableWriter, GenerationRecord))


@pytest.mark.parametrize("deleted", [False, True])
def test_a_conversation_is_not_stuck_when_nobody_looked_for_a_day(store: Store, deleted: bool) -> None:
    store.send("one")
    store.at += 25 * 3600
    if deleted:
        store.dynamo.expire(store.at)
    try:
        store.send("two")
    except ConversationBusy:
        pytest.fail("the conversation is stuck for ever")


def test_a_key_that_is_used_again_twice_at_once_after_a_day_keeps_its_conversation_busy(store: Store) -> None:
    """Otherwise the one that is late frees the conversation of the other, because both have the same id."""
    store.send("one")
    store.at += 25 * 3600

    def twin() -> Fault:
        store.send("one", owner="twin")
        return "none"

    store.once.arm("query", twin)
    question = Message("again", "user", (Chunk("q"),), "t", generation_id="one")
    attached = store.generations.start(ALICE, store.record("one"), None, question)
    assert isinstance(attached, GenerationRecord)
    assert attached.owner == "twin"
    assert store.conversations.get(ALICE, CONVERSATION).active == "one"


# A start that lands late


def test_a_start_that_lands_late_begins_nothing(store: Store) -> None:
    store.once.arm("transact", fails("late"))
    with pytest.raises(StorageError):
        store.send("one")
    store.dynamo.deliver()
    assert store.conversations.get(ALICE, CONVERSATION).active is None
    writer = store.send("one", owner="the second try")
    assert store.generations.get_or_reap(ALICE, "one") == writer.record
    store.finish(writer, "answer")
    assert store.history == ["q", "answer"]


def test_of_two_starts_that_land_late_neither_begins_anything(store: Store) -> None:
    for owner in ("the first try", "the second try"):
        store.once.arm("transact", fails("late"))
        with pytest.raises(StorageError):
            store.send("one", owner=owner)
    store.dynamo.deliver()
    assert store.generations.get(ALICE, "one") is None
    store.finish(store.send("one", owner="the third try"), "answer")
    assert store.history == ["q", "answer"]


def test_a_start_that_landed_before_its_key_is_closed_goes_on(store: Store) -> None:
    store.once.arm("transact", fails("after"))
    store.finish(store.send("one"), "answer")
    assert store.history == ["q", "answer"]


def test_a_close_that_lands_late_closes_no_generation(store: Store) -> None:
    def close_late() -> Fault:
        store.once.arm("update", fails("late"))
        return "before"

    store.once.arm("transact", close_late)
    with pytest.raises(StorageError):
        store.send("one")
    writer = store.send("one", owner="the second try")
    store.dynamo.deliver()
    assert store.generations.get(ALICE, "one") == writer.record
