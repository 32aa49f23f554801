"""Conversations: their list, their messages, and what may happen to them while no answer is being made.

How a message and its answer get in is the business of `generations`.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any

from converse_stream.protocol.errors import (
    AlreadyExists,
    DeletionUnfinished,
    ErasureInProgress,
    NotFound,
)
from converse_stream.protocol.events import Message
from converse_stream.protocol.ids import age, now
from converse_stream.store import erasure_mark, keys, messages
from converse_stream.store.retention import Retention, conversation_expired, message_expired
from converse_stream.store.table import (
    PAGE,
    ConditionFailed,
    Item,
    Table,
)

PAGE_BYTES = 4 * 1024 * 1024  # Lambda answers with 6 MB at the most
OPENING = 60  # code points
MARK = 48 * 3600  # seconds that a deleted conversation is remembered, longer than any generation can run

KEEP_FOREVER = Retention()

_AS_MARKED = "attribute_exists(deleted) AND gsi1sk = :seen"  # no write changes gsi1sk after the mark
_REMOVED = "removed = :true"
_EXISTS = "attribute_exists(pk) AND attribute_not_exists(deleted)"
_UNTITLED = f"{_EXISTS} AND attribute_not_exists(title)"


@dataclass(frozen=True, slots=True)
class Conversation:
    """`seq` is the place of the newest message, 0 for a conversation that does not exist yet."""

    id: str
    seq: int = 0
    title: str | None = None
    updated_at: str | None = None
    active: str | None = None  # the generation that is being made
    deleted: bool = False  # or its time is over
    unfinished: bool = False  # it was deleted, and not everything in it has been removed
    summary: str | None = None  # of the messages up to place `summarised`; none when its time is over
    summary_seq: int = 0
    summary_ttl: int | None = None  # the time of the oldest message in it, in seconds since the epoch
    opening: str | None = None  # the first words said in it, as long as that message is kept

    @property
    def name(self) -> str | None:
        """What it is listed as."""
        return self.title or self.opening

    def missing(self) -> NotFound:
        """What to raise where it is deleted or does not exist."""
        return DeletionUnfinished(self.id) if self.unfinished else NotFound()


class Conversations:
    """One user's conversations in the table. `user` is a `User.key` everywhere."""

    def __init__(self, table: Table, retention: Retention = KEEP_FOREVER) -> None:
        self.retention = retention
        self._table = table

    def recent(self, user: str, conversation_id: str, limit: int) -> tuple[Conversation, list[Message]]:
        """The conversation and its last `limit` messages, oldest first; an empty one if there is none."""
        pk = keys.conversation(user, conversation_id)
        items = self._table.query(pk, "M#", keys.META, descending=True, limit=limit + 1)
        if not items or items[0]["sk"] != keys.META:
            return Conversation(conversation_id), []
        return _conversation(items[0]), [messages.read(self._table, item) for item in reversed(_current(items[1:]))]

    def get(self, user: str, conversation_id: str) -> Conversation:
        """The conversation; one that does not exist has `seq` 0."""
        item = self._table.get(keys.conversation(user, conversation_id), keys.META)
        return _conversation(item) if item else Conversation(conversation_id)

    def exchange(self, user: str, conversation_id: str, place: int, *gids: str) -> tuple[Message, Message]:
        """The answer of the first of these generations that has one there, and the user's message before it.

        Another answer may have taken its place since. Raises NotFound when they are gone.
        """
        pk = keys.conversation(user, conversation_id)
        asked = self._table.get(pk, keys.message(place - 1))
        newest, answer = self._table.get(pk, keys.message(place)), None
        for gid in gids:
            is_newest = newest is not None and newest.get("gid") == gid
            if answer := newest if is_newest else self._table.get(pk, keys.replaced(place, gid)):
                break
        if asked is None or answer is None or len(_current([asked, answer])) < 2:
            raise NotFound
        return messages.read(self._table, asked), messages.read(self._table, answer)

    def create(self, user: str, conversation_id: str, title: str | None) -> Conversation:
        """A conversation without messages. Raises Exists when there is, or was, one with this id.

        One that is like it, because it was created before and the answer was lost, is the same one. Raises BeingErased.
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
            self._table.transact([erasure_mark.not_erasing_part(self._table, user), self._table.put_new_part(item)])
        except ConditionFailed as failed:
            if 0 in failed.parts:
                raise ErasureInProgress from None
            there = self.get(user, conversation_id)
            if there != Conversation(conversation_id, 0, title, there.updated_at) or there.updated_at is None:
                raise AlreadyExists from None
            return there
        return Conversation(conversation_id, 0, title, at)

    def rename(self, user: str, conversation_id: str, title: str) -> Conversation:
        """Raises NotFound."""
        if (known := self.get(user, conversation_id)).deleted:
            raise known.missing()
        pk, update = keys.conversation(user, conversation_id), "SET title = :title, #ttl = :ttl"
        values: Item = {":title": title, ":ttl": self.retention.of_conversation(time.time())}
        try:
            item = self._table.update(pk, keys.META, update, condition=_EXISTS, values=values, names={"#ttl": "ttl"})
        except ConditionFailed:
            raise NotFound from None
        return _conversation(item)

    def set_title_if_missing(self, user: str, conversation_id: str, title: str) -> Any:
        """For `transact`: gives it a title if it has none."""
        pk, values = keys.conversation(user, conversation_id), {":title": title}
        return self._table.update_part(pk, keys.META, "SET title = :title", condition=_UNTITLED, values=values)

    def summarized(self, user: str, known: Conversation, summary: str, place: int, since: str) -> Any:
        """For `transact`: its summary up to `place`, if nobody has written another one since.

        It adds messages to the one that is known, or begins anew, with one of the time `since`.
        """
        ttl = (known.summary and known.summary_ttl) or self.retention.of_message(time.time() - age(since))
        values: Item = {":summary": summary, ":place": place, ":ttl": ttl}
        unchanged = "attribute_not_exists(summarised)"
        if known.summary_seq:
            unchanged, values[":seen"] = "summarised = :seen", known.summary_seq
        update = "SET summary = :summary, summarised = :place, summary_ttl = :ttl"
        condition = f"{_EXISTS} AND {unchanged}"
        return self._table.update_part(
            keys.conversation(user, known.id), keys.META, update, condition=condition, values=values
        )

    def mark_deleted(self, user: str, conversation_id: str, *checks: Any) -> str | None:
        """The first step of deleting: nothing can be started or stored in it any more. Returns what was running.

        Raises NotFound when there is, and was, no such conversation; one that is marked already may be marked again.
        Raises ConditionFailed where one of `checks`, which are made for `transact`, does not hold.
        """
        update = "SET deleted = :true, gsi1pk = :deleted REMOVE title, summary, opening"
        pk, there = keys.conversation(user, conversation_id), "attribute_exists(pk)"
        values: Item = {":true": True, ":deleted": keys.deleted(user)}
        try:
            self._table.transact(
                [self._table.update_part(pk, keys.META, update, condition=there, values=values), *checks]
            )
        except ConditionFailed as failed:
            if 0 in failed.parts:
                raise NotFound from None
            raise
        return self.get(user, conversation_id).active

    def remove_messages(self, user: str, conversation_id: str) -> None:
        """The second step, in pages: every message goes, and its log before it, but for that of a running answer.

        The mark stays until no late writer can be left to find it, and for ever when this broke off: a conversation
        that is not quite gone must not be opened again. Nothing is removed where there is no mark: another call has
        erased the conversation, and the user may have begun one with the same id since.
        """
        pk = keys.conversation(user, conversation_id)
        mark = self._mark(pk)  # read before each query: so it belongs to the deletion that the query finds complete
        while mark and (items := self._table.query(pk, "E#", "M#~", limit=PAGE, only=("pk", "sk", "gid", "id"))):
            mark = self._mark(pk)
            if mark is None:
                return
            for gid in sorted({item["gid"] for item in items if "gid" in item} - {mark.get("active")}):
                self.remove_log(user, gid)
            for item in items:
                self._table.delete_unchanged(item, "id")
        if mark is None:
            return
        values: Item = {":true": True, ":ttl": int(time.time()) + MARK, ":seen": mark["gsi1sk"]}
        update, names = "SET removed = :true, #ttl = :ttl", {"#ttl": "ttl"}
        with suppress(ConditionFailed):
            self._table.update(pk, keys.META, update, condition=_AS_MARKED, values=values, names=names)

    def _mark(self, pk: str) -> Item | None:
        """The item META of a deleted conversation; None where there is none."""
        item = self._table.get(pk, keys.META)
        return item if item and "deleted" in item else None

    def remove_log(self, user: str, gid: str) -> None:
        """The log of a generation that has ended."""
        self._table.clear(keys.generation(user, gid), "A#", "S#~", "ttl")

    def remove_mark(self, user: str, conversation_id: str, *checks: Any) -> None:
        """Deletes the mark of a conversation that was removed, when no writer can be left.

        `checks`, which are made for `transact`, must fail where this write arrives so late that the user may have begun
        and deleted another conversation with the same id: that one keeps its mark.
        """
        pk = keys.conversation(user, conversation_id)
        mark = self._table.delete_part(pk, keys.META, condition=_REMOVED, values={":true": True})
        with suppress(ConditionFailed):
            self._table.transact([mark, *checks])

    def all(self, user: str) -> Iterator[Conversation]:
        """Every conversation that there is, and whatever is left of deleted ones."""
        for pk in (keys.user(user), keys.deleted(user)):
            yield from self._listed(pk, at_once=PAGE)

    def messages(
        self, user: str, conversation_id: str, *, limit: int, before: int | None = None
    ) -> tuple[list[Message], int | None]:
        """The newest messages before place `before`, oldest first, and where an older page ends.

        A page has at most `limit` of them, and fewer when they are large.

        Raises NotFound when there is no such conversation, or it is not the user's.
        """
        pk = keys.conversation(user, conversation_id)
        known = self.get(user, conversation_id)
        if known.deleted or known.updated_at is None:
            raise known.missing()
        high = keys.message(before - 1) if before else "M#~"
        items = _current(self._table.query(pk, keys.message(0), high, descending=True, limit=limit + 1))
        sizes = accumulate(messages.size(item) for item in items)
        page = items[: max(1, min(limit, sum(size <= PAGE_BYTES for size in sizes)))]
        older = messages.seq_of(page[-1]) if len(items) > len(page) else None
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
        # One more than the page: DynamoDB's own end of a page does not tell whether anything follows.
        listed = self._listed(keys.user(user), at_once=limit + 1, start=start)
        found = list(islice((known for known in listed if not known.deleted), limit + 1))
        page = found[:limit]
        return page, (page[-1].updated_at, page[-1].id) if len(found) > limit else None

    def _listed(self, pk: str, *, at_once: int, start: Item | None = None) -> Iterator[Conversation]:
        """A partition of the index, newest change first, read as far as it is asked for."""
        while True:
            items, start = self._table.query_index(keys.INDEX, pk, limit=at_once, start=start)
            yield from map(_conversation, items)
            if start is None:
                return


def opening(text: str) -> str:
    """The first words of what is said first, in one line."""
    line = " ".join(text.strip().partition("\n")[0].split())
    return line if len(line) <= OPENING else f"{line[: OPENING - 1].rstrip()}…"


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


def _current(items: Sequence[Item]) -> Sequence[Item]:
    return [item for item in items if not message_expired(item, time.time())]
