"""Seeded bugs in the store. Each one must violate an invariant.

Each mutant is a context in which the real store has one small bug.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias
from unittest import mock

from converse_stream.generation.follower import Follower
from converse_stream.memory.lookup import Memory
from converse_stream.protocol import log
from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.events import Rollback, Unknown, Usage
from converse_stream.protocol.log import Entry, PositionedEvent
from converse_stream.store import (
    erasure,
    erasure_marker,
    generation_record,
    generation_records,
    generation_writer,
    generations,
    keys,
    messages,
    table,
)
from converse_stream.store.conversations import Conversation, Conversations
from converse_stream.store.generation_record import Estimate, GenerationRecord
from converse_stream.store.generation_records import GenerationRecords
from converse_stream.store.generation_writer import Signals, TableWriter
from converse_stream.store.generations import Generations
from converse_stream.store.table import ConditionFailed, Table
from converse_stream.store.values import Item, from_wire

Patch: TypeAlias = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Mutant:
    """A seeded bug. `invariant` is the one that it violates; a walk may find another violation first."""

    name: str
    invariant: str
    applied: Patch


def changed(where: Any, name: str, value: Any) -> Patch:
    """Replaces a named condition or a constant."""
    return lambda: mock.patch.object(where, name, value)


def rewritten(old: str, new: str) -> Patch:
    """Replaces `old` by `new` in update expressions."""
    real = Table.update_part

    def update_part(self: Table, pk: str, sk: str, text: str, **more: Any) -> Any:
        return real(self, pk, sk, text.replace(old, new), **more)

    return lambda: mock.patch.object(Table, "update_part", update_part)


def method(owner: Any, name: str, make: Callable[[Any], Any]) -> Patch:
    """Replaces a method by `make(real method)`."""
    return lambda: mock.patch.object(owner, name, make(getattr(owner, name)))


def _overwrite(real: Any) -> Any:
    def put_if_part(self: Table, item: Item, condition: str, **_: Any) -> Any:
        return self.put_part(item)

    return put_if_part


def _count_separately(real: Any) -> Any:
    def transact(self: Table, parts: Sequence[Any]) -> None:
        rest = []
        for part in parts:
            if part.get("Update", {}).get("Key", {}).get("sk", {}).get("S", "").startswith("D#"):
                real(self, [part])
            else:
                rest.append(part)
        real(self, rest)

    return transact


def _append_again(real: Any) -> Any:
    """A flush that appends all entries, also those that are already durable."""

    def flush(self: TableWriter, entries: Sequence[Entry]) -> Signals:
        signals: Any = Signals(cancelled=False, followed=False)
        for run in list(log.cut(entries, generation_writer.RUN)) or [[]]:
            signals = self._flush(run, self.record.length)
        result: Signals = signals
        return result

    return flush


@contextmanager
def _seal_after_flush() -> Iterator[None]:
    real_flush, real_seal = TableWriter._flush, TableWriter._seal
    pending: list[GenerationRecord] = []

    def flush(self: TableWriter, run: list[Entry], start: int) -> Any:
        pending.clear()
        signals = real_flush(self, run, start)
        for sealed in pending:
            real_seal(self, sealed)
        return signals

    def seal(self: TableWriter, record: GenerationRecord) -> None:
        pending.append(record)

    with mock.patch.object(TableWriter, "_flush", flush), mock.patch.object(TableWriter, "_seal", seal):
        yield


def _one_position_too_far(real: Any) -> Any:
    def after(entries: Sequence[Entry], position: int, start: int = 0) -> list[Entry]:
        shifted: list[Entry] = real(entries, position + (position > start), start)
        return shifted

    return after


def _without_rollback(real: Any) -> Any:
    def end(self: Follower, record: GenerationRecord) -> None:
        real(self, record)
        self._events[:] = [item for item in self._events if not isinstance(item.event, Rollback)]

    return end


def _ignore_cancel(real: Any) -> Any:
    def record(item: Item) -> GenerationRecord:
        stored: GenerationRecord = real(item)
        return replace(stored, cancelled=False)

    return record


def _tail_only(real: Any) -> Any:
    def read(self: Generations, user: str, record: GenerationRecord, since: int) -> list[Entry]:
        return list(record.tail) if record.tail_start > 0 else real(self, user, record, since)

    return read


def _read_segments_of_all_owners(real: Any) -> Any:
    def read(self: Generations, user: str, record: GenerationRecord, since: int) -> list[Entry]:
        segments = self._table.query(
            keys.generation(user, record.gid), keys.segment(since), keys.segment(record.tail_start)
        )
        sealed = [
            entry for item in segments if item["n0"] < record.tail_start for entry in log.decode(bytes(item["ev"]))
        ]
        return [*sealed, *record.tail] if since < record.tail_start else list(record.tail)

    return read


def _release_only(real: Any) -> Any:
    def release(self: Generations, user: str, known: Conversation, gid: str) -> None:
        pk = keys.conversation(user, known.id)
        with suppress(ConditionFailed):
            self._table.update(pk, keys.META, "REMOVE active", condition="active = :gid", values={":gid": gid})

    return release


def _never(*_: object) -> bool:
    return False


def _lose_text(real: Any) -> Any:
    def items(pk: str, seq: int, message: Any, ttl: int) -> Any:
        return real(pk, seq, replace(message, parts=message.parts[:3]), ttl)

    return items


def _without_unknown(real: Any) -> Any:
    def decode(stored: bytes) -> list[Entry]:
        return [entry for entry in real(stored) if not isinstance(entry, Unknown)]

    return decode


def _cursor_too_far(real: Any) -> Any:
    def take(self: Follower, record: GenerationRecord) -> None:
        before = len(self._events)
        real(self, record)
        self._events[before:] = [PositionedEvent(item.event, item.position + 1) for item in self._events[before:]]

    return take


def _without_retry(_: Any) -> Any:
    """A write without retries after a conflict or a throttle."""

    def repeated(write: Callable[[], Any]) -> Any:
        try:
            with table._errors():
                return write()
        except table._Retry:
            raise StorageError from None

    return repeated


def _without_condition(_: Any) -> Any:
    """A condition check in a transaction that is always true."""

    def check(checked: Table, user: str, *_: Any) -> Any:
        condition = "attribute_exists(pk) OR attribute_not_exists(pk)"
        return checked.check_part(keys.facts(user), keys.PROFILE, condition=condition)

    return check


def _without_unprocessed_keys(_: Any) -> Any:
    """A batch that ignores unprocessed keys."""

    def get_many(self: Table, key_pairs: Sequence[tuple[str, str]]) -> list[Item]:
        request: Any = {self._name: {"Keys": [table._key(*pair) for pair in key_pairs]}}
        with table._errors():
            page = self._client.batch_get_item(RequestItems=request)
        return [from_wire(item) for item in page["Responses"].get(self._name, [])]

    return get_many


def _ignore_unfinished_deletion(_: Any) -> Any:
    """A deletion that ignores storage errors and reports that it is done."""

    def remove_messages(self: Conversations, user: str, conversation_id: str) -> None:
        try:
            real_removal(self, user, conversation_id)
        except StorageError:
            return

    real_removal = Conversations.remove_messages
    return remove_messages


def _const(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


# Parts of the conditions on generation records.
_FREED = "attribute_not_exists(pk) OR #ttl <= :now"
_CLOSED = "attribute_exists(closed)"
_OTHERS = "NOT contains(closed, :me)"

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "a flush does not check n",
        "I2",
        changed(generation_writer, "IS_OWNER", "st = :run AND own = :me AND (n = :n OR n <> :n)"),
    ),
    Mutant("repeated text is appended again", "I1", method(TableWriter, "flush", _append_again)),
    Mutant("the tail is sealed after the flush", "I1", _seal_after_flush),
    Mutant("segments are sorted as text", "I1", method(keys, "segment", _const(lambda start: f"S#{start}"))),
    Mutant("an ended generation is changed", "I2", changed(generations, "IS_RUNNING", "(st = :run OR st <> :run)")),
    Mutant("a position is skipped", "I3", method(log, "after", _one_position_too_far)),
    Mutant("only the tail is read", "I3", method(Generations, "read", _tail_only)),
    Mutant("an entry of a later version is dropped", "I1", method(log, "decode", _without_unknown)),
    Mutant("a cursor is too far", "I3", method(Follower, "_append_new", _cursor_too_far)),
    Mutant("no rollback is sent", "I4", method(Follower, "_append_end", _without_rollback)),
    Mutant("a zombie may write", "I5", changed(generation_writer, "IS_OWNER", "(st = :run OR own = :me) AND n = :n")),
    Mutant("a lease is reaped too early", "I5", changed(generation_record, "LEASE_GRACE_MS", -5_000)),
    Mutant("a lease is too short", "I5", changed(generation_writer, "LEASE_MS", 1_000)),
    Mutant(
        "a reap ignores a renewed lease",
        "I5",
        changed(generations, "IS_UNCHANGED", "st = :run AND n = :n AND (lease = :lease OR lease <> :lease)"),
    ),
    Mutant("a second record for one key", "I6", method(Table, "put_if_part", _overwrite)),
    Mutant("a failed start takes effect later", "I6", method(Generations, "_close", _const(lambda *_: None))),
    Mutant(
        "a closed key forgets the failed owner",
        "I6",
        changed(generations, "IS_REPLACEABLE", f"{_FREED} OR ({_CLOSED} AND own = :me)"),
    ),
    Mutant("a running record may be replaced", "I5", changed(generations, "IS_REPLACEABLE", f"{_FREED} OR {_OTHERS}")),
    Mutant(
        "a key with a record is closed", "I5", changed(generations, "IS_CLOSABLE", f"{_FREED} OR attribute_exists(pk)")
    ),
    Mutant(
        "a closed key cannot be reused",
        "I8",
        changed(generations, "IS_REPLACEABLE", f"{_FREED} OR ({_OTHERS} AND fp = :me)"),
    ),
    Mutant(
        "a key cannot be reused until its record is removed",
        "I8",
        changed(
            generations,
            "IS_REPLACEABLE",
            f"attribute_not_exists(pk) OR ({_CLOSED} AND {_OTHERS}) OR (#ttl <= :now AND #ttl > :now)",
        ),
    ),
    Mutant("a retry is refused during its generation", "I6", method(Memory, "may_have_started", _const(_never))),
    Mutant(
        "a longer segment of another owner is kept",
        "I1",
        changed(generation_writer, "_IS_LONGER", "attribute_not_exists(pk) OR n1 < :n1 OR (own = :me AND dl < :dl)"),
    ),
    Mutant("segments of all owners are read", "I3", method(Generations, "read", _read_segments_of_all_owners)),
    Mutant("a replaced answer is not restored", "I9", method(GenerationRecords, "restored", _const(lambda *_: None))),
    Mutant("a replaced answer is not restored after a day", "I9", method(Generations, "_release", _release_only)),
    Mutant(
        "a lost generation is not charged",
        "I13",
        method(Estimate, "usage", _const(lambda *_: Usage(basis="estimated"))),
    ),
    Mutant(
        "another payload attaches",
        "I6",
        method(Generations, "attach", _const(lambda _, earlier, __: earlier)),
    ),
    Mutant("a cancel is not stored", "I7", method(Generations, "cancel", _const(lambda *_: None))),
    Mutant("a cancel is not returned to the owner", "I7", method(generation_writer, "from_item", _ignore_cancel)),
    Mutant("active is not removed", "I8", rewritten(" REMOVE active", "")),
    Mutant("active is not set", "I8", rewritten("active = :gid,", "once = :gid,")),
    Mutant(
        "two concurrent generations in a conversation",
        "I8",
        changed(generations, "_IS_FREE", "seq = :seen AND attribute_not_exists(deleted)"),
    ),
    Mutant("dead generations are not reaped", "I8", method(GenerationRecord, "is_dead", _const(lambda *_: False))),
    Mutant(
        "a start does not check seq",
        "I9",
        changed(
            generations,
            "_IS_FREE",
            "(seq = :seen OR seq <> :seen) AND attribute_not_exists(deleted) AND attribute_not_exists(active)",
        ),
    ),
    Mutant("the message differs from the log", "I9", method(messages, "items", _lose_text)),
    Mutant("a write has no size limit", "I11", changed(generation_writer, "RUN", 10**9)),
    Mutant("a message is stored in one item", "I11", changed(messages, "PIECE_BYTES", 10**9)),
    Mutant("users share a partition", "I12", method(keys, "generation", _const(lambda _, gid: f"U#G#{gid}"))),
    Mutant("unprocessed keys are ignored", "I13", method(Table, "get_many", _without_unprocessed_keys)),
    Mutant("a batch is retried without limit", "I13", changed(table, "READS", 10**9)),
    Mutant("usage is counted in a separate write", "I13", method(Table, "transact", _count_separately)),
    Mutant("a conflicting write is not retried", "I14", method(table, "_repeated", _without_retry)),
    Mutant("a throttled transaction is not retried", "I8", changed(table, "_THROTTLES", frozenset())),
    Mutant("a throttled transaction is retried too few times", "I8", changed(table, "ATTEMPTS", 2)),
    Mutant(
        "an unfinished deletion is reported as done",
        "I14",
        method(Conversations, "remove_messages", _ignore_unfinished_deletion),
    ),
    Mutant(
        "a late write deletes the mark of a later deletion",
        "I14",
        method(erasure_marker, "same_erasure_part", _without_condition),
    ),
    Mutant("an erasure does not wait for the index", "I14", changed(erasure, "INDEX_LAG", -1.0)),
    Mutant("a start during an erasure", "I14", method(erasure_marker, "not_erasing_part", _without_condition)),
    Mutant("the end restores a deleted conversation", "I14", changed(generation_records, "IS_ACTIVE", "active = :gid")),
    Mutant(
        "a start restores a deleted conversation",
        "I14",
        changed(generations, "_IS_FREE", "seq = :seen AND attribute_not_exists(active)"),
    ),
)
