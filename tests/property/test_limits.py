"""I10: in any window W, at most 1 + tolerance / interval + W / interval requests of one user are admitted.

The real store on the fake table: environments with different clocks admit requests concurrently, and other requests
may run before any call to the table.
"""

import random
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from converse_stream.limits import Budget, CurrentUsage, Rate, Rules, Spent, make_slot, running_slots
from converse_stream.protocol.errors import (
    BudgetExhausted,
    ChatError,
    Paused,
    StorageError,
    TooManyGenerations,
    TooManyRequests,
)
from converse_stream.protocol.events import Usage
from converse_stream.store import keys, usage
from converse_stream.store.usage import UsageStore, settle_parts
from tests.property.fake_table import FakeDynamo, Fault, NoFaults
from tests.property.sequential_executor import SequentialExecutor

BEGIN = 1_800_000_000.0
RULES = Rules(Rate.per_minute(60, 5), Rate.per_minute(600, 20), 3, Budget(1_000, 0), Budget(0, 0))
SKEW = 0.05  # seconds; a fast clock adds SKEW / interval to the bound
NO_SLOT_LIMIT = 10**6  # concurrent generations, in tests of the rate only


class World(NoFaults):
    """Five environments, one user at two addresses. `admitted` has the true times of admitted requests in ms."""

    def __init__(self, seed: int, rules: Rules) -> None:
        self.random = random.Random(seed)  # noqa: S311  # reproducible, not a secret
        self.now = BEGIN
        self.dynamo = FakeDynamo(self)
        self.usages = [UsageStore(self.dynamo.table(), rules, self._clock()) for _ in range(5)]
        self.rules = rules
        self.admitted: list[float] = []
        self.running: dict[str, float] = {}
        self.refused = 0
        self.max_slots = 0
        self._depth = 0
        self._number = 0

    def _clock(self) -> Callable[[], float]:
        skew = self.random.uniform(0, SKEW)
        return lambda: self.now + skew

    def before(self, operation: str, pks: Sequence[str], *, writes: bool) -> Fault:
        """See TableHooks. Other requests may run first; some calls fail."""
        if self._depth < 3 and self.random.random() < 0.5:
            self.request()
        if writes and self.random.random() < 0.03:
            return self.random.choice(("before", "after"))
        return "none"

    def request(self) -> None:
        """One request, during which other requests may run."""
        self._depth += 1
        self._number += 1
        usages, address = self.random.choice(self.usages), self.random.choice(("here", "there"))
        length = self.random.choice((500, 3_000))
        request_slot = make_slot(int(self.now * 1000) + length, str(self._number))
        try:
            usages.admit("alice", address, request_slot, usages.read("alice", address))
        except (TooManyRequests, TooManyGenerations):
            self.refused += 1
        except StorageError:
            pass
        else:
            self.admitted.append(self.now * 1000)
            self.running[request_slot] = self.now * 1000 + length
        finally:
            self._depth -= 1
        item = self.dynamo.items.get((keys.limits("alice"), keys.RATE), {})
        self.max_slots = max(
            self.max_slots, len(running_slots(item.get("act", frozenset()), int((self.now + SKEW) * 1000)))
        )

    def run(self) -> None:
        """Runs bursts of requests with pauses."""
        for _ in range(150):
            chance = self.random.random()
            if chance < 0.7:
                self.request()
            elif chance < 0.85:
                self.now += self.random.choice((0.05, 0.2, 1.0, 5.0))
            else:
                with suppress(StorageError):
                    self.end()

    def end(self) -> None:
        """The oldest generation ends before its deadline."""
        if self.running:
            request_slot = next(iter(self.running))
            del self.running[request_slot]
            self.dynamo.table().transact(settle_parts(self.dynamo.table(), "alice", request_slot, Usage(), self.now))


def walk(seed: int, rules: Rules) -> World:
    """Runs one world to its end in one thread, so it is reproducible."""
    world = World(seed, rules)
    with mock.patch.object(usage, "ThreadPoolExecutor", SequentialExecutor):
        world.run()
    return world


def excess(admitted: Sequence[float], rate: Rate) -> float:
    """Returns by how many requests the busiest window exceeds the bound."""
    times = sorted(admitted)
    maximum = float("-inf")
    for first, begin in enumerate(times):
        for end in times[first:]:
            count = bisect_right(times, end) - first
            maximum = max(maximum, count - (1 + (rate.tolerance + end - begin + SKEW * 1000) / rate.interval))
    return maximum


def check(seeds: Sequence[int]) -> None:
    rate_only = Rules(RULES.user, RULES.address, NO_SLOT_LIMIT, Budget(0, 0), Budget(0, 0))
    refused = 0
    for seed in seeds:
        world = walk(seed, rate_only)
        refused += world.refused
        assert len(world.admitted) >= RULES.user.tolerance // RULES.user.interval
        assert excess(world.admitted, RULES.user) <= 1e-6, f"I10, seed {seed}"
        slots_only = Rules(Rate(1, 10**9), Rate(1, 10**9), RULES.generations, Budget(0, 0), Budget(0, 0))
        assert walk(seed, slots_only).max_slots <= RULES.generations, f"slots, seed {seed}"
    assert refused > 20 * len(seeds)


def test_no_window_admits_more_requests_than_the_bound() -> None:
    check(range(15))


@contextmanager
def replaced(where: object, name: str, value: object) -> Iterator[None]:
    with mock.patch.object(where, name, value):
        yield


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        (usage, "_TAT_IS_TOLERATED", "tat > :now AND (tat <= :latest OR tat > :latest)"),
        (usage, "_TAT_IS_PAST", "(attribute_not_exists(tat) OR tat <= :now OR tat > :now)"),
        (usage, "_HAS_FREE_SLOT", "(attribute_not_exists(act) OR size(act) < :most OR attribute_exists(act))"),
    ],
    ids=["busy for any tat", "idle for any tat", "one slot too many"],
)
def test_a_seeded_bug_violates_the_bound(where: object, name: str, value: object) -> None:
    with replaced(where, name, value), pytest.raises(AssertionError):
        check(range(15))


@pytest.mark.long
@pytest.mark.timeout(900)
def test_no_window_admits_more_requests_than_the_bound_in_long_walks() -> None:
    check(range(100, 400))


NOW = int(BEGIN * 1000)


@pytest.mark.parametrize(
    ("used", "error", "message"),
    [
        (CurrentUsage(paused=True), Paused, "paused"),
        (CurrentUsage(user=Spent(1_000)), BudgetExhausted, "user's budget"),
        (
            CurrentUsage(slots={make_slot(NOW + 1, str(number)) for number in range(3)}),
            TooManyGenerations,
            "generations is 3",
        ),
        (CurrentUsage(tat=NOW + 4_001), TooManyRequests, "user"),
        (CurrentUsage(address_tat=NOW + 1_901), TooManyRequests, "address"),
    ],
)
def test_a_refusal_has_its_limit_and_retry_after(used: CurrentUsage, error: type[ChatError], message: str) -> None:
    with pytest.raises(error, match=message) as refused:
        RULES.check(used, NOW)
    assert (refused.value.retry_after or 0) > 0 or error is Paused


def test_an_expired_slot_is_not_counted() -> None:
    RULES.check(CurrentUsage(slots={make_slot(NOW - 1, str(number)) for number in range(9)}), NOW)


def test_a_budget_is_renewed_at_midnight() -> None:
    with pytest.raises(BudgetExhausted, match="2027-01-16T00:00:00") as refused:
        RULES.check(CurrentUsage(user=Spent(1_000)), NOW)
    assert refused.value.retry_after == 57_600 + 1


def test_a_failed_write_of_the_address_rate_takes_no_slot() -> None:
    class AddressWritesFail(NoFaults):
        def before(self, operation: str, pks: Sequence[str], *, writes: bool) -> Fault:
            return "before" if writes and pks[0].startswith("R#ip#") else "none"

    dynamo = FakeDynamo(AddressWritesFail())
    usages = UsageStore(dynamo.table(), RULES, lambda: BEGIN)
    for number in range(RULES.generations + 1):
        with pytest.raises(StorageError):
            usages.admit("alice", "here", make_slot(NOW + 60_000, str(number)), CurrentUsage())
    assert "act" not in dynamo.items[keys.limits("alice"), keys.RATE]


def test_a_write_with_a_transaction_conflict_is_retried() -> None:
    dynamo = FakeDynamo(NoFaults())
    outcomes: list[Exception | None] = [ClientError({"Error": {"Code": "TransactionConflictException"}}, "u"), None]
    real_update = dynamo.update_item

    def update_item(**part: Any) -> Any:
        error = outcomes.pop(0)
        if error:
            raise error
        return real_update(**part)

    with mock.patch.object(dynamo, "update_item", update_item):
        changed = dynamo.table().update("p", "s", "SET a = :a", condition="attribute_not_exists(pk)", values={":a": 1})
    assert changed["a"] == 1
    assert not outcomes


def test_users_with_their_own_key_have_all_limits_except_costs() -> None:
    rules = Rules(RULES.user, RULES.address, RULES.generations, Budget(1_000, 5), Budget(2_000, 7))
    own_key_rules = rules.without_costs()
    assert own_key_rules == Rules(RULES.user, RULES.address, RULES.generations, Budget(1_000, 0), Budget(2_000, 0))
    exhausted = CurrentUsage(user=Spent(0, 5), deployment=Spent(0, 7))
    own_key_rules.check(exhausted, int(BEGIN))
    with pytest.raises(BudgetExhausted):
        rules.check(exhausted, int(BEGIN))
