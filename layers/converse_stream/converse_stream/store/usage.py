"""What users, addresses and the whole deployment have used, and the write that lets one more request in.

    look     query + batch   the user's rl and day, the address's rl, the day of all in ten shards, the switch
    admit    update          rl: tat a step on, if it is not too far ahead; the answer takes a slot
    settle   in a transaction with the answer's end: the day of the user and of all, and the slot is free again

A rate's write needs no version: whoever comes first moves `tat`, and the condition holds or not for whoever comes next.
boto3 may make a write twice, when the first answer is lost. So a step has an id, its slot or a new one: the item keeps
that of the last step, and a step that the item names is not taken again. Without a slot, two steps are counted for one
where somebody else's comes between boto3's attempts. A version would count exactly, and refuse most of those who ask at
the same moment.
"""

import random
import time
from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from converse_stream import limits
from converse_stream.limits import (
    CurrentUsage,
    Rate,
    Rules,
    Spent,
)
from converse_stream.protocol.errors import ChatError, StorageError, TooManyRequests
from converse_stream.protocol.events import Usage
from converse_stream.protocol.ids import new_id
from converse_stream.store import keys
from converse_stream.store.table import ConditionFailed, Item, Table

RETENTION_SECONDS = 2 * 24 * 3600  # seconds that a day's count is kept
PARALLEL_CALLS = 2  # calls to the table at once
SHARDS = 10  # of the only counter that everybody writes
ATTEMPTS = 8  # at an item that others write too
TTL = {"#ttl": "ttl"}  # a reserved word

# Named conditions and updates on an item `rl`.
_IDLE = "(attribute_not_exists(tat) OR tat <= :now)"
_BUSY = "tat > :now AND tat <= :latest"
_ROOM = "(attribute_not_exists(act) OR size(act) < :most) AND NOT contains(act, :slot)"
_NOT_TAKEN = "(attribute_not_exists(step) OR step <> :step)"
_HELD = "contains(act, :slot)"


class UsageStore:
    """`user` is a `User.key`, `address` where a request came from; `clock` gives seconds."""

    def __init__(self, table: Table, rules: Rules, clock: Callable[[], float] = time.time) -> None:
        self.rules = rules
        self._table = table
        self._clock = clock

    def read(self, user: str, address: str) -> CurrentUsage:
        """What has been used so far, by one query and one batch, side by side."""
        today = _day(self._clock())
        shards = [keys.deployment_day(today, shard) for shard in range(SHARDS)]
        with ThreadPoolExecutor(PARALLEL_CALLS - 1, "limits") as pool:
            shared = pool.submit(self._table.get_many, [keys.address(address), keys.SWITCH, *shards])
            own = {item["sk"]: item for item in self._table.query(keys.limits(user), keys.day(today), keys.RATE)}
            found = {(item["pk"], item["sk"]): item for item in shared.result()}
        rate = own.get(keys.RATE)
        days = [_spent(found[key]) for key in shards if key in found]
        return CurrentUsage(
            tat=_tat(rate),
            address_tat=_tat(found.get(keys.address(address))),
            slots=_slots(rate),
            user=_spent(own.get(keys.day(today), {})),
            deployment=Spent(sum(day.tokens for day in days), sum(day.cost for day in days)),
            paused=keys.SWITCH in found,
        )

    def admit(self, user: str, address: str, slot: str | None, used: CurrentUsage) -> None:
        """Lets one more request in, whose answer takes `slot`. Raises what `Rules.check` raises, and StorageError."""
        now = self._now()  # once: by a later one, each attempt at a slow table would find it idle, and one of many win
        self.rules.check(used, now, starts_generation=slot is not None)
        with ThreadPoolExecutor(1, "limits") as pool:
            asked = pool.submit(self._step, address, used.address_tat, now)
            self._enter(user, slot, used, now)
            try:
                asked.result()
            except ChatError:
                if slot is not None:
                    self.release(user, slot)
                raise

    def release(self, user: str, slot: str) -> None:
        """Frees the slot of an answer that did not begin; if the table fails, its deadline does."""
        with suppress(ConditionFailed, StorageError):
            self._drop(user, {slot})

    def check_spending(self, user: str) -> None:
        """For what nobody asked for, whose rate does not count. Raises Paused, BudgetExhausted, StorageError."""
        self.rules.check_spending(self.read(user, address=""), self._now())  # which has no budget

    def count(self, user: str, spent: Usage) -> None:
        """Counts what was spent beside answers, if it was anything; that this failed is logged and no more."""
        if spent != Usage():
            with suppress(StorageError):
                self._table.transact(count_parts(self._table, user, spent, self._clock()))

    def _enter(self, user: str, slot: str | None, used: CurrentUsage, now: int) -> None:
        step = slot or new_id()
        for _ in range(ATTEMPTS):
            self.rules.check(used, now, starts_generation=slot is not None)
            if dead := used.slots - limits.running_slots(used.slots, now):
                with suppress(ConditionFailed):
                    self._drop(user, dead)
            key = keys.limits(user), keys.RATE
            try:
                self._move(key, self.rules.user, used.tat, now, step, slot)
            except ConditionFailed as failed:  # somebody else moved it, or took the last slot
                if _names(failed.item, step):  # or we did
                    return
                used = CurrentUsage(tat=_tat(failed.item), slots=_slots(failed.item))
            else:
                return
        raise TooManyRequests("user", 1)

    def _step(self, address: str, tat: int, now: int) -> None:
        rate, step = self.rules.address, new_id()
        for _ in range(ATTEMPTS):
            if wait := rate.wait(tat, now):
                raise TooManyRequests("address", -(-wait // 1000))
            try:
                self._move(keys.address(address), rate, tat, now, step)
            except ConditionFailed as failed:
                if _names(failed.item, step):
                    return
                tat = _tat(failed.item)
            else:
                return
        raise TooManyRequests("address", 1)

    def _move(self, key: tuple[str, str], rate: Rate, tat: int, now: int, step: str, slot: str | None = None) -> None:
        """One step of the rate, in the form that fits what was seen. Raises ConditionFailed with the item."""
        values: Item = {":now": now, ":step": step, ":ttl": now // 1000 + RETENTION_SECONDS}
        if tat <= now:
            update, condition = "SET tat = :next, step = :step, #ttl = :ttl", f"{_IDLE} AND {_NOT_TAKEN}"
            values[":next"] = now + rate.interval
        else:
            update, condition = "SET tat = tat + :interval, step = :step, #ttl = :ttl", f"{_BUSY} AND {_NOT_TAKEN}"
            values |= {":interval": rate.interval, ":latest": now + rate.tolerance}
        if slot is not None:
            update, condition = f"{update} ADD act :slots", f"{condition} AND {_ROOM}"
            values |= {":slot": slot, ":slots": {slot}, ":most": self.rules.generations}
        self._table.update(*key, update, condition=condition, values=values, names=TTL)

    def _drop(self, user: str, slots: Set[str]) -> None:
        key = keys.limits(user), keys.RATE
        self._table.update(*key, "DELETE act :slots", condition="attribute_exists(pk)", values={":slots": set(slots)})

    def _now(self) -> int:
        return int(self._clock() * 1000)


def settle_parts(table: Table, user: str, slot: str, usage: Usage, at: float, *, once: bool = False) -> Sequence[Any]:
    """For `transact`: counts one answer for its user and for all, and frees its slot; `at` in seconds.

    With `once` it holds only while the slot is taken, so that it may be tried again. An answer whose head says that it
    has ended needs no such condition, and its slot may have been dropped with its deadline.
    """
    values: Item = {":slots": {slot}, ":ttl": int(at) + RETENTION_SECONDS} | ({":slot": slot} if once else {})
    update, condition = "DELETE act :slots SET #ttl = :ttl", _HELD if once else None
    return [
        *count_parts(table, user, usage, at, requests=1),
        table.update_part(keys.limits(user), keys.RATE, update, condition=condition, values=values, names=TTL),
    ]


def count_parts(table: Table, user: str, usage: Usage, at: float, *, requests: int = 0) -> Sequence[Any]:
    """For `transact`: counts what was used on the day of its user and of all; `at` in seconds."""
    today, shard = _day(at), random.randrange(SHARDS)  # noqa: S311  # any will do
    count = "ADD requests :requests, tokens_in :in, tokens_out :out, cost :cost SET #ttl = :ttl"
    values: Item = {
        ":requests": requests,
        ":in": usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
        ":out": usage.output_tokens,
        ":cost": usage.cost or 0,
        ":ttl": int(at) + RETENTION_SECONDS,
    }
    days = (keys.limits(user), keys.day(today)), keys.deployment_day(today, shard)
    return [table.update_part(*day, count, values=values, names=TTL) for day in days]


def _tat(item: Item | None) -> int:
    return int((item or {}).get("tat", 0))


def _slots(item: Item | None) -> Set[str]:
    return frozenset((item or {}).get("act", ()))


def _names(item: Item | None, step: str) -> bool:
    return step == (item or {}).get("step") or step in _slots(item)


def _spent(day: Item) -> Spent:
    tokens = int(day.get("tokens_in", 0)) + int(day.get("tokens_out", 0))
    return Spent(tokens, int(day.get("cost", 0)))


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
