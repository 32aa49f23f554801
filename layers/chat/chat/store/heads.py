"""The heads of generations in the table: how one is read, and how one ends, whoever ends it."""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict

from chat.errors import StorageError
from chat.events import Message
from chat.ids import now
from chat.limits import slot
from chat.store import keys, messages
from chat.store.head import End, Head, from_item, key
from chat.store.limits import settled
from chat.store.retention import Retention
from chat.store.table import ConditionFailed, Item, Table

# Named condition on META; those on H are in head.py.
_ACTIVE = "active = :gid AND attribute_not_exists(deleted)"


class Heads:
    """`user` is a `User.key` everywhere; `clock` gives seconds."""

    def __init__(self, table: Table, retention: Retention, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._retention = retention
        self._clock = clock

    def now(self) -> int:
        """The wall clock, in ms."""
        return int(self._clock() * 1000)

    def head(self, user: str, gid: str) -> Head | None:
        """The generation's head, or None; one whose time is over is gone, though the table deletes it late."""
        item = self._table.get(keys.generation(user, gid), keys.HEAD)
        return from_item(item) if item and int(item["ttl"]) > self._clock() else None

    def end(self, user: str, head: Head, answer: Message, end: End, condition: str, values: Item) -> bool:
        """One transaction: the generation's end, the answer, and the conversation free again. False: it had ended."""
        pk = keys.conversation(user, head.conversation)
        finished = self._table.update(
            *key(user, head.gid),
            "SET st = :st, reason = :reason, #usage = :usage",
            condition=condition,
            values={
                ":run": "run",
                ":n": head.n,
                ":st": end.status,
                ":reason": end.reason,
                ":usage": asdict(end.usage),
                **values,
            },
            names={"#usage": "usage"},
        )
        # Without its condition the update would bring a deleted conversation back.
        freed = self._table.update(
            pk,
            keys.META,
            "SET gsi1sk = :now, #ttl = :ttl REMOVE active",
            condition=_ACTIVE,
            values={":now": now(), ":ttl": self._retention.of_conversation(self._clock()), ":gid": head.gid},
            names={"#ttl": "ttl"},
        )
        put = [self._table.absent(item) for item in self._items(pk, head.place, answer)]
        cost = settled(self._table, user, slot(head.deadline, head.gid), end.usage, self._clock())
        for parts in ([finished, *cost, freed, *put], [finished, *cost]):  # the second: the conversation is deleted
            try:
                self._table.transact(parts)
                return True
            except ConditionFailed:
                there = self.head(user, head.gid)
                if there is None or there.status != "run":
                    return False
                if (there.n, there.owner) != (head.n, head.owner) or there.lease != values.get(":lease", there.lease):
                    return False
        raise StorageError

    def _items(self, pk: str, place: int, message: Message) -> Iterable[Item]:
        return messages.items(pk, place, message, self._retention.of_message(self._clock()))
