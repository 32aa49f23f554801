"""The owner's hand on its generation: it flushes, seals and finishes, and nobody else writes as it does."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from converse_stream.protocol import log
from converse_stream.protocol.events import Message
from converse_stream.protocol.log import Entry
from converse_stream.store import keys, messages
from converse_stream.store.generation_record import (
    LEASE,
    LIFETIME,
    MINE,
    End,
    Head,
    from_item,
    key,
)
from converse_stream.store.generation_records import Heads
from converse_stream.store.table import ConditionFailed, Table

TAIL_BYTES = 600  # a tail beyond this is sealed: each flush rewrites it
RUN = 64 * 1024  # code points in one write, so that an item stays below its limit

# A late write of a shorter segment must not replace a longer one. The log of an earlier generation with the same key,
# which the table has not swept yet, is replaced: its deadline was earlier, or it names no owner (an earlier version's).
_GROWS = "attribute_not_exists(own) OR dl < :dl OR (own = :me AND n1 < :n1)"


@dataclass(frozen=True, slots=True)
class Signals:
    """What a flush brought back."""

    cancelled: bool
    followed: bool


class Fenced(Exception):
    """Somebody else has ended this generation; its owner must stop."""


class Ledger(Protocol):
    """What a turn needs of its generation's writer."""

    @property
    def durable(self) -> int:
        """How long the durable log is."""

    def flush(self, entries: Sequence[Entry]) -> Signals:
        """See Writer."""

    def finish(self, answer: Message, end: End) -> Message | None:
        """See Writer."""


class Writer:
    """The owner's hand on its generation."""

    def __init__(self, heads: Heads, table: Table, user: str, head: Head) -> None:
        self.head = head
        self._heads = heads
        self._table = table
        self._user = user
        self._flushed = head.n  # where the entries of the next flush begin

    @property
    def durable(self) -> int:
        """How long the log in the table is."""
        return self.head.n

    def flush(self, entries: Sequence[Entry]) -> Signals:
        """Makes the next entries durable, and renews the lease with none. Raises Fenced and StorageError.

        After a StorageError the same entries may be given again, with what came since.
        """
        signals = Signals(cancelled=False, followed=False)
        start = self._flushed
        for run in list(log.cut(entries, RUN)) or [[]]:
            signals = self._flush(run, start)
            start = log.end_of(run, start)
        self._flushed = self.head.n
        return signals

    def finish(self, answer: Message, end: End) -> Message | None:
        """Ends the generation and stores the answer. Raises Fenced when somebody else has, and StorageError.

        Returns the message that was put back where nothing new came for it, None where `answer` is stored.
        """
        values = {":me": self.head.owner}
        restored = self._heads.restored(self._user, self.head)
        if not self._heads.end(self._user, self.head, answer, end, MINE, values, restored):
            there = self._heads.head(self._user, self.head.gid)
            if there is None or (there.owner, there.status, there.reason) != (self.head.owner, end.status, end.reason):
                raise Fenced
        return messages.read(self._table, restored) if restored else None

    def _flush(self, run: list[Entry], start: int) -> Signals:
        head = self.head
        run = log.after(run, head.n, start)  # less what an earlier attempt has made durable
        tail, t0 = [*head.tail, *run], head.t0
        if head.tail and run and len(log.encode(tail)) > TAIL_BYTES:
            self._seal(head)
            tail, t0 = run, head.n
        n = log.end_of(tail, t0)
        lease = self._heads.now() + LEASE
        encoded = log.encode(tail)
        values = {
            ":tail": encoded,
            ":t0": t0,
            ":n1": n,
            ":lease": lease,
            ":run": "run",
            ":me": head.owner,
            ":n": head.n,
        }
        try:
            item = self._table.change(
                *key(self._user, head.gid),
                "SET tail = :tail, t0 = :t0, n = :n1, lease = :lease",
                condition=MINE,
                values=values,
            )
        except ConditionFailed as failed:
            item = failed.item or {}
            if item.get("st") != "run" or item.get("own") != head.owner or int(item["n"]) <= head.n:
                raise Fenced from None
            # Nobody else writes as us: an attempt that seemed to fail had succeeded. Go on from there.
            self.head = from_item(item)
            return self._flush(run, head.n)
        self.head = from_item(item)
        return Signals(self.head.cancelled, self.head.followed > self._heads.now())

    def _seal(self, head: Head) -> None:
        segment = {
            "pk": keys.generation(self._user, head.gid),
            "sk": keys.segment(head.t0),
            "n0": head.t0,
            "n1": head.n,
            "own": head.owner,
            "dl": head.deadline,
            "ev": log.encode(head.tail),
            "ttl": int(self._heads.now() / 1000) + LIFETIME,
        }
        with suppress(ConditionFailed):  # it is there already
            values = {":n1": head.n, ":me": head.owner, ":dl": head.deadline}
            self._table.put(segment, condition=_GROWS, values=values)
