"""What the walks found in answers that are made again, and nothing comes of it: the old one is put back."""

from dataclasses import replace
from unittest import mock

import pytest

from converse_stream.protocol.events import Complete, Message, Usage
from converse_stream.store import keys
from converse_stream.store.generation_record import End, Status
from converse_stream.store.generation_writer import TableWriter
from tests.property.fake_table import Fault
from tests.property.steered_store import ALICE, CONVERSATION, Store


@pytest.mark.parametrize(
    ("status", "reason"), [("cancel", "cancelled"), ("error", "model_failed"), ("done", "deadline")]
)
def test_a_regeneration_that_ends_before_its_first_part_puts_the_old_answer_back(
    store: Store, status: Status, reason: str
) -> None:
    first = store.finish(store.send("one"), "good")
    again = store.regenerate("two", first)
    assert isinstance(again, TableWriter)
    empty = Message(again.record.message_id, "assistant", (), "t", "partial", "two", finish_reason="cancelled")
    assert again.finish(empty, End(status, reason, Usage())) == first
    assert again.finish(empty, End(status, reason, Usage())) == first, "an end that had succeeded unseen"
    assert store.history == ["q", "good"]
    end = store.followed("two")
    if isinstance(end, Complete):
        assert (end.ai_message, end.finish_reason) == (first, reason)
    else:
        assert (end.code, end.message_id) == (reason, first.id)
    store.finish(store.made_again("three", first), "better")
    assert store.history == ["q", "better"]


def test_a_continuation_that_ends_before_its_first_part_leaves_the_answer_as_it_was(store: Store) -> None:
    first = store.finish(store.send("one"), "good")
    again = store.made_again("two", first, begun=first.parts)
    empty = replace(first, id=again.record.message_id, generation_id="two", finish_reason="cancelled")
    assert again.finish(empty, End("cancel", "cancelled", Usage())) == first
    assert store.conversations.recent(ALICE, CONVERSATION, 5)[1][-1] == first


@pytest.mark.parametrize("hours", [0.01, 25])
def test_a_regeneration_whose_owner_dies_before_its_first_part_puts_the_old_answer_back(
    store: Store, hours: float
) -> None:
    """Whoever looks ends it; after a day, when its head is gone, the next message does."""
    first = store.finish(store.send("one"), "good")
    store.made_again("two", first)
    store.at += hours * 3600
    store.generations.get_or_reap(ALICE, "two")
    store.send("three")
    assert store.history == ["q", "good", "q"]


def test_a_large_answer_is_put_back_whole(store: Store) -> None:
    with mock.patch("converse_stream.store.messages.PIECE_BYTES", 20):
        first = store.finish(store.send("one"), "".join(map(chr, range(0x4E00, 0x4E40))))
        again = store.made_again("two", first)
        empty = Message(again.record.message_id, "assistant", (), "t", "partial", "two")
        assert again.finish(empty, End("cancel", "cancelled", Usage())) == first
        assert store.conversations.recent(ALICE, CONVERSATION, 5)[1][-1] == first


def test_a_conversation_that_is_deleted_while_its_answer_is_put_back_stays_deleted(store: Store) -> None:
    first = store.finish(store.send("one"), "good")
    again = store.made_again("two", first)

    def delete() -> Fault:
        store.conversations.mark_deleted(ALICE, CONVERSATION)
        store.conversations.remove_messages(ALICE, CONVERSATION)
        return "none"

    store.once.arm("transact", delete)
    again.finish(Message("empty", "assistant", (), "t"), End("cancel", "cancelled", Usage()))
    assert [item["sk"] for item in store.dynamo.partition(keys.conversation(ALICE, CONVERSATION))] == [keys.META]
