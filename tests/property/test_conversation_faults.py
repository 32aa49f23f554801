"""Regression tests of the walks, conversations: unfinished and late deletions, and concurrent reads."""

from types import SimpleNamespace
from unittest import mock

import pytest

from converse_stream.protocol.errors import NotFound, StorageError
from converse_stream.store import conversations, erasure_marker, keys, messages
from tests.property.controlled_store import ALICE, CONVERSATION, Store, inject
from tests.property.fake_table import Fault


def test_an_unfinished_deletion_keeps_its_mark(store: Store) -> None:
    """Otherwise a user that reuses the id sees the old messages."""
    store.finish(store.send("one"), "secret")
    with mock.patch.object(conversations, "time", SimpleNamespace(time=lambda: store.now)):
        store.conversations.mark_deleted(ALICE, CONVERSATION)
    store.dynamo.expire(store.now + 1e9)
    assert (keys.conversation(ALICE, CONVERSATION), keys.META) in store.dynamo.items


@pytest.mark.parametrize("removed", [False, True])
def test_a_late_removal_of_a_mark_does_not_remove_the_mark_of_a_later_deletion(store: Store, *, removed: bool) -> None:
    """Otherwise messages remain that no deletion finds, or the conversation can be started again."""
    store.finish(store.send("one"), "first")
    table = store.dynamo.table()
    started_at = erasure_marker.begin(table, ALICE)
    store.conversations.mark_deleted(ALICE, CONVERSATION)
    store.conversations.remove_messages(ALICE, CONVERSATION)
    store.hook.arm("transact", inject("late"))
    with pytest.raises(StorageError):
        store.conversations.remove_marker(
            ALICE, CONVERSATION, erasure_marker.same_erasure_part(table, ALICE, started_at)
        )
    store.conversations.remove_marker(ALICE, CONVERSATION, erasure_marker.same_erasure_part(table, ALICE, started_at))
    erasure_marker.end(table, ALICE, started_at)
    store.finish(store.send("two"), "second")
    store.conversations.mark_deleted(ALICE, CONVERSATION)
    if removed:
        store.conversations.remove_messages(ALICE, CONVERSATION)
    store.dynamo.deliver()
    assert (keys.conversation(ALICE, CONVERSATION), keys.META) in store.dynamo.items


def test_a_superseded_erasure_does_not_complete_a_later_deletion(store: Store) -> None:
    """Otherwise an unfinished deletion is considered complete, and its messages remain."""
    table = store.dynamo.table()
    store.finish(store.send("one"), "first")
    started_at = erasure_marker.begin(table, ALICE)
    store.conversations.mark_deleted(ALICE, CONVERSATION)

    def complete_erasure_and_delete_again() -> Fault:
        store.conversations.remove_messages(ALICE, CONVERSATION)
        store.conversations.remove_marker(
            ALICE, CONVERSATION, erasure_marker.same_erasure_part(table, ALICE, started_at)
        )
        erasure_marker.end(table, ALICE, started_at)
        store.finish(store.send("two"), "second")
        store.conversations.mark_deleted(ALICE, CONVERSATION)
        return "none"

    store.hook.arm("update", complete_erasure_and_delete_again)
    store.conversations.remove_messages(ALICE, CONVERSATION)
    assert store.conversations.get(ALICE, CONVERSATION).unfinished


def test_a_rename_during_a_deletion_does_not_restore_the_conversation(store: Store) -> None:
    store.finish(store.send("one"), "answer")

    def delete() -> Fault:
        store.conversations.mark_deleted(ALICE, CONVERSATION)
        return "none"

    store.hook.arm("update", delete)
    with pytest.raises(NotFound):
        store.conversations.rename(ALICE, CONVERSATION, "title")
    assert store.conversations.get(ALICE, CONVERSATION).title is None


def test_a_deletion_continues_after_a_transaction_conflict(store: Store) -> None:
    store.finish(store.send("one"), "secret")
    store.conversations.mark_deleted(ALICE, CONVERSATION)
    store.hook.arm("delete", inject("conflict"))
    store.conversations.remove_messages(ALICE, CONVERSATION)
    assert [sk for pk, sk in store.dynamo.items if pk == keys.conversation(ALICE, CONVERSATION)] == [keys.META]


def test_a_repeated_create_returns_the_same_conversation(store: Store) -> None:
    """Repeated by boto3, or by a client that lost the first response."""
    store.hook.arm("transact", inject("after"))
    with pytest.raises(StorageError):
        store.conversations.create(ALICE, CONVERSATION, "title")
    created = store.conversations.create(ALICE, CONVERSATION, "title")
    assert created == store.conversations.get(ALICE, CONVERSATION)


# A message whose pieces are removed


def test_a_large_message_deleted_during_a_read_raises_not_found(store: Store) -> None:
    with mock.patch.object(messages, "PIECE_BYTES", 40):
        store.finish(store.send("one"), "".join(chr(0x4E00 + 7 * number) for number in range(400)))

    def delete() -> Fault:
        store.conversations.mark_deleted(ALICE, CONVERSATION)
        store.conversations.remove_messages(ALICE, CONVERSATION)
        return "none"

    def delete_at_next_query() -> Fault:
        store.hook.arm("query", delete)
        return "none"

    for read in (
        lambda: store.conversations.messages(ALICE, CONVERSATION, limit=9),
        lambda: store.conversations.recent(ALICE, CONVERSATION, 9),
    ):
        stored_items = dict(store.dynamo.items)
        store.hook.arm("query", delete_at_next_query)
        with pytest.raises(NotFound):
            read()
        store.dynamo.items = stored_items


def test_a_removal_keeps_the_log_of_a_running_generation(store: Store) -> None:
    """Its owner ends it, and the usage is counted then."""
    store.finish(store.send("one"), "first")
    store.send("two")
    store.conversations.mark_deleted(ALICE, CONVERSATION)
    store.conversations.remove_messages(ALICE, CONVERSATION)
    assert store.generations.get(ALICE, "one") is None
    assert store.generations.get(ALICE, "two") is not None
