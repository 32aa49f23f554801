"""The limits of requests, generations and spending, as pure functions. The I/O is in `converse_stream.store.usage`.

A rate limit uses the generic cell rate algorithm (https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm). The item
of a user has one time, `tat`: the theoretical arrival time of the next request. Each request moves it forward by the
interval. A request is admitted if `tat` is at most the tolerance ahead of now. So at most
1 + tolerance / interval + W / interval requests are admitted in any window of length W.
"""

from collections.abc import Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self

from converse_stream.protocol.errors import BudgetExhausted, Paused, TooManyGenerations, TooManyRequests

NO_SLOTS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rate:
    """One request each `interval`, with bursts that `tolerance` bounds. Both are in milliseconds."""

    interval: int
    tolerance: int

    @classmethod
    def per_minute(cls, requests: int, burst: int) -> Self:
        """The rate of `requests` a minute on average, of which `burst` may come at once."""
        interval = 60_000 // requests
        return cls(interval, (burst - 1) * interval)

    def wait(self, tat: int, now: int) -> int:
        """Milliseconds until a request is admitted, 0 if it is admitted now. `now` is in ms since the epoch."""
        return max(0, tat - now - self.tolerance)


@dataclass(frozen=True, slots=True)
class Spent:
    """The usage of one day (UTC) so far. `cost` is in billionths of a US dollar."""

    tokens: int = 0
    cost: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """The limit of one day's usage, in the units of `Spent`. 0 means no limit."""

    tokens: int
    cost: int

    def is_exhausted(self, spent: Spent) -> bool:
        """Whether a limit is reached."""
        return (0 < self.tokens <= spent.tokens) or (0 < self.cost <= spent.cost)


@dataclass(frozen=True, slots=True)
class CurrentUsage:
    """The usage of a user, of their IP address and of the whole deployment, as one read found it.

    `slots` has the running generations of the user, each as `<deadline in ms>:<generation>`. A slot after its deadline
    does not count. `paused` is the operator's switch.
    """

    tat: int = 0
    address_tat: int = 0
    slots: Set[str] = NO_SLOTS
    user: Spent = Spent()
    deployment: Spent = Spent()
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """The deployment's limits."""

    user: Rate
    address: Rate
    generations: int  # that may run at the same time for one user
    user_day: Budget
    deployment_budget: Budget

    @property
    def limits_costs(self) -> bool:
        """Whether there is a budget in dollars."""
        return bool(self.user_day.cost or self.deployment_budget.cost)

    def without_costs(self) -> Self:
        """The same rules without limits of costs, for users who pay with a Bedrock key of their own."""
        user_day, deployment_budget = replace(self.user_day, cost=0), replace(self.deployment_budget, cost=0)
        return replace(self, user_day=user_day, deployment_budget=deployment_budget)

    def check(self, used: CurrentUsage, at: int, *, starts_generation: bool = True) -> None:
        """Raises an error if a request is over a limit. `at` is the time of the request, in ms since the epoch.

        Raises Paused, BudgetExhausted, TooManyGenerations, TooManyRequests, each with the seconds to wait.
        """
        self.check_spending(used, at)
        if starts_generation and len(running_slots(used.slots, at)) >= self.generations:
            raise TooManyGenerations(self.generations)
        for limit, rate, tat in (("user", self.user, used.tat), ("address", self.address, used.address_tat)):
            if wait := rate.wait(tat, at):
                raise TooManyRequests(limit, -(-wait // 1000))

    def check_spending(self, used: CurrentUsage, at: int) -> None:
        """Raises Paused or BudgetExhausted if no more may be spent. Background tasks check only this."""
        if used.paused:
            raise Paused
        for limit, budget, spent in self._budgets(used):
            if budget.is_exhausted(spent):
                raise budget_exhausted(limit, at)

    def remaining(self, used: CurrentUsage) -> Budget:
        """What one answer may use before the first budget is exhausted."""
        tokens = [budget.tokens - spent.tokens for _, budget, spent in self._budgets(used) if budget.tokens]
        costs = [budget.cost - spent.cost for _, budget, spent in self._budgets(used) if budget.cost]
        return Budget(min(tokens, default=0), min(costs, default=0))

    def _budgets(self, used: CurrentUsage) -> tuple[tuple[str, Budget, Spent], ...]:
        return ("user", self.user_day, used.user), ("deployment", self.deployment_budget, used.deployment)


def make_slot(deadline: int, gid: str) -> str:
    """The slot of a running generation. After `deadline`, in ms since the epoch, its function cannot run any more."""
    return f"{deadline}:{gid}"


def running_slots(slots: Set[str], at: int) -> Set[str]:
    """The slots of generations that may still run at `at`, in ms since the epoch."""
    return {slot for slot in slots if int(slot.partition(":")[0]) > at}


def budget_exhausted(limit: str, at: int) -> BudgetExhausted:
    """The error for a request at `at`, in ms since the epoch. The budget is renewed when that day ends in UTC."""
    day = datetime.fromtimestamp(at / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    reset = day + timedelta(days=1)
    return BudgetExhausted(limit, reset.isoformat(), int(reset.timestamp() - at / 1000) + 1)
