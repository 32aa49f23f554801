"""The usage of users, addresses and the whole deployment, and the rate limiter.

    read     query + batch   the user's rl and day, the address's rl, the deployment's day in ten shards, the switch
    admit    update          rl: advance tat by one interval, if it is not too far ahead; add the generation's slot
    settle   transact        with the end of the generation: count the day of the user and of the deployment, and
                             remove the slot

The update of a rate needs no version: its condition is checked against the `tat` that the previous request wrote. The
client may send a write twice, when the first response is lost. So each step has an id: the slot, or a new id. The item
stores the id of the last step, and a step is not applied again if the item has its id. Without a slot, a step can be
counted twice: when a step of another request is applied between the two attempts of the client. A version would count
exactly, but most of several concurrent requests would be refused.
"""

import random
import time
from collections.abc import Callable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from converse_stream import limits
from converse_stream.limits import CurrentUsage, Rate, Rules, Spent
from converse_stream.protocol.errors import ChatError, StorageError, TooManyRequests
from converse_stream.protocol.events import Usage
from converse_stream.protocol.ids import new_id
from converse_stream.store import keys
from converse_stream.store.table import ConditionFailed, Table
from converse_stream.store.values import Item

RETENTION_SECONDS = 2 * 24 * 3600  # of the usage of a day
PARALLEL_CALLS = 2  # to the table, of one read
SHARDS = 10  # of the one counter that all requests write
ATTEMPTS = 8  # of an update that conflicts with concurrent requests
TTL = {"#ttl": "ttl"}  # a reserved word

# Named conditions and updates on an item `rl`.
_TAT_IS_PAST = "(attribute_not_exists(tat) OR tat <= :now)"
_TAT_IS_TOLERATED = "tat > :now AND tat <= :latest"
_HAS_FREE_SLOT = "(attribute_not_exists(act) OR size(act) < :most) AND NOT contains(act, :slot)"
_STEP_IS_NEW = "(attribute_not_exists(step) OR step <> :step)"
_HAS_SLOT = "contains(act, :slot)"


class UsageStore:
    """The usage in the table. `user` is a `User.key`, `address` a hashed network address; `clock` returns seconds."""

    def __init__(self, table: Table, rules: Rules, clock: Callable[[], float] = time.time) -> None:
        self.rules = rules
        self._table = table
        self._clock = clock

    def read(self, user: str, address: str) -> CurrentUsage:
        """The usage so far. Runs one query and one batch read in parallel."""
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
        """Counts one more request. Its generation gets `slot`; None if it starts no generation.

        Raises the errors of `Rules.check`, and StorageError.
        """
        now = self._now()  # read once: with a later time, each attempt on a slow table would find the rate unused
        self.rules.check(used, now, starts_generation=slot is not None)
        with ThreadPoolExecutor(1, "limits") as pool:
            address_step = pool.submit(self._admit_address, address, used.address_tat, now)
            self._admit_user(user, slot, used, now)
            try:
                address_step.result()
            except ChatError:
                if slot is not None:
                    self.release(user, slot)
                raise

    def release(self, user: str, slot: str) -> None:
        """Removes the slot of a generation that did not start. If the table fails, the slot expires at its deadline."""
        with suppress(ConditionFailed, StorageError):
            self._remove_slots(user, {slot})

    def check_spending(self, user: str) -> None:
        """Checks the budgets, without the rate, for background tasks. Raises Paused, BudgetExhausted, StorageError."""
        self.rules.check_spending(self.read(user, address=""), self._now())  # an address has no budget

    def count(self, user: str, spent: Usage) -> None:
        """Counts the usage of a background task. A failure is only logged."""
        if spent != Usage():
            with suppress(StorageError):
                self._table.transact(count_parts(self._table, user, spent, self._clock()))

    def _admit_user(self, user: str, slot: str | None, used: CurrentUsage, now: int) -> None:
        step = slot or new_id()
        for _ in range(ATTEMPTS):
            self.rules.check(used, now, starts_generation=slot is not None)
            if expired := used.slots - limits.running_slots(used.slots, now):
                with suppress(ConditionFailed):
                    self._remove_slots(user, expired)
            key = keys.limits(user), keys.RATE
            try:
                self._advance(key, self.rules.user, used.tat, now, step, slot)
            except ConditionFailed as failed:  # another request has advanced the rate or got the last slot
                if _has_step(failed.item, step):  # or this step was applied by an earlier attempt of the client
                    return
                used = CurrentUsage(tat=_tat(failed.item), slots=_slots(failed.item))
            else:
                return
        raise TooManyRequests("user", 1)

    def _admit_address(self, address: str, tat: int, now: int) -> None:
        rate, step = self.rules.address, new_id()
        for _ in range(ATTEMPTS):
            if wait := rate.wait(tat, now):
                raise TooManyRequests("address", -(-wait // 1000))
            try:
                self._advance(keys.address(address), rate, tat, now, step)
            except ConditionFailed as failed:
                if _has_step(failed.item, step):
                    return
                tat = _tat(failed.item)
            else:
                return
        raise TooManyRequests("address", 1)

    def _advance(
        self, key: tuple[str, str], rate: Rate, tat: int, now: int, step: str, slot: str | None = None
    ) -> None:
        """Advances the rate by one interval. `tat` is its value as last read; it selects the update expression.

        Raises ConditionFailed with the item.
        """
        values: Item = {":now": now, ":step": step, ":ttl": now // 1000 + RETENTION_SECONDS}
        if tat <= now:
            update, condition = "SET tat = :next, step = :step, #ttl = :ttl", f"{_TAT_IS_PAST} AND {_STEP_IS_NEW}"
            values[":next"] = now + rate.interval
        else:
            update = "SET tat = tat + :interval, step = :step, #ttl = :ttl"
            condition = f"{_TAT_IS_TOLERATED} AND {_STEP_IS_NEW}"
            values |= {":interval": rate.interval, ":latest": now + rate.tolerance}
        if slot is not None:
            update, condition = f"{update} ADD act :slots", f"{condition} AND {_HAS_FREE_SLOT}"
            values |= {":slot": slot, ":slots": {slot}, ":most": self.rules.generations}
        self._table.update(*key, update, condition=condition, values=values, names=TTL)

    def _remove_slots(self, user: str, slots: Set[str]) -> None:
        key = keys.limits(user), keys.RATE
        self._table.update(*key, "DELETE act :slots", condition="attribute_exists(pk)", values={":slots": set(slots)})

    def _now(self) -> int:
        return int(self._clock() * 1000)


def settle_parts(table: Table, user: str, slot: str, usage: Usage, at: float, *, once: bool = False) -> Sequence[Any]:
    """For `transact`: counts one generation for its user and the deployment, and removes its slot; `at` is in seconds.

    With `once`, a condition requires that the slot exists, so that a repeated write does not count twice. The end of a
    generation with a record needs no such condition, and its slot may have been removed at its deadline.
    """
    values: Item = {":slots": {slot}, ":ttl": int(at) + RETENTION_SECONDS} | ({":slot": slot} if once else {})
    update, condition = "DELETE act :slots SET #ttl = :ttl", _HAS_SLOT if once else None
    return [
        *count_parts(table, user, usage, at, requests=1),
        table.update_part(keys.limits(user), keys.RATE, update, condition=condition, values=values, names=TTL),
    ]


def count_parts(table: Table, user: str, usage: Usage, at: float, *, requests: int = 0) -> Sequence[Any]:
    """For `transact`: adds a usage to the day of its user and of the deployment; `at` is in seconds."""
    today, shard = _day(at), random.randrange(SHARDS)  # noqa: S311  # not a secret
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


def _has_step(item: Item | None, step: str) -> bool:
    """Whether the step was applied: the item has its id as the last step or as a slot."""
    return step == (item or {}).get("step") or step in _slots(item)


def _spent(day: Item) -> Spent:
    tokens = int(day.get("tokens_in", 0)) + int(day.get("tokens_out", 0))
    return Spent(tokens, int(day.get("cost", 0)))


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()
