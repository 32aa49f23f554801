"""The heads of generations in the table: how one is read, and how one ends, whoever ends it."""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from typing import Any

from converse_stream.limits import make_slot
from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.events import Message
from converse_stream.protocol.ids import now
from converse_stream.store import keys, messages
from converse_stream.store.generation_record import (
    End,
    GenerationRecord,
    from_item,
    key,
)
from converse_stream.store.retention import Retention, message_expired
from converse_stream.store.table import ConditionFailed, Item, Table
from converse_stream.store.usage import settle_parts

# Named condition on META; those on H are in head.py.
IS_ACTIVE = "active = :gid AND attribute_not_exists(deleted)"


class GenerationRecords:
    """`user` is a `User.key` everywhere; `clock` gives seconds."""

    def __init__(self, table: Table, retention: Retention, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._retention = retention
        self._clock = clock

    def now(self) -> int:
        """The wall clock, in ms."""
        return int(self._clock() * 1000)

    def get(self, user: str, gid: str) -> GenerationRecord | None:
        """The generation's head, or None; one whose time is over is gone, though the table deletes it late."""
        return self.current(self._table.get(keys.generation(user, gid), keys.RECORD))

    def current(self, item: Item | None) -> GenerationRecord | None:
        """The item as a head; None where nothing was started, or its time is over."""
        return from_item(item) if item and "closed" not in item and int(item["ttl"]) > self._clock() else None

    def restored(self, user: str, record: GenerationRecord) -> Item | None:
        """The answer that the end of `head` puts back, or has put back, as an item; None where it stores its own."""
        if record.replaces is None or not record.restores_replaced:
            return None
        pk = keys.conversation(user, record.conversation)
        item = self._table.get(pk, keys.replaced(record.seq, record.replaces))
        if item is None:
            item = self._table.get(pk, keys.message(record.seq))
        found = item is not None and item["gid"] == record.replaces and not message_expired(item, self._clock())
        return item if found else None

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
        """One transaction: the generation's end, the answer, and the conversation free again. False: it had ended.

        Where there is an answer to be `restored`, that one is put back and `answer` is not stored.
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
        # Without its condition the update would bring a deleted conversation back.
        freed = self._table.update_part(
            pk,
            keys.META,
            "SET gsi1sk = :now, #ttl = :ttl REMOVE active",
            condition=IS_ACTIVE,
            values={":now": now(), ":ttl": self._retention.of_conversation(self._clock()), ":gid": record.gid},
            names={"#ttl": "ttl"},
        )
        if restored:
            put = self.puts_back(restored)
        else:
            put = [self._table.put_new_part(item) for item in self._items(pk, record.seq, answer)]
        cost = settle_parts(self._table, user, make_slot(record.deadline, record.gid), end.usage, self._clock())
        for parts in ([finished, *cost, freed, *put], [finished, *cost]):  # the second: the conversation is deleted
            try:
                self._table.transact(parts)
                return True
            except ConditionFailed:
                there = self.get(user, record.gid)
                if there is None or there.status != "run":
                    return False
                if (there.length, there.owner) != (record.length, record.owner) or there.lease != values.get(
                    ":lease", there.lease
                ):
                    return False
        raise StorageError

    def puts_back(self, item: Item) -> list[Any]:
        """For `transact`: an answer that was moved aside takes its place again."""
        moved, back = messages.as_replaced(item), messages.as_current(item)
        gone = self._table.delete_part(item["pk"], moved["sk"], condition="id = :id", values={":id": item["id"]})
        return [self._table.put_new_part(back), gone]

    def _items(self, pk: str, place: int, message: Message) -> Iterable[Item]:
        return messages.items(pk, place, message, self._retention.of_message(self._clock()))
