"""Generations: one owner writes one answer into a log in the table. The log outlives the owner.

    start     transact  H: put, if replaceable  | META: set active, if it is not set | put the user's message,
                                                                                       or store the old answer as
                                                                                       replaced
      close   update    H: closed, if absent. After a start without a confirmation: a late write of it then fails
    flush     update    H: tail, n, lease, if running, own = me and n is as expected. Returns cx (cancelled) and
                        fw (followed until)
      seal    put       S#<t0>: the tail, which is already durable, when it is long. The flush then writes a new tail
    cancel    update    H: cx, if running
    finish    transact  H: the end, as in flush | META: remove active, if it is mine | put the answer | count usage
                        If the log has nothing new, the replaced answer is stored again instead
    reap      transact  As finish, by any function, after the lease has expired: H: lost, if lease and n are unchanged

One conditional write per second stores the text, renews the lease and reads whether the generation is cancelled. If its
condition fails, there are two cases. An earlier attempt has succeeded without a response: then H has exactly what the
owner wrote. Or another function has ended the generation: then the owner stops. A crash between seal and flush leaves a
segment whose text is also in the tail. Readers ignore it: they read only segments before t0.

DynamoDB deletes each item separately, hours after its `ttl`. So an idempotency key can be used again while the old
record or the old segments still exist. Readers and conditions treat a record as absent when its `ttl` has passed, and
each segment names its owner.
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
from converse_stream.store import erasure_marker, keys, messages
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
from converse_stream.store.table import ConditionFailed, Table
from converse_stream.store.values import Item
from converse_stream.telemetry import count_lost, logger

FOLLOWER_LIFETIME = 15 * 60_000  # ms for which a follower counts: no function runs longer
POLL_SECONDS = 0.2  # seconds between two reads of a generation that must end
ATTEMPTS = 3  # of a start that conflicts with concurrent writes, and of a read

# Named conditions on META. The conditions on H are in generation_record.py, that of the end in generation_records.py.
_IS_NEW = "attribute_not_exists(pk)"
_IS_FREE = "seq = :seen AND attribute_not_exists(deleted) AND attribute_not_exists(active)"


class Generations(GenerationRecords):
    """Starts, reads and cancels generations, and ends those whose owner is dead."""

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
        """Stores the user's message, and makes the generation the active one of its conversation.

        With `replace_last`, no message is added: the new answer replaces `message`, which must be the last answer.

        Returns the writer of the generation, or the record of an earlier send with the same key.

        Raises IdempotencyKeyReused if the earlier send had another payload, ConversationBusy while another generation
        runs, NotFound if the conversation was deleted, and ErasureInProgress while the user's data is being erased.
        After a StorageError the generation does not start later, unless the table also refused to close the key. The
        same key can then be used again.
        """
        replaces = message.generation_id if replace_last else None
        record = replace(record, prefix_length=record.length, replaces=replaces)
        for _ in range(ATTEMPTS):
            current = conversation or self._conversations.get(user, record.conversation)
            new = replace(record, seq=current.seq if replace_last else current.seq + 2)
            message_parts = self._replacement_parts if replace_last else self._message_parts
            try:
                self._table.transact(
                    [
                        erasure_marker.not_erasing_part(self._table, user),
                        self._record_part(user, new),
                        self._conversation_part(user, new, current, message),
                        *message_parts(user, new, message),
                    ]
                )
                return TableWriter(self, self._table, user, new)
            except ConditionFailed as failed:
                earlier, is_being_erased = self.get(user, record.gid), 0 in failed.parts
            except StorageError:
                earlier, is_being_erased = self._close(user, new), False
                if earlier is None:
                    raise
            if earlier and earlier.owner == record.owner:  # the start had succeeded, only the response was lost
                return TableWriter(self, self._table, user, earlier)
            if earlier:
                return self.attach(earlier, record.fingerprint)
            if is_being_erased:
                raise ErasureInProgress
            try:
                conversation = self._get_free(user, record.conversation)
            except ConversationBusy:
                if earlier := self.get(user, record.gid):  # a concurrent request of the same send has started it
                    return self.attach(earlier, record.fingerprint)
                raise
        raise ConversationBusy

    def attach(self, earlier: GenerationRecord, fingerprint: str) -> GenerationRecord:
        """Returns the record of the earlier send, if it had the same payload. Raises IdempotencyKeyReused."""
        if earlier.fingerprint != fingerprint:
            raise IdempotencyKeyReused
        return earlier

    def cancel(self, user: str, record: GenerationRecord) -> None:
        """Marks the generation as cancelled, for its owner to stop. Does nothing if it has ended."""
        self._set(user, record, "cx", True)

    def mark_followed(self, user: str, record: GenerationRecord, until: int) -> None:
        """Stores that a follower reads until `until` (ms since the epoch), so that the owner flushes more often."""
        self._set(user, record, "fw", until)

    def _set(self, user: str, record: GenerationRecord, name: str, value: Any) -> None:
        values = {":value": value, ":run": "run"}
        with suppress(ConditionFailed):  # it has ended
            self._table.update(*key(user, record.gid), f"SET {name} = :value", condition=IS_RUNNING, values=values)

    def add_follower(self, user: str, gid: str, client: str, mark: str) -> None:
        """Stores that this client follows the generation; `mark` identifies this attach of the client."""
        item = {"pk": keys.generation(user, gid), "sk": keys.attach(client), "since": mark, "at": self.now()}
        self._table.put({**item, "ttl": int(self._clock()) + LOG_LIFETIME})

    def remove_follower(self, user: str, gid: str, client: str, mark: str) -> None:
        """Deletes what `add_follower` stored, unless a newer attach of the client has replaced it."""
        with suppress(ConditionFailed):
            pk, sk = keys.generation(user, gid), keys.attach(client)
            self._table.delete(pk, sk, condition="since = :mark", values={":mark": mark})

    def observe(self, user: str, gid: str) -> tuple[GenerationRecord | None, Mapping[str, str]]:
        """The record as `get_or_reap` returns it, and the mark of each following client, by client id. One read."""
        items = self._table.query(keys.generation(user, gid), "A#", keys.RECORD)
        record = self.current(items.pop()) if items and items[-1]["sk"] == keys.RECORD else None
        oldest = self.now() - FOLLOWER_LIFETIME
        marks = {item["sk"].removeprefix("A#"): item["since"] for item in items if int(item["at"]) > oldest}
        return self._reap_if_dead(user, record), marks

    def reap(self, user: str, record: GenerationRecord) -> GenerationRecord:
        """Ends a dead generation as lost, with the text in its log, and returns its record. Nothing is generated again.

        The usage is an estimate, because only the dead owner could receive the model's count. Raises NotFound if the
        conversation is deleted at the same time, and StorageError.
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
            logger.warning("generation lost", extra={"generation": record.gid})
            count_lost(record.model)
        return self.get(user, record.gid) or record

    def get_or_reap(self, user: str, gid: str) -> GenerationRecord | None:
        """The generation's record, or None. If the owner is dead, the generation is ended first."""
        return self._reap_if_dead(user, self.get(user, gid))

    def wait_for_end(self, user: str, gid: str, deadline: float) -> bool:
        """Waits for the end of the generation; False if it still runs at `deadline`, a time of the monotonic clock."""
        while (record := self.get_or_reap(user, gid)) and record.status == "run":
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def read(self, user: str, record: GenerationRecord, since: int) -> list[Entry]:
        """The entries of the durable log from position `since` to the end of the tail.

        `since` must be 0, or the first position of a segment or of the tail. Raises NotFound if the conversation is
        deleted at the same time, and StorageError if the log has a gap.
        """
        if since >= record.tail_start:
            return list(record.tail)
        pk = keys.generation(user, record.gid)
        for _ in range(ATTEMPTS):  # a Query is not a snapshot: after a gap, read again
            segments = self._table.query(pk, keys.segment(since), keys.segment(record.tail_start - 1))
            entries: list[Entry] = []
            position = since
            for segment in segments:
                # Skip segments of an earlier generation with the same key: another position or another owner.
                if int(segment["n0"]) != position or segment.get("own", record.owner) != record.owner:
                    continue
                entries += log.decode(bytes(segment["ev"]))
                position = int(segment["n1"])
            if position == record.tail_start:
                return entries + list(record.tail)
        if self.get(user, record.gid) is None:  # its conversation was deleted
            raise NotFound
        raise StorageError

    def _reap_if_dead(self, user: str, record: GenerationRecord | None) -> GenerationRecord | None:
        """Ends the generation if its owner is dead, and returns the record; None if it is deleted at the same time."""
        if record is None or not record.is_dead(self.now()):
            return record
        with suppress(NotFound):
            return self.reap(user, record)
        return None

    def _record_part(self, user: str, record: GenerationRecord) -> Any:
        at = self._clock()
        values = {":now": int(at), ":me": record.owner}
        item = to_item(user, record, int(at) + LOG_LIFETIME)
        return self._table.put_if_part(item, IS_REPLACEABLE, values=values, names={"#ttl": "ttl"})

    def _close(self, user: str, record: GenerationRecord) -> GenerationRecord | None:
        """Closes the key, so that a late write of the start fails. Returns the record if the start has succeeded.

        Earlier versions of this code do not know `closed`. For them the record is a failed answer that may be requested
        again. Raises StorageError.
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

    def _conversation_part(self, user: str, record: GenerationRecord, current: Conversation, message: Message) -> Any:
        values: Item = {
            ":next": record.seq,
            ":gid": record.gid,
            ":now": now(),
            ":user": keys.user(user),
            ":id": record.conversation,
            ":ttl": self._retention.of_conversation(self._clock()),
        }
        if current.deleted:
            raise ConditionFailed  # it may be expired, which the condition does not check
        if current.seq or current.updated_at:
            values[":seen"] = current.seq
        update = "SET seq = :next, active = :gid, gsi1pk = :user, gsi1sk = :now, id = :id, #ttl = :ttl"
        if not current.seq:
            update = f"{update}, opening = :opening, opening_ttl = :opening_ttl"
            values |= {":opening": opening(message.text), ":opening_ttl": self._retention.of_message(self._clock())}
        return self._table.update_part(
            keys.conversation(user, record.conversation),
            keys.META,
            update,
            condition=_IS_FREE if ":seen" in values else _IS_NEW,
            values=values,
            names={"#ttl": "ttl"},
        )

    def _message_parts(self, user: str, record: GenerationRecord, message: Message) -> Iterable[Any]:
        pk = keys.conversation(user, record.conversation)
        return (self._table.put_new_part(item) for item in self._items(pk, record.seq - 1, message))

    def _replacement_parts(self, user: str, record: GenerationRecord, message: Message) -> Iterable[Any]:
        pk = keys.conversation(user, record.conversation)
        item = self._table.get(pk, keys.message(record.seq))
        if item is None or item["id"] != message.id:
            raise ConditionFailed  # another generation has replaced it
        # Without a condition: an earlier use of the key may have left such an item.
        yield self._table.put_part(messages.as_replaced(item))
        yield self._table.delete_part(pk, item["sk"], condition="id = :id", values={":id": message.id})

    def _release(self, user: str, current: Conversation, gid: str) -> None:
        """Frees the conversation if the record of its active generation is gone, and restores a replaced answer."""
        pk = keys.conversation(user, current.id)
        freed = self._table.update_part(pk, keys.META, "REMOVE active", condition=IS_ACTIVE, values={":gid": gid})
        # The same key may have started another generation in the meantime.
        is_gone = self._table.check_part(
            *key(user, gid), condition=IS_CLOSABLE, values={":now": int(self._clock())}, names={"#ttl": "ttl"}
        )
        replaced = self._table.query(pk, keys.replaced(current.seq, ""), keys.replaced(current.seq, "~"))
        restorable = [item for item in replaced if not message_expired(item, self._clock())]
        attempts = [[freed, is_gone]]
        if restorable:
            newest = max(restorable, key=lambda item: str(item["at"]))
            attempts.insert(0, [freed, is_gone, *self.restore_parts(newest)])
        for parts in attempts:
            with suppress(ConditionFailed):
                self._table.transact(parts)
                return

    def _get_free(self, user: str, conversation: str) -> Conversation:
        """The conversation, without a running generation. Raises ConversationBusy and NotFound."""
        current = self._conversations.get(user, conversation)
        if current.deleted:
            raise NotFound
        if current.active:
            running = self.get_or_reap(user, current.active)
            if running and running.status == "run":
                raise ConversationBusy(generation=current.active)
            if running is None:  # the record has expired before any request ended the generation
                self._release(user, current, current.active)
            current = self._conversations.get(user, conversation)
        return current
