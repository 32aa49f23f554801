"""Regression tests of the walks, replaced answers: an empty replacement restores the old answer."""

from dataclasses import replace
from unittest import mock

import pytest

from converse_stream.protocol.events import Complete, Message, Usage
from converse_stream.store import keys
from converse_stream.store.generation_record import End, Status
from converse_stream.store.generation_writer import TableWriter
from tests.property.controlled_store import ALICE, CONVERSATION, Store
from tests.property.fake_table import Fault


@pytest.mark.parametrize(
    ("status", "reason"), [("cancel", "cancelled"), ("error", "model_failed"), ("done", "deadline")]
)
def test_a_regeneration_that_ends_before_its_first_part_restores_the_old_answer(
    store: Store, status: Status, reason: str
) -> None:
    first = store.finish(store.send("one"), "good")
    replacement = store.regenerate("two", first)
    assert isinstance(replacement, TableWriter)
    empty = Message(replacement.record.message_id, "assistant", (), "t", "partial", "two", finish_reason="cancelled")
    assert replacement.finish(empty, End(status, reason, Usage())) == first
    assert replacement.finish(empty, End(status, reason, Usage())) == first, (
        "a repeated finish, as after a lost response"
    )
    assert store.history == ["q", "good"]
    end = store.follow_to_end("two")
    if isinstance(end, Complete):
        assert (end.ai_message, end.finish_reason) == (first, reason)
    else:
        assert (end.code, end.message_id) == (reason, first.id)
    store.finish(store.start_replacement("three", first), "better")
    assert store.history == ["q", "better"]


def test_a_continuation_that_ends_before_its_first_part_keeps_the_answer(store: Store) -> None:
    first = store.finish(store.send("one"), "good")
    replacement = store.start_replacement("two", first, prefix=first.parts)
    empty = replace(first, id=replacement.record.message_id, generation_id="two", finish_reason="cancelled")
    assert replacement.finish(empty, End("cancel", "cancelled", Usage())) == first
    assert store.conversations.recent(ALICE, CONVERSATION, 5)[1][-1] == first


@pytest.mark.parametrize("hours", [0.01, 25])
def test_a_regeneration_whose_owner_dies_before_its_first_part_restores_the_old_answer(
    store: Store, hours: float
) -> None:
    """A reader ends the regeneration; after a day, when its record is expired, the next message does."""
    first = store.finish(store.send("one"), "good")
    store.start_replacement("two", first)
    store.now += hours * 3600
    store.generations.get_or_reap(ALICE, "two")
    store.send("three")
    assert store.history == ["q", "good", "q"]


def test_a_large_answer_is_restored_completely(store: Store) -> None:
    with mock.patch("converse_stream.store.messages.PIECE_BYTES", 20):
        first = store.finish(store.send("one"), "".join(map(chr, range(0x4E00, 0x4E40))))
        replacement = store.start_replacement("two", first)
        empty = Message(replacement.record.message_id, "assistant", (), "t", "partial", "two")
        assert replacement.finish(empty, End("cancel", "cancelled", Usage())) == first
        assert store.conversations.recent(ALICE, CONVERSATION, 5)[1][-1] == first


def test_a_conversation_deleted_while_its_answer_is_restored_stays_deleted(store: Store) -> None:
    first = store.finish(store.send("one"), "good")
    replacement = store.start_replacement("two", first)

    def delete() -> Fault:
        store.conversations.mark_deleted(ALICE, CONVERSATION)
        store.conversations.remove_messages(ALICE, CONVERSATION)
        return "none"

    store.hook.arm("transact", delete)
    replacement.finish(Message("empty", "assistant", (), "t"), End("cancel", "cancelled", Usage()))
    assert [item["sk"] for item in store.dynamo.partition(keys.conversation(ALICE, CONVERSATION))] == [keys.META]
