"""A generation: one answer being made, by one owner, into a log that outlives it.

    start     transact  H: put, if replaceable  | META: active = gid, if none is | put the user's message,
                                                                                   or move the old answer aside
      close   update    H: closed, if absent: a start whose answer did not come can no longer succeed
    flush     update    H: tail, n, lease, if it runs and is mine at the n I know; brings back cx and fw
      seal    put       S#<t0>: the tail that is durable already, when it has grown; then flush with a new one
    cancel    update    H: cx, if it runs
    finish    transact  H: its end, likewise    | META: active gone, if it is mine | put the answer | count the day
                        an end without anything new puts the old answer back instead
    reap      the same, by anybody, when the lease ran out: H: lost, on the lease and the n that were seen

One conditional write per second carries the text, the lease and the answer to "does anybody want it stopped?". A write
whose condition fails has either succeeded before, unseen (then H says exactly what we wrote), or somebody else ended
the generation: then its owner stops. A crash between sealing and flushing leaves a segment that readers ignore,
because it does not begin before H's tail.

The table deletes each item on its own, hours after its `ttl`. So a key may be used again while its head or its segments
are still there: readers and conditions take a head for absent when its `ttl` has passed, and segments name their owner.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from converse_stream.protocol import log
from converse_stream.protocol.errors import (
    ConversationBusy,
    ErasureInProgress,
    IdempotencyKeyReused,
    NotFound,
    StorageError,
)
from converse_stream.protocol.events import Message
from converse_stream.protocol.ids import now
from converse_stream.protocol.log import Entry
from converse_stream.store import erasure_mark, keys, messages
from converse_stream.store.conversations import Conversation, Conversations, opening
from converse_stream.store.generation_record import (
    IS_CLOSABLE,
    IS_REPLACEABLE,
    IS_RUNNING,
    IS_UNCHANGED,
    LOG_LIFETIME,
    End,
    GenerationRecord,
    from_item,
    key,
    to_item,
)
from converse_stream.store.generation_records import IS_ACTIVE, GenerationRecords
from converse_stream.store.generation_writer import TableWriter
from converse_stream.store.retention import message_expired
from converse_stream.store.table import ConditionFailed, Item, Table
from converse_stream.telemetry import count_lost, logger

FOLLOWER_LIFETIME = 15 * 60_000  # ms that an attach counts: no function runs for longer
POLL_SECONDS = 0.2  # seconds between two looks at one whose end is waited for
ATTEMPTS = 3  # at a start that keeps losing races

# Named conditions on META; those on H are in head.py, the end's in heads.py.
_IS_NEW = "attribute_not_exists(pk)"
_IS_FREE = "seq = :seen AND attribute_not_exists(deleted) AND attribute_not_exists(active)"


class Generations(GenerationRecords):
    """Starts generations, looks at them, and ends those whose owner is dead."""

    def __init__(self, table: Table, conversations: Conversations, clock: Callable[[], float] = time.time) -> None:
        super().__init__(table, conversations.retention, clock)
        self._conversations = conversations

    def start(
        self,
        user: str,
        record: GenerationRecord,
        conversation: Conversation | None,
        message: Message,
        *,
        replace_last: bool = False,
    ) -> TableWriter | GenerationRecord:
        """Stores the user's message and makes the generation the conversation's active one.

        With `replace_last` there is no new message: the answer takes the place of `message`, which is the last one, and
        moves aside.

        The head of an earlier send with the same key comes back instead, when there is one. Raises KeyReused when
        that one had another payload, ConversationBusy while another answer is being made, NotFound when the
        conversation was deleted, BeingErased while all that the user has is. After a StorageError nothing begins any
        more, unless the table refused to close the key as well; the same key may be used again.
        """
        replaces = message.generation_id if replace_last else None
        record = replace(record, prefix_length=record.length, replaces=replaces)
        for _ in range(ATTEMPTS):
            known = conversation or self._conversations.get(user, record.conversation)
            placed = replace(record, seq=known.seq if replace_last else known.seq + 2)
            store = self._moves if replace_last else self._puts
            try:
                self._table.transact(
                    [
                        erasure_mark.not_erasing_part(self._table, user),
                        self._begins(user, placed),
                        self._claim(user, placed, known, message),
                        *store(user, placed, message),
                    ]
                )
                return TableWriter(self, self._table, user, placed)
            except ConditionFailed as failed:
                earlier, is_being_erased = self.get(user, record.gid), 0 in failed.parts
            except StorageError:
                earlier, is_being_erased = self._close(user, placed), False
                if earlier is None:
                    raise
            if earlier and earlier.owner == record.owner:  # it had succeeded, and only the answer was lost
                return TableWriter(self, self._table, user, earlier)
            if earlier:
                return self.attach(earlier, record.fingerprint)
            if is_being_erased:
                raise ErasureInProgress
            try:
                conversation = self._free(user, record.conversation)
            except ConversationBusy:
                if twin := self.get(user, record.gid):  # the same send, begun between our two looks
                    return self.attach(twin, record.fingerprint)
                raise
        raise ConversationBusy

    def attach(self, earlier: GenerationRecord, fingerprint: str) -> GenerationRecord:
        """The head, if the send that made it said the same. Raises KeyReused."""
        if earlier.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        return earlier

    def cancel(self, user: str, record: GenerationRecord) -> None:
        """Asks the owner to stop. One that has ended already stays as it is."""
        self._mark(user, record, "cx", True)

    def mark_followed(self, user: str, record: GenerationRecord, until: int) -> None:
        """Tells the owner that somebody follows, so that it flushes more often."""
        self._mark(user, record, "fw", until)

    def _mark(self, user: str, record: GenerationRecord, name: str, value: Any) -> None:
        values = {":value": value, ":run": "run"}
        with suppress(ConditionFailed):  # it has ended
            self._table.update(*key(user, record.gid), f"SET {name} = :value", condition=IS_RUNNING, values=values)

    def add_follower(self, user: str, gid: str, client: str, mark: str) -> None:
        """Notes that this client follows; `mark` tells its attaches apart."""
        item = {"pk": keys.generation(user, gid), "sk": keys.attach(client), "since": mark, "at": self.now()}
        self._table.put({**item, "ttl": int(self._clock()) + LOG_LIFETIME})

    def remove_follower(self, user: str, gid: str, client: str, mark: str) -> None:
        """Takes the note back, unless a newer attach of the client has replaced it."""
        with suppress(ConditionFailed):
            pk, sk = keys.generation(user, gid), keys.attach(client)
            self._table.delete(pk, sk, condition="since = :mark", values={":mark": mark})

    def observe(self, user: str, gid: str) -> tuple[GenerationRecord | None, Mapping[str, str]]:
        """The head, reaped first if its owner is dead, and the marks of the clients that follow; one read."""
        items = self._table.query(keys.generation(user, gid), "A#", keys.RECORD)
        record = self.current(items.pop()) if items and items[-1]["sk"] == keys.RECORD else None
        lately = self.now() - FOLLOWER_LIFETIME
        marks = {item["sk"].removeprefix("A#"): item["since"] for item in items if int(item["at"]) > lately}
        return self._reaped(user, record), marks

    def reap(self, user: str, record: GenerationRecord) -> GenerationRecord:
        """Ends a dead generation as lost, with what it left; the head as it is then. Nothing is generated again.

        What it had read and said is charged by our estimate: the model's own count died with its owner. Raises NotFound
        when it is deleted meanwhile, and StorageError.
        """
        entries = self.read(user, record, 0)
        usage = record.estimate.usage(log.after(entries, record.prefix_length))
        lost = Message(
            id=record.message_id,
            role="assistant",
            parts=tuple(entries),
            created_at=now(),
            status="partial",
            generation_id=record.gid,
            model=record.model,
            finish_reason="lost",
            usage=usage,
        )
        restored = self.restored(user, record)
        if self.end(user, record, lost, End("lost", "lost", usage), IS_UNCHANGED, {":lease": record.lease}, restored):
            logger.warning("a generation was lost", extra={"generation": record.gid})
            count_lost(record.model)
        return self.get(user, record.gid) or record

    def get_or_reap(self, user: str, gid: str) -> GenerationRecord | None:
        """The head, reaped first if its owner is dead."""
        return self._reaped(user, self.get(user, gid))

    def wait_for_end(self, user: str, gid: str, deadline: float) -> bool:
        """Waits for its end until `deadline`, a time of the monotonic clock; whether it has come."""
        while (record := self.get_or_reap(user, gid)) and record.status == "run":
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def read(self, user: str, record: GenerationRecord, since: int) -> list[Entry]:
        """The durable log from `since` to the head's end; `since` must be where a segment or the tail begins, or 0.

        Raises NotFound when it is deleted meanwhile.
        """
        if since >= record.tail_start:
            return list(record.tail)
        pk = keys.generation(user, record.gid)
        for _ in range(ATTEMPTS):  # a Query is no snapshot: on a gap, again
            segments = self._table.query(pk, keys.segment(since), keys.segment(record.tail_start - 1))
            entries: list[Entry] = []
            position = since
            for segment in segments:
                # What begins elsewhere, or names another owner, was left by an earlier generation with the same key.
                if int(segment["n0"]) != position or segment.get("own", record.owner) != record.owner:
                    continue
                entries += log.decode(bytes(segment["ev"]))
                position = int(segment["n1"])
            if position == record.tail_start:
                return entries + list(record.tail)
        if self.get(user, record.gid) is None:  # its conversation was deleted meanwhile
            raise NotFound
        raise StorageError

    def _reaped(self, user: str, record: GenerationRecord | None) -> GenerationRecord | None:
        """The head as it is when a dead one was reaped; None where it is deleted meanwhile."""
        if record is None or not record.is_dead(self.now()):
            return record
        with suppress(NotFound):
            return self.reap(user, record)
        return None

    def _begins(self, user: str, record: GenerationRecord) -> Any:
        at = self._clock()
        values = {":now": int(at), ":me": record.owner}
        item = to_item(user, record, int(at) + LOG_LIFETIME)
        return self._table.put_if_part(item, IS_REPLACEABLE, values=values, names={"#ttl": "ttl"})

    def _close(self, user: str, record: GenerationRecord) -> GenerationRecord | None:
        """Makes a start fail that may still arrive; the head that is there, if there is one. Raises StorageError.

        Functions of an earlier version, which do not know `closed`, see an answer that failed and may be asked again.
        """
        at = self._clock()
        item = to_item(user, replace(record, status="error"), int(at) + LOG_LIFETIME) | {"reason": StorageError.code}
        fields = {name: value for name, value in item.items() if name not in ("pk", "sk")}
        update = f"SET {', '.join(f'#{name} = :{name}' for name in fields)} ADD closed :owners"
        values = {f":{name}": value for name, value in fields.items()}
        try:
            self._table.update(
                *key(user, record.gid),
                update,
                condition=IS_CLOSABLE,
                values={**values, ":owners": {record.owner}, ":now": int(at)},
                names={f"#{name}": name for name in fields},
            )
        except ConditionFailed as failed:
            return from_item(failed.item) if failed.item else None
        return None

    def _claim(self, user: str, record: GenerationRecord, known: Conversation, message: Message) -> Any:
        values: Item = {
            ":next": record.seq,
            ":gid": record.gid,
            ":now": now(),
            ":user": keys.user(user),
            ":id": record.conversation,
            ":ttl": self._retention.of_conversation(self._clock()),
        }
        if known.deleted:
            raise ConditionFailed  # its time may be over, which no condition looks at
        if known.seq or known.updated_at:
            values[":seen"] = known.seq
        update = "SET seq = :next, active = :gid, gsi1pk = :user, gsi1sk = :now, id = :id, #ttl = :ttl"
        if not known.seq:
            update = f"{update}, opening = :opening, opening_ttl = :over"
            values |= {":opening": opening(message.text), ":over": self._retention.of_message(self._clock())}
        return self._table.update_part(
            keys.conversation(user, record.conversation),
            keys.META,
            update,
            condition=_IS_FREE if ":seen" in values else _IS_NEW,
            values=values,
            names={"#ttl": "ttl"},
        )

    def _puts(self, user: str, record: GenerationRecord, message: Message) -> Iterable[Any]:
        pk = keys.conversation(user, record.conversation)
        return (self._table.put_new_part(item) for item in self._items(pk, record.seq - 1, message))

    def _moves(self, user: str, record: GenerationRecord, message: Message) -> Iterable[Any]:
        pk = keys.conversation(user, record.conversation)
        item = self._table.get(pk, keys.message(record.seq))
        if item is None or item["id"] != message.id:
            raise ConditionFailed  # another one has moved it
        yield self._table.put_part(messages.as_replaced(item))  # a key used again may have left one there
        yield self._table.delete_part(pk, item["sk"], condition="id = :id", values={":id": message.id})

    def _release(self, user: str, known: Conversation, gid: str) -> None:
        """Frees the conversation of a generation whose head is gone; an answer that it had moved aside comes back."""
        pk = keys.conversation(user, known.id)
        freed = self._table.update_part(pk, keys.META, "REMOVE active", condition=IS_ACTIVE, values={":gid": gid})
        # The same key may have begun another generation since.
        gone = self._table.check_part(
            *key(user, gid), condition=IS_CLOSABLE, values={":now": int(self._clock())}, names={"#ttl": "ttl"}
        )
        aside = self._table.query(pk, keys.replaced(known.seq, ""), keys.replaced(known.seq, "~"))
        kept = [item for item in aside if not message_expired(item, self._clock())]
        ways = [[freed, gone]]
        if kept:
            newest = max(kept, key=lambda item: str(item["at"]))
            ways.insert(0, [freed, gone, *self.puts_back(newest)])
        for parts in ways:
            with suppress(ConditionFailed):
                self._table.transact(parts)
                return

    def _free(self, user: str, conversation: str) -> Conversation:
        """The conversation as it is now, free for an answer. Raises ConversationBusy and NotFound."""
        known = self._conversations.get(user, conversation)
        if known.deleted:
            raise NotFound
        if known.active:
            running = self.get_or_reap(user, known.active)
            if running and running.status == "run":
                raise ConversationBusy(generation=known.active)
            if running is None:  # nobody looked while its log was kept
                self._release(user, known, known.active)
            known = self._conversations.get(user, conversation)
        return known
