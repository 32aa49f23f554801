"""Conversations: reads them and their messages, creates, renames and deletes them.

`generations` adds messages and answers.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any

from converse_stream.protocol.errors import AlreadyExists, DeletionUnfinished, ErasureInProgress, NotFound
from converse_stream.protocol.events import Message
from converse_stream.protocol.ids import age, now
from converse_stream.store import erasure_marker, keys, messages
from converse_stream.store.retention import Retention, conversation_expired, message_expired
from converse_stream.store.table import PAGE, ConditionFailed, Table
from converse_stream.store.values import Item

PAGE_BYTES = 4 * 1024 * 1024  # a response of Lambda has at most 6 MB
MAX_OPENING = 60  # code points
MARKER_SECONDS = 48 * 3600  # lifetime of the marker of a deleted conversation: longer than any generation runs

KEEP_FOREVER = Retention()

# Named conditions on META.
_HAS_SAME_MARKER = "attribute_exists(deleted) AND gsi1sk = :seen"  # no write changes gsi1sk after the marker is set
_IS_EMPTIED = "removed = :true"
_EXISTS = "attribute_exists(pk) AND attribute_not_exists(deleted)"
_IS_UNTITLED = f"{_EXISTS} AND attribute_not_exists(title)"


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation. `seq` is the number of its newest message; 0 if it has none or does not exist."""

    id: str
    seq: int = 0
    title: str | None = None
    updated_at: str | None = None
    active: str | None = None  # the running generation
    deleted: bool = False  # or expired
    unfinished: bool = False  # its deletion has started and is not complete
    summary: str | None = None  # of the messages up to number `summary_seq`; None if it is expired
    summary_seq: int = 0
    summary_ttl: int | None = None  # when the oldest message in the summary expires, in seconds since the epoch
    opening: str | None = None  # the first words of its first message; None if that message is expired

    @property
    def name(self) -> str | None:
        """Its name in the list of conversations."""
        return self.title or self.opening

    def not_found(self) -> NotFound:
        """The error to raise if it is deleted or does not exist."""
        return DeletionUnfinished(self.id) if self.unfinished else NotFound()


class Conversations:
    """The conversations in the table. `user` is a `User.key` in all methods."""

    def __init__(self, table: Table, retention: Retention = KEEP_FOREVER) -> None:
        self.retention = retention
        self._table = table

    def recent(self, user: str, conversation_id: str, limit: int) -> tuple[Conversation, list[Message]]:
        """The conversation and its last `limit` messages, oldest first. An empty conversation if it does not exist."""
        pk = keys.conversation(user, conversation_id)
        items = self._table.query(pk, "M#", keys.META, descending=True, limit=limit + 1)
        if not items or items[0]["sk"] != keys.META:
            return Conversation(conversation_id), []
        return _conversation(items[0]), [messages.read(self._table, item) for item in reversed(_unexpired(items[1:]))]

    def get(self, user: str, conversation_id: str) -> Conversation:
        """The conversation. `seq` is 0 if it does not exist."""
        item = self._table.get(keys.conversation(user, conversation_id), keys.META)
        return _conversation(item) if item else Conversation(conversation_id)

    def exchange(self, user: str, conversation_id: str, seq: int, *gids: str) -> tuple[Message, Message]:
        """The user's message `seq - 1`, and its answer by the first of the generations `gids` that has one.

        The answer may be the current one or a replaced one. Raises NotFound if one of the two does not exist any more.
        """
        pk = keys.conversation(user, conversation_id)
        user_message = self._table.get(pk, keys.message(seq - 1))
        current, answer = self._table.get(pk, keys.message(seq)), None
        for gid in gids:
            is_current = current is not None and current.get("gid") == gid
            if answer := current if is_current else self._table.get(pk, keys.replaced(seq, gid)):
                break
        if user_message is None or answer is None or len(_unexpired([user_message, answer])) < 2:
            raise NotFound
        return messages.read(self._table, user_message), messages.read(self._table, answer)

    def create(self, user: str, conversation_id: str, title: str | None) -> Conversation:
        """Creates a conversation without messages and returns it.

        If an empty conversation with the same id and title exists, it is returned: an earlier request has created it.
        Raises AlreadyExists if another conversation with this id exists or was deleted, and ErasureInProgress.
        """
        at = now()
        item = {
            "pk": keys.conversation(user, conversation_id),
            "sk": keys.META,
            "id": conversation_id,
            "seq": 0,
            "gsi1pk": keys.user(user),
            "gsi1sk": at,
            "ttl": self.retention.of_conversation(time.time()),
        } | ({"title": title} if title else {})
        try:
            self._table.transact([erasure_marker.not_erasing_part(self._table, user), self._table.put_new_part(item)])
        except ConditionFailed as failed:
            if 0 in failed.parts:
                raise ErasureInProgress from None
            existing = self.get(user, conversation_id)
            if existing != Conversation(conversation_id, 0, title, existing.updated_at) or existing.updated_at is None:
                raise AlreadyExists from None
            return existing
        return Conversation(conversation_id, 0, title, at)

    def rename(self, user: str, conversation_id: str, title: str) -> Conversation:
        """Changes the title and returns the conversation. Raises NotFound."""
        if (conversation := self.get(user, conversation_id)).deleted:
            raise conversation.not_found()
        pk, update = keys.conversation(user, conversation_id), "SET title = :title, #ttl = :ttl"
        values: Item = {":title": title, ":ttl": self.retention.of_conversation(time.time())}
        try:
            item = self._table.update(pk, keys.META, update, condition=_EXISTS, values=values, names={"#ttl": "ttl"})
        except ConditionFailed:
            raise NotFound from None
        return _conversation(item)

    def first_title_part(self, user: str, conversation_id: str, title: str) -> Any:
        """For `transact`: sets the title of a conversation without a title."""
        pk, values = keys.conversation(user, conversation_id), {":title": title}
        return self._table.update_part(pk, keys.META, "SET title = :title", condition=_IS_UNTITLED, values=values)

    def summary_part(self, user: str, conversation: Conversation, summary: str, seq: int, oldest: str) -> Any:
        """For `transact`: stores a summary of the messages up to number `seq`, if no other summary was stored since.

        The summary extends that of `conversation`. If there is none, `oldest` is the time of the first message in it.
        """
        ttl = (conversation.summary and conversation.summary_ttl) or self.retention.of_message(
            time.time() - age(oldest)
        )
        values: Item = {":summary": summary, ":seq": seq, ":ttl": ttl}
        is_unchanged = "attribute_not_exists(summarised)"
        if conversation.summary_seq:
            is_unchanged, values[":seen"] = "summarised = :seen", conversation.summary_seq
        update = "SET summary = :summary, summarised = :seq, summary_ttl = :ttl"
        condition = f"{_EXISTS} AND {is_unchanged}"
        return self._table.update_part(
            keys.conversation(user, conversation.id), keys.META, update, condition=condition, values=values
        )

    def mark_deleted(self, user: str, conversation_id: str, *checks: Any) -> str | None:
        """First step of a deletion: sets the marker, so that nothing can be started or stored in the conversation.

        Returns the running generation. A marker may be set again. `checks` are parts for `transact`. Raises NotFound if
        there is no such item, and ConditionFailed if one of `checks` does not hold.
        """
        update = "SET deleted = :true, gsi1pk = :deleted REMOVE title, summary, opening"
        pk, exists = keys.conversation(user, conversation_id), "attribute_exists(pk)"
        values: Item = {":true": True, ":deleted": keys.deleted(user)}
        try:
            self._table.transact(
                [self._table.update_part(pk, keys.META, update, condition=exists, values=values), *checks]
            )
        except ConditionFailed as failed:
            if 0 in failed.parts:
                raise NotFound from None
            raise
        return self.get(user, conversation_id).active

    def remove_messages(self, user: str, conversation_id: str) -> None:
        """Second step of a deletion: deletes each message and its log in pages, except the log of a running generation.

        The marker stays for `MARKER_SECONDS`, until no late write is possible. If this step fails, the marker stays
        without a limit, because the id must not be used again while old messages exist. Without a marker nothing is
        deleted: another call has completed the deletion, and the user may have a new conversation with the same id.
        """
        pk = keys.conversation(user, conversation_id)
        marker = self._marker(pk)  # read before each query, so that an empty result belongs to this marker
        while marker and (items := self._table.query(pk, "E#", "M#~", limit=PAGE, only=("pk", "sk", "gid", "id"))):
            marker = self._marker(pk)
            if marker is None:
                return
            for gid in sorted({item["gid"] for item in items if "gid" in item} - {marker.get("active")}):
                self.remove_log(user, gid)
            for item in items:
                self._table.delete_unchanged(item, "id")
        if marker is None:
            return
        values: Item = {":true": True, ":ttl": int(time.time()) + MARKER_SECONDS, ":seen": marker["gsi1sk"]}
        update, names = "SET removed = :true, #ttl = :ttl", {"#ttl": "ttl"}
        with suppress(ConditionFailed):
            self._table.update(pk, keys.META, update, condition=_HAS_SAME_MARKER, values=values, names=names)

    def _marker(self, pk: str) -> Item | None:
        """The item META of a deleted conversation; None if the conversation is not deleted or has no item."""
        item = self._table.get(pk, keys.META)
        return item if item and "deleted" in item else None

    def remove_log(self, user: str, gid: str) -> None:
        """Deletes the log of a generation that has ended."""
        self._table.clear(keys.generation(user, gid), "A#", "S#~", "ttl")

    def remove_marker(self, user: str, conversation_id: str, *checks: Any) -> None:
        """Last step of a deletion: deletes the marker, if the messages are deleted. No write may be possible any more.

        `checks` are parts for `transact`. They must fail for a write that arrives late: the marker may
        then belong to a newer conversation with the same id, and must stay.
        """
        pk = keys.conversation(user, conversation_id)
        deletion = self._table.delete_part(pk, keys.META, condition=_IS_EMPTIED, values={":true": True})
        with suppress(ConditionFailed):
            self._table.transact([deletion, *checks])

    def all(self, user: str) -> Iterator[Conversation]:
        """All conversations, and the markers of deleted ones."""
        for pk in (keys.user(user), keys.deleted(user)):
            yield from self._query_index(pk, page=PAGE)

    def messages(
        self, user: str, conversation_id: str, *, limit: int, before: int | None = None
    ) -> tuple[list[Message], int | None]:
        """A page of the newest messages before number `before`, oldest first, and the `before` of the next older page.

        A page has at most `limit` messages, and fewer if they are large. Raises NotFound if the user has no such
        conversation.
        """
        pk = keys.conversation(user, conversation_id)
        conversation = self.get(user, conversation_id)
        if conversation.deleted or conversation.updated_at is None:
            raise conversation.not_found()
        high = keys.message(before - 1) if before else "M#~"
        items = _unexpired(self._table.query(pk, keys.message(0), high, descending=True, limit=limit + 1))
        sizes = accumulate(messages.size(item) for item in items)
        page = items[: max(1, min(limit, sum(size <= PAGE_BYTES for size in sizes)))]
        older = messages.seq_of(page[-1]) if len(items) > len(page) else None
        return [messages.read(self._table, item) for item in reversed(page)], older

    def oldest_messages(
        self, user: str, conversation_id: str, *, after: int, until: int, limit: int
    ) -> list[tuple[int, Message]]:
        """The first `limit` messages with numbers from `after` + 1 to `until`, with their numbers."""
        pk, found = keys.conversation(user, conversation_id), list[Item]()
        while (missing := limit - len(found)) > 0 and after < until:
            items = self._table.query(pk, keys.message(after + 1), keys.message(until), limit=missing)
            found += _unexpired(items)
            if len(items) < missing:
                break
            after = messages.seq_of(items[-1])
        return [(messages.seq_of(item), messages.read(self._table, item)) for item in found]

    def page(self, user: str, *, limit: int, before: tuple[str, str] | None = None) -> tuple[list[Conversation], Any]:
        """A page of conversations, newest change first, and the `before` of the next page: a time and an id."""
        start = None
        if before:
            changed, conversation_id = before
            start = {
                "pk": keys.conversation(user, conversation_id),
                "sk": keys.META,
                "gsi1pk": keys.user(user),
                "gsi1sk": changed,
            }
        # One more than the page: DynamoDB does not say at the end of a page whether another item follows.
        conversations = self._query_index(keys.user(user), page=limit + 1, start=start)
        found = list(islice((each for each in conversations if not each.deleted), limit + 1))
        page = found[:limit]
        return page, (page[-1].updated_at, page[-1].id) if len(found) > limit else None

    def _query_index(self, pk: str, *, page: int, start: Item | None = None) -> Iterator[Conversation]:
        """The conversations in a partition of the index, newest change first. Reads the pages on demand."""
        while True:
            items, start = self._table.query_index(keys.INDEX, pk, limit=page, start=start)
            yield from map(_conversation, items)
            if start is None:
                return


def opening(text: str) -> str:
    """The first words of a conversation's first message, in one line."""
    line = " ".join(text.strip().partition("\n")[0].split())
    return line if len(line) <= MAX_OPENING else f"{line[: MAX_OPENING - 1].rstrip()}…"


def _conversation(item: Item) -> Conversation:
    summary_ttl = int(item["summary_ttl"]) if "summary_ttl" in item else None
    return Conversation(
        id=item["id"],
        seq=int(item["seq"]),
        title=item.get("title"),
        updated_at=item.get("gsi1sk"),
        active=item.get("active"),
        deleted="deleted" in item or conversation_expired(item, time.time()),
        unfinished="deleted" in item and "removed" not in item,
        summary=item.get("summary") if summary_ttl is None or summary_ttl > time.time() else None,
        summary_seq=int(item.get("summarised", 0)),
        summary_ttl=summary_ttl,
        opening=item.get("opening") if int(item.get("opening_ttl", 0)) > time.time() else None,
    )


def _unexpired(items: Sequence[Item]) -> Sequence[Item]:
    return [item for item in items if not message_expired(item, time.time())]
