"""Conversations: their list, their messages, and what may happen to them while no answer is being made.

How a message and its answer get in is the business of `generations`.
"""

import time
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from chat.errors import Exists, NotFound
from chat.events import Message
from chat.ids import now
from chat.store import keys, messages
from chat.store.table import ConditionFailed, Item, Table

PAGE_BYTES = 4 * 1024 * 1024  # Lambda answers with 6 MB at the most
MARK = 48 * 3600  # seconds that a deleted conversation is remembered, longer than any generation can run

_EXISTS = "attribute_exists(pk) AND attribute_not_exists(deleted)"


@dataclass(frozen=True, slots=True)
class Conversation:
    """`seq` is the place of the newest message, 0 for a conversation that does not exist yet."""

    id: str
    seq: int = 0
    title: str | None = None
    updated_at: str | None = None
    active: str | None = None  # the generation that is being made
    deleted: bool = False


class Conversations:
    """One user's conversations in the table. `user` is a `User.key` everywhere."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def recent(self, user: str, conversation_id: str, limit: int) -> tuple[Conversation, list[Message]]:
        """The conversation and its last `limit` messages, oldest first; an empty one if there is none."""
        pk = keys.conversation(user, conversation_id)
        items = self._table.query(pk, "M#", keys.META, descending=True, limit=limit + 1)
        if not items or items[0]["sk"] != keys.META:
            return Conversation(conversation_id), []
        return _conversation(items[0]), [messages.read(self._table, item) for item in reversed(items[1:])]

    def get(self, user: str, conversation_id: str) -> Conversation:
        """The conversation; one that does not exist has `seq` 0."""
        item = self._table.get(keys.conversation(user, conversation_id), keys.META)
        return _conversation(item) if item else Conversation(conversation_id)

    def exchange(self, user: str, conversation_id: str, place: int) -> tuple[Message, Message]:
        """The answer at `place` and the user's message before it. Raises NotFound when they are gone."""
        pk = keys.conversation(user, conversation_id)
        items = self._table.query(pk, keys.message(place - 1), keys.message(place))
        if len(items) != 2:
            raise NotFound
        asked, answer = (messages.read(self._table, item) for item in items)
        return asked, answer

    def create(self, user: str, conversation_id: str, title: str | None) -> Conversation:
        """A conversation without messages. Raises Exists when there is, or was, one with this id."""
        at = now()
        item = {
            "pk": keys.conversation(user, conversation_id),
            "sk": keys.META,
            "id": conversation_id,
            "seq": 0,
            "gsi1pk": keys.user(user),
            "gsi1sk": at,
        } | ({"title": title} if title else {})
        try:
            self._table.transact([self._table.absent(item)])
        except ConditionFailed:
            raise Exists from None
        return Conversation(conversation_id, 0, title, at)

    def rename(self, user: str, conversation_id: str, title: str) -> Conversation:
        """Raises NotFound."""
        pk = keys.conversation(user, conversation_id)
        try:
            return _conversation(
                self._table.change(pk, keys.META, "SET title = :title", condition=_EXISTS, values={":title": title})
            )
        except ConditionFailed:
            raise NotFound from None

    def mark_deleted(self, user: str, conversation_id: str) -> str | None:
        """The first step of deleting: nothing can be started or stored in it any more. Returns what was running.

        The mark stays when the rest is gone, until no late writer can be left to find it. Raises NotFound.
        """
        pk = keys.conversation(user, conversation_id)
        values = {":true": True, ":ttl": int(time.time()) + MARK}
        update, names = "SET deleted = :true, #ttl = :ttl REMOVE gsi1pk, gsi1sk, title", {"#ttl": "ttl"}
        condition = "attribute_exists(pk)"
        try:
            item = self._table.change(pk, keys.META, update, condition=condition, values=values, names=names)
        except ConditionFailed:
            raise NotFound from None
        active: str | None = item.get("active")
        return active

    def remove_messages(self, user: str, conversation_id: str) -> None:
        """The second step, as often as it takes: every message goes."""
        pk = keys.conversation(user, conversation_id)
        while items := self._table.query(pk, "L#", "V#~", limit=100):
            for item in items:
                self._table.delete(pk, item["sk"])

    def messages(
        self, user: str, conversation_id: str, *, limit: int, before: int | None = None
    ) -> tuple[list[Message], int | None]:
        """The newest messages before place `before`, oldest first, and where an older page ends.

        A page has at most `limit` of them, and fewer when they are large.

        Raises NotFound when there is no such conversation, or it is not the user's.
        """
        pk = keys.conversation(user, conversation_id)
        meta = self._table.get(pk, keys.META)
        if meta is None or "deleted" in meta:
            raise NotFound
        high = keys.message(before - 1) if before else "M#~"
        items = self._table.query(pk, keys.message(0), high, descending=True, limit=limit + 1)
        sizes = accumulate(messages.size(item) for item in items)
        page = items[: max(1, min(limit, sum(size <= PAGE_BYTES for size in sizes)))]
        older = messages.place(page[-1]) if len(items) > len(page) else None
        return [messages.read(self._table, item) for item in reversed(page)], older

    def page(self, user: str, *, limit: int, before: tuple[str, str] | None = None) -> tuple[list[Conversation], Any]:
        """A page of conversations, newest change first, and the (time, id) where the next page begins."""
        start = None
        if before:
            changed, conversation_id = before
            start = {
                "pk": keys.conversation(user, conversation_id),
                "sk": keys.META,
                "gsi1pk": keys.user(user),
                "gsi1sk": changed,
            }
        items, last = self._table.query_index(keys.INDEX, keys.user(user), limit=limit, start=start)
        more = (last["gsi1sk"], last["pk"].rpartition("#")[2]) if last else None
        return [_conversation(item) for item in items], more


def _conversation(item: Item) -> Conversation:
    return Conversation(
        item["id"], int(item["seq"]), item.get("title"), item.get("gsi1sk"), item.get("active"), "deleted" in item
    )
