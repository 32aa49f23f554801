"""Reads generation records and ends generations, for the owner and for other functions."""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from converse_stream.limits import make_slot
from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.events import Message
from converse_stream.protocol.ids import now
from converse_stream.store import keys, messages
from converse_stream.store.generation_record import End, GenerationRecord, from_item, key
from converse_stream.store.retention import Retention, message_expired
from converse_stream.store.table import ConditionFailed, Table
from converse_stream.store.usage import settle_parts
from converse_stream.store.values import Item

# Named condition on META; the conditions on H are in generation_record.py.
IS_ACTIVE = "active = :gid AND attribute_not_exists(deleted)"


class GenerationRecords:
    """The generation records in the table. `user` is a `User.key` in all methods; `clock` returns seconds."""

    def __init__(self, table: Table, retention: Retention, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._retention = retention
        self._clock = clock

    def now(self) -> int:
        """The time of the wall clock, in ms since the epoch."""
        return int(self._clock() * 1000)

    def get(self, user: str, gid: str) -> GenerationRecord | None:
        """The generation's record, or None. An expired record counts as absent, also before the table deletes it."""
        return self.current(self._table.get(keys.generation(user, gid), keys.RECORD))

    def current(self, item: Item | None) -> GenerationRecord | None:
        """The record that `item` holds; None if the item is absent or expired, or its start was given up."""
        return from_item(item) if item and "closed" not in item and int(item["ttl"]) > self._clock() else None

    def restored(self, user: str, record: GenerationRecord) -> Item | None:
        """The item of the answer that the end of this generation restores, or has restored.

        None if the end stores the generation's own answer, or if the replaced answer does not exist any more.
        """
        if record.replaces is None or not record.restores_replaced:
            return None
        pk = keys.conversation(user, record.conversation)
        item = self._table.get(pk, keys.replaced(record.seq, record.replaces))
        if item is None:
            item = self._table.get(pk, keys.message(record.seq))
        exists = item is not None and item["gid"] == record.replaces and not message_expired(item, self._clock())
        return item if exists else None

    def end(
        self,
        user: str,
        record: GenerationRecord,
        answer: Message,
        end: End,
        condition: str,
        values: Item,
        restored: Item | None,
    ) -> bool:
        """Ends the generation, stores the answer and frees the conversation, in one transaction.

        Returns False if the generation has already ended, or if `condition` on H does not hold. If there is an item
        `restored`, that answer is stored again instead of `answer`. Raises StorageError.
        """
        pk = keys.conversation(user, record.conversation)
        finished = self._table.update_part(
            *key(user, record.gid),
            "SET st = :st, reason = :reason, #usage = :usage",
            condition=condition,
            values={
                ":run": "run",
                ":n": record.length,
                ":st": end.status,
                ":reason": end.reason,
                ":usage": asdict(end.usage),
                **values,
            },
            names={"#usage": "usage"},
        )
        # Without the condition, the update would create a deleted conversation again.
        freed = self._table.update_part(
            pk,
            keys.META,
            "SET gsi1sk = :now, #ttl = :ttl REMOVE active",
            condition=IS_ACTIVE,
            values={":now": now(), ":ttl": self._retention.of_conversation(self._clock()), ":gid": record.gid},
            names={"#ttl": "ttl"},
        )
        if restored:
            put = self.restore_parts(restored)
        else:
            put = [self._table.put_new_part(item) for item in self._items(pk, record.seq, answer)]
        cost = settle_parts(self._table, user, make_slot(record.deadline, record.gid), end.usage, self._clock())
        for parts in ([finished, *cost, freed, *put], [finished, *cost]):  # the second one: for a deleted conversation
            try:
                self._table.transact(parts)
                return True
            except ConditionFailed:
                stored = self.get(user, record.gid)
                if stored is None or stored.status != "run":
                    return False
                if (stored.length, stored.owner) != (record.length, record.owner) or stored.lease != values.get(
                    ":lease", stored.lease
                ):
                    return False
        raise StorageError

    def restore_parts(self, item: Item) -> list[Any]:
        """For `transact`: stores a replaced answer as the current one again."""
        replaced, current = messages.as_replaced(item), messages.as_current(item)
        delete = self._table.delete_part(item["pk"], replaced["sk"], condition="id = :id", values={":id": item["id"]})
        return [self._table.put_new_part(current), delete]

    def _items(self, pk: str, seq: int, message: Message) -> Iterable[Item]:
        return messages.items(pk, seq, message, self._retention.of_message(self._clock()))
