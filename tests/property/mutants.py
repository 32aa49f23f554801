"""Seeded bugs: what somebody might break in the store. For each there is an invariant that must notice.

Each mutant is a context in which the real store is wrong in one small way.
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
from converse_stream.protocol.events import Rollback, Usage
from converse_stream.protocol.log import Entry, PositionedEvent
from converse_stream.store import (
    erasure,
    erasure_mark,
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
from converse_stream.store.table import ConditionFailed, Item, Table

Broken: TypeAlias = Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True)
class Mutant:
    """`invariant` is the one that it is there for; another may see it first."""

    name: str
    invariant: str
    broken: Broken


def changed(where: Any, name: str, value: Any) -> Broken:
    """Another text for one of the named conditions, or another number for a constant."""
    return lambda: mock.patch.object(where, name, value)


def rewritten(old: str, new: str) -> Broken:
    """Update expressions in which `old` reads `new`."""
    real = Table.update_part

    def update_part(self: Table, pk: str, sk: str, text: str, **more: Any) -> Any:
        return real(self, pk, sk, text.replace(old, new), **more)

    return lambda: mock.patch.object(Table, "update_part", update_part)


def method(owner: Any, name: str, make: Callable[[Any], Any]) -> Broken:
    """A method that is made from the real one."""
    return lambda: mock.patch.object(owner, name, make(getattr(owner, name)))


def _overwriting(real: Any) -> Any:
    def put_if_part(self: Table, item: Item, condition: str, **_: Any) -> Any:
        return self.put_part(item)

    return put_if_part


def _counted_apart(real: Any) -> Any:
    def transact(self: Table, parts: Sequence[Any]) -> None:
        rest = []
        for part in parts:
            if part.get("Update", {}).get("Key", {}).get("sk", {}).get("S", "").startswith("D#"):
                real(self, [part])
            else:
                rest.append(part)
        real(self, rest)

    return transact


def _forgetful(real: Any) -> Any:
    """The flush that trusts its caller to know what is durable."""

    def flush(self: TableWriter, entries: Sequence[Entry]) -> Signals:
        signals: Any = Signals(cancelled=False, followed=False)
        for run in list(log.cut(entries, generation_writer.RUN)) or [[]]:
            signals = self._flush(run, self.record.length)
        told: Signals = signals
        return told

    return flush


@contextmanager
def _sealed_late() -> Iterator[None]:
    real_flush, real_seal = TableWriter._flush, TableWriter._seal
    waiting: list[GenerationRecord] = []

    def flush(self: TableWriter, run: list[Entry], start: int) -> Any:
        waiting.clear()
        signals = real_flush(self, run, start)
        for sealed in waiting:
            real_seal(self, sealed)
        return signals

    def seal(self: TableWriter, record: GenerationRecord) -> None:
        waiting.append(record)

    with mock.patch.object(TableWriter, "_flush", flush), mock.patch.object(TableWriter, "_seal", seal):
        yield


def _ahead(real: Any) -> Any:
    def after(entries: Sequence[Entry], position: int, start: int = 0) -> list[Entry]:
        shifted: list[Entry] = real(entries, position + (position > start), start)
        return shifted

    return after


def _without_rollback(real: Any) -> Any:
    def end(self: Follower, record: GenerationRecord) -> None:
        real(self, record)
        self._events[:] = [each for each in self._events if not isinstance(each.event, Rollback)]

    return end


def _never_cancelled(real: Any) -> Any:
    def record(item: Item) -> GenerationRecord:
        found: GenerationRecord = real(item)
        return replace(found, cancelled=False)

    return record


def _tail_only(real: Any) -> Any:
    def read(self: Generations, user: str, record: GenerationRecord, since: int) -> list[Entry]:
        return list(record.tail) if record.tail_start > 0 else real(self, user, record, since)

    return read


def _read_whosever(real: Any) -> Any:
    def read(self: Generations, user: str, record: GenerationRecord, since: int) -> list[Entry]:
        segments = self._table.query(
            keys.generation(user, record.gid), keys.segment(since), keys.segment(record.tail_start)
        )
        sealed = [
            entry for each in segments if each["n0"] < record.tail_start for entry in log.decode(bytes(each["ev"]))
        ]
        return [*sealed, *record.tail] if since < record.tail_start else list(record.tail)

    return read


def _released(real: Any) -> Any:
    def release(self: Generations, user: str, known: Conversation, gid: str) -> None:
        pk = keys.conversation(user, known.id)
        with suppress(ConditionFailed):
            self._table.update(pk, keys.META, "REMOVE active", condition="active = :gid", values={":gid": gid})

    return release


def _never(*_: object) -> bool:
    return False


def _lost_text(real: Any) -> Any:
    def items(pk: str, seq: int, message: Any, ttl: int) -> Any:
        return real(pk, seq, replace(message, parts=message.parts[:3]), ttl)

    return items


def _placed_early(real: Any) -> Any:
    def take(self: Follower, record: GenerationRecord) -> None:
        before = len(self._events)
        real(self, record)
        self._events[before:] = [PositionedEvent(each.event, each.position + 1) for each in self._events[before:]]

    return take


def _once(_: Any) -> Any:
    """A write that is not repeated when it meets a transaction or is throttled."""

    def repeated(write: Callable[[], Any]) -> Any:
        try:
            with table._errors():
                return write()
        except table._Retry:
            raise StorageError from None

    return repeated


def _always(_: Any) -> Any:
    """A check in a transaction that holds whatever the item says."""

    def check(there: Table, user: str, *_: Any) -> Any:
        condition = "attribute_exists(pk) OR attribute_not_exists(pk)"
        return there.check_part(keys.facts(user), keys.PROFILE, condition=condition)

    return check


def _in_part(_: Any) -> Any:
    """A batch of which the first answer is taken for the whole."""

    def get_many(self: Table, wanted: Sequence[tuple[str, str]]) -> list[Item]:
        request: Any = {self._name: {"Keys": [table._key(*each) for each in wanted]}}
        with table._errors():
            page = self._client.batch_get_item(RequestItems=request)
        return [table._plain(item) for item in page["Responses"].get(self._name, [])]

    return get_many


def _one_page(_: Any) -> Any:
    """A deletion that takes its first page for all, and says that it is done."""

    def remove_messages(self: Conversations, user: str, conversation_id: str) -> None:
        try:
            real_removal(self, user, conversation_id)
        except StorageError:
            return

    real_removal = Conversations.remove_messages
    return remove_messages


def _const(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


# Pieces of the conditions on H.
_FREED = "attribute_not_exists(pk) OR #ttl <= :now"
_CLOSED = "attribute_exists(closed)"
_OTHERS = "NOT contains(closed, :me)"

MUTANTS: Sequence[Mutant] = (
    Mutant(
        "a flush whatever n is",
        "I2",
        changed(generation_writer, "IS_OWNER", "st = :run AND own = :me AND (n = :n OR n <> :n)"),
    ),
    Mutant("text that was given again is appended again", "I1", method(TableWriter, "flush", _forgetful)),
    Mutant("sealed after the flush", "I1", _sealed_late),
    Mutant("segments in the order of text", "I1", method(keys, "segment", _const(lambda start: f"S#{start}"))),
    Mutant("an ended generation is marked", "I2", changed(generations, "IS_RUNNING", "(st = :run OR st <> :run)")),
    Mutant("a position too far", "I3", method(log, "after", _ahead)),
    Mutant("only the tail is read", "I3", method(Generations, "read", _tail_only)),
    Mutant("a cursor too far", "I3", method(Follower, "_append_new", _placed_early)),
    Mutant("no rollback", "I4", method(Follower, "_append_end", _without_rollback)),
    Mutant("a zombie may write", "I5", changed(generation_writer, "IS_OWNER", "(st = :run OR own = :me) AND n = :n")),
    Mutant("no patience", "I5", changed(generation_record, "LEASE_GRACE_MS", -5_000)),
    Mutant("a short lease", "I5", changed(generation_writer, "LEASE_MS", 1_000)),
    Mutant(
        "a lease renewed since is not seen",
        "I5",
        changed(generations, "IS_UNCHANGED", "st = :run AND n = :n AND (lease = :lease OR lease <> :lease)"),
    ),
    Mutant("a second head for one key", "I6", method(Table, "put_if_part", _overwriting)),
    Mutant("a start that was given up begins", "I6", method(Generations, "_close", _const(lambda *_: None))),
    Mutant(
        "a key forgets whose start was given up",
        "I6",
        changed(generations, "IS_REPLACEABLE", f"{_FREED} OR ({_CLOSED} AND own = :me)"),
    ),
    Mutant(
        "a head without an end may be replaced", "I5", changed(generations, "IS_REPLACEABLE", f"{_FREED} OR {_OTHERS}")
    ),
    Mutant(
        "a key with a head is closed", "I5", changed(generations, "IS_CLOSABLE", f"{_FREED} OR attribute_exists(pk)")
    ),
    Mutant(
        "a closed key stays closed",
        "I8",
        changed(generations, "IS_REPLACEABLE", f"{_FREED} OR ({_OTHERS} AND fp = :me)"),
    ),
    Mutant(
        "a key is taken until its head is swept",
        "I8",
        changed(
            generations,
            "IS_REPLACEABLE",
            f"attribute_not_exists(pk) OR ({_CLOSED} AND {_OTHERS}) OR (#ttl <= :now AND #ttl > :now)",
        ),
    ),
    Mutant("a retry is refused while the first is answered", "I6", method(Memory, "may_have_started", _const(_never))),
    Mutant(
        "a segment that is longer stays, whosever it is",
        "I1",
        changed(generation_writer, "_IS_LONGER", "attribute_not_exists(pk) OR n1 < :n1 OR (own = :me AND dl < :dl)"),
    ),
    Mutant("segments are read whosever they are", "I3", method(Generations, "read", _read_whosever)),
    Mutant("nothing is put back", "I9", method(GenerationRecords, "restored", _const(lambda *_: None))),
    Mutant("nothing is put back after a day", "I9", method(Generations, "_release", _released)),
    Mutant("a lost answer is free", "I13", method(Estimate, "usage", _const(lambda *_: Usage(basis="estimated")))),
    Mutant(
        "another payload is attached",
        "I6",
        method(Generations, "attach", _const(lambda _, earlier, __: earlier)),
    ),
    Mutant("a cancel is not written", "I7", method(Generations, "cancel", _const(lambda *_: None))),
    Mutant("a cancel is not told", "I7", method(generation_writer, "from_item", _never_cancelled)),
    Mutant("active stays", "I8", rewritten(" REMOVE active", "")),
    Mutant("active is not set", "I8", rewritten("active = :gid,", "once = :gid,")),
    Mutant(
        "two answers at once", "I8", changed(generations, "_IS_FREE", "seq = :seen AND attribute_not_exists(deleted)")
    ),
    Mutant("nobody reaps", "I8", method(GenerationRecord, "is_dead", _const(lambda *_: False))),
    Mutant(
        "seq whatever it is",
        "I9",
        changed(
            generations,
            "_IS_FREE",
            "(seq = :seen OR seq <> :seen) AND attribute_not_exists(deleted) AND attribute_not_exists(active)",
        ),
    ),
    Mutant("the answer is not the log", "I9", method(messages, "items", _lost_text)),
    Mutant("a write of any size", "I11", changed(generation_writer, "RUN", 10**9)),
    Mutant("a message in one item", "I11", changed(messages, "PIECE_BYTES", 10**9)),
    Mutant("a partition for everybody", "I12", method(keys, "generation", _const(lambda _, gid: f"U#G#{gid}"))),
    Mutant("a batch that is read in part", "I13", method(Table, "get_many", _in_part)),
    Mutant("a batch without end", "I13", changed(table, "READS", 10**9)),
    Mutant("usage counted apart", "I13", method(Table, "transact", _counted_apart)),
    Mutant("a write that meets a transaction fails", "I14", method(table, "_repeated", _once)),
    Mutant("a throttled transaction fails", "I8", changed(table, "_THROTTLES", frozenset())),
    Mutant("a throttled transaction fails for good", "I8", changed(table, "ATTEMPTS", 2)),
    Mutant("a deletion that broke off is done", "I14", method(Conversations, "remove_messages", _one_page)),
    Mutant("a late write deletes a later mark", "I14", method(erasure_mark, "same_erasure_part", _always)),
    Mutant("the index is believed at once", "I14", changed(erasure, "INDEX_LAG", -1.0)),
    Mutant("a start while all is erased", "I14", method(erasure_mark, "not_erasing_part", _always)),
    Mutant("the end brings it back", "I14", changed(generation_records, "IS_ACTIVE", "active = :gid")),
    Mutant(
        "a start brings it back",
        "I14",
        changed(generations, "_IS_FREE", "seq = :seen AND attribute_not_exists(active)"),
    ),
)
