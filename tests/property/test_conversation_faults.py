"""What the walks found in conversations: deletions that break off or arrive late, and reads beside them."""

from types import SimpleNamespace
from unittest import mock

import pytest

from converse_stream.protocol.errors import NotFound, StorageError
from converse_stream.store import conversations, erasure_mark, keys, messages
from tests.property.fake_table import Fault
from tests.property.steered_store import ALICE, CONVERSATION, Store, fails


def test_a_deletion_that_broke_off_leaves_its_mark(store: Store) -> None:
    """Otherwise whoever uses the id again sees the old messages."""
    store.finish(store.send("one"), "secret")
    with mock.patch.object(conversations, "time", SimpleNamespace(time=lambda: store.at)):
        store.conversations.mark_deleted(ALICE, CONVERSATION)
    store.dynamo.expire(store.at + 1e9)
    assert (keys.conversation(ALICE, CONVERSATION), keys.META) in store.dynamo.items


@pytest.mark.parametrize("removed", [False, True])
def test_a_mark_that_is_deleted_late_is_not_that_of_a_later_deletion(store: Store, *, removed: bool) -> None:
    """Otherwise messages are there that no deletion finds, or the conversation can begin again."""
    store.finish(store.send("one"), "first")
    table = store.dynamo.table()
    begun = erasure_mark.begin(table, ALICE)
    store.conversations.mark_deleted(ALICE, CONVERSATION)
    store.conversations.remove_messages(ALICE, CONVERSATION)
    store.once.arm("transact", fails("late"))
    with pytest.raises(StorageError):
        store.conversations.remove_mark(ALICE, CONVERSATION, erasure_mark.same_erasure_part(table, ALICE, begun))
    store.conversations.remove_mark(ALICE, CONVERSATION, erasure_mark.same_erasure_part(table, ALICE, begun))
    erasure_mark.end(table, ALICE, begun)
    store.finish(store.send("two"), "second")
    store.conversations.mark_deleted(ALICE, CONVERSATION)
    if removed:
        store.conversations.remove_messages(ALICE, CONVERSATION)
    store.dynamo.deliver()
    assert (keys.conversation(ALICE, CONVERSATION), keys.META) in store.dynamo.items


def test_an_erasure_that_is_overtaken_does_not_end_a_later_deletion(store: Store) -> None:
    """Otherwise a deletion that broke off counts as done, and its messages stay."""
    table = store.dynamo.table()
    store.finish(store.send("one"), "first")
    begun = erasure_mark.begin(table, ALICE)
    store.conversations.mark_deleted(ALICE, CONVERSATION)

    def overtake() -> Fault:
        store.conversations.remove_messages(ALICE, CONVERSATION)
        store.conversations.remove_mark(ALICE, CONVERSATION, erasure_mark.same_erasure_part(table, ALICE, begun))
        erasure_mark.end(table, ALICE, begun)
        store.finish(store.send("two"), "second")
        store.conversations.mark_deleted(ALICE, CONVERSATION)
        return "none"

    store.once.arm("update", overtake)
    store.conversations.remove_messages(ALICE, CONVERSATION)
    assert store.conversations.get(ALICE, CONVERSATION).unfinished


def test_a_name_for_a_conversation_that_is_deleted_at_that_moment_does_not_bring_it_back(store: Store) -> None:
    store.finish(store.send("one"), "answer")

    def delete() -> Fault:
        store.conversations.mark_deleted(ALICE, CONVERSATION)
        return "none"

    store.once.arm("update", delete)
    with pytest.raises(NotFound):
        store.conversations.rename(ALICE, CONVERSATION, "title")
    assert store.conversations.get(ALICE, CONVERSATION).title is None


def test_a_deletion_that_meets_a_transaction_goes_on(store: Store) -> None:
    store.finish(store.send("one"), "secret")
    store.conversations.mark_deleted(ALICE, CONVERSATION)
    store.once.arm("delete", fails("conflict"))
    store.conversations.remove_messages(ALICE, CONVERSATION)
    assert [sk for pk, sk in store.dynamo.items if pk == keys.conversation(ALICE, CONVERSATION)] == [keys.META]


def test_a_conversation_that_is_created_twice_is_the_same(store: Store) -> None:
    """By boto3, or by a client whose first answer was lost."""
    store.once.arm("transact", fails("after"))
    with pytest.raises(StorageError):
        store.conversations.create(ALICE, CONVERSATION, "title")
    created = store.conversations.create(ALICE, CONVERSATION, "title")
    assert created == store.conversations.get(ALICE, CONVERSATION)


# A message whose pieces are not there


def test_a_large_message_that_is_deleted_while_it_is_read_is_not_found(store: Store) -> None:
    with mock.patch.object(messages, "PIECE_BYTES", 40):
        store.finish(store.send("one"), "".join(chr(0x4E00 + 7 * number) for number in range(400)))

    def delete() -> Fault:
        store.conversations.mark_deleted(ALICE, CONVERSATION)
        store.conversations.remove_messages(ALICE, CONVERSATION)
        return "none"

    def after_the_first() -> Fault:
        store.once.arm("query", delete)
        return "none"

    for read in (
        lambda: store.conversations.messages(ALICE, CONVERSATION, limit=9),
        lambda: store.conversations.recent(ALICE, CONVERSATION, 9),
    ):
        kept = dict(store.dynamo.items)
        store.once.arm("query", after_the_first)
        with pytest.raises(NotFound):
            read()
        store.dynamo.items = kept
