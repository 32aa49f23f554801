"""Writes one generation for its owner: flush, seal and finish. Every write is fenced by a condition."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from converse_stream.protocol import log
from converse_stream.protocol.events import Message
from converse_stream.protocol.log import Entry
from converse_stream.store import keys, messages
from converse_stream.store.generation_record import (
    IS_OWNER,
    LEASE_MS,
    LOG_LIFETIME,
    End,
    GenerationRecord,
    from_item,
    key,
)
from converse_stream.store.generation_records import GenerationRecords
from converse_stream.store.table import ConditionFailed, Table

TAIL_BYTES = 600  # a longer tail is sealed, because each flush writes the whole tail
RUN = 64 * 1024  # code points in one write, so that an item stays below the size limit of DynamoDB

# A late write of a shorter segment must not replace a longer one. A segment of an earlier generation with the same key,
# which the table has not deleted yet, is replaced: its deadline was earlier, or it has no owner (stored by an earlier
# version of this code).
_IS_LONGER = "attribute_not_exists(own) OR dl < :dl OR (own = :me AND n1 < :n1)"


@dataclass(frozen=True, slots=True)
class Signals:
    """What a flush read from the generation record: whether it is cancelled, and whether it has a follower now."""

    cancelled: bool
    followed: bool


class Fenced(Exception):
    """Another function has ended this generation. Its owner must stop."""


class GenerationWriter(Protocol):
    """Stores the progress and the end of a generation."""

    @property
    def durable(self) -> int:
        """The length of the durable log."""

    def flush(self, entries: Sequence[Entry]) -> Signals:
        """See `TableWriter`."""

    def finish(self, answer: Message, end: End) -> Message | None:
        """See `TableWriter`."""


class TableWriter:
    """Writes a generation to the table. `record` is its record as last written."""

    def __init__(self, records: GenerationRecords, table: Table, user: str, record: GenerationRecord) -> None:
        self.record = record
        self._records = records
        self._table = table
        self._user = user
        self._flushed = record.length  # the position where the entries of the next flush begin

    @property
    def durable(self) -> int:
        """The length of the log in the table."""
        return self.record.length

    def flush(self, entries: Sequence[Entry]) -> Signals:
        """Stores the next entries of the log and renews the lease, also without entries.

        Raises Fenced and StorageError. After a StorageError, pass the same entries again, followed by new ones.
        """
        signals = Signals(cancelled=False, followed=False)
        start = self._flushed
        for run in list(log.cut(entries, RUN)) or [[]]:
            signals = self._flush(run, start)
            start = log.end_of(run, start)
        self._flushed = self.record.length
        return signals

    def finish(self, answer: Message, end: End) -> Message | None:
        """Ends the generation and stores the answer.

        Returns the replaced answer if it was restored because this generation has nothing new, else None. Raises Fenced
        if another function has ended the generation, and StorageError.
        """
        values = {":me": self.record.owner}
        restored = self._records.restored(self._user, self.record)
        if not self._records.end(self._user, self.record, answer, end, IS_OWNER, values, restored):
            stored = self._records.get(self._user, self.record.gid)
            if stored is None or (stored.owner, stored.status, stored.reason) != (
                self.record.owner,
                end.status,
                end.reason,
            ):
                raise Fenced
        return messages.read(self._table, restored) if restored else None

    def _flush(self, run: list[Entry], start: int) -> Signals:
        record = self.record
        run = log.after(run, record.length, start)  # without what an earlier attempt has stored
        tail, t0 = [*record.tail, *run], record.tail_start
        if record.tail and run and len(log.encode(tail)) > TAIL_BYTES:
            self._seal(record)
            tail, t0 = run, record.length
        n = log.end_of(tail, t0)
        lease = self._records.now() + LEASE_MS
        encoded = log.encode(tail)
        values = {
            ":tail": encoded,
            ":t0": t0,
            ":n1": n,
            ":lease": lease,
            ":run": "run",
            ":me": record.owner,
            ":n": record.length,
        }
        try:
            item = self._table.update(
                *key(self._user, record.gid),
                "SET tail = :tail, t0 = :t0, n = :n1, lease = :lease",
                condition=IS_OWNER,
                values=values,
            )
        except ConditionFailed as failed:
            item = failed.item or {}
            if item.get("st") != "run" or item.get("own") != record.owner or int(item["n"]) <= record.length:
                raise Fenced from None
            # Only this writer has this owner id, so an attempt that seemed to fail has succeeded. Continue after it.
            self.record = from_item(item)
            return self._flush(run, record.length)
        self.record = from_item(item)
        return Signals(self.record.cancelled, self.record.followed_until > self._records.now())

    def _seal(self, record: GenerationRecord) -> None:
        segment = {
            "pk": keys.generation(self._user, record.gid),
            "sk": keys.segment(record.tail_start),
            "n0": record.tail_start,
            "n1": record.length,
            "own": record.owner,
            "dl": record.deadline,
            "ev": log.encode(record.tail),
            "ttl": int(self._records.now() / 1000) + LOG_LIFETIME,
        }
        with suppress(ConditionFailed):  # the segment is already stored
            values = {":n1": record.length, ":me": record.owner, ":dl": record.deadline}
            self._table.put(segment, condition=_IS_LONGER, values=values)
