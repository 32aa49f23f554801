"""How much may be asked for: the rules and their arithmetic, pure. What was used is in `converse_stream.store.usage`.

A rate is the generic cell rate algorithm (https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm): a user's item
holds one time, `tat`, the theoretical arrival of their next request, which each request moves on by the interval. A
request is admitted while `tat` is not further ahead than the tolerance. So in any window W at most
1 + tolerance / interval + W / interval requests are admitted.
"""

from collections.abc import Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Self

from converse_stream.protocol.errors import (
    BudgetExhausted,
    Paused,
    TooManyGenerations,
    TooManyRequests,
)

NO_SLOTS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Rate:
    """Milliseconds: one request each `interval`, and as many at once as are within `tolerance`."""

    interval: int
    tolerance: int

    @classmethod
    def per_minute(cls, requests: int, burst: int) -> Self:
        """So many requests a minute on average, `burst` of them at once."""
        interval = 60_000 // requests
        return cls(interval, (burst - 1) * interval)

    def wait(self, tat: int, now: int) -> int:
        """Milliseconds until a request would be admitted; 0 admits."""
        return max(0, tat - now - self.tolerance)


@dataclass(frozen=True, slots=True)
class Spent:
    """A day's use so far. `cost` is in billionths of a US dollar."""

    tokens: int = 0
    cost: int = 0


@dataclass(frozen=True, slots=True)
class Budget:
    """A day's use at most; 0 is without limit."""

    tokens: int
    cost: int

    def is_exhausted(self, spent: Spent) -> bool:
        """Whether nothing is left."""
        return (0 < self.tokens <= spent.tokens) or (0 < self.cost <= spent.cost)


@dataclass(frozen=True, slots=True)
class CurrentUsage:
    """What one read found: of the user, of their address, and of everybody.

    `slots` are the user's running answers, each `<deadline in ms>:<generation>`; past its deadline one is dead.
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
    generations: int  # at once, for one user
    user_day: Budget
    deployment_budget: Budget

    def without_costs(self) -> Self:
        """The rules where somebody else pays: the same, but for the money."""
        user_day, deployment_budget = replace(self.user_day, cost=0), replace(self.deployment_budget, cost=0)
        return replace(self, user_day=user_day, deployment_budget=deployment_budget)

    def check(self, used: CurrentUsage, at: int, *, runs: bool = True) -> None:
        """Refuses what must not begin; `at` is in ms since the epoch, `runs` whether it would be an answer.

        Raises Paused, BudgetExhausted, TooManyGenerations, TooManyRequests, each with the time to wait.
        """
        self.check_spending(used, at)
        if runs and len(running_slots(used.slots, at)) >= self.generations:
            raise TooManyGenerations(self.generations)
        for limit, rate, tat in (("user", self.user, used.tat), ("address", self.address, used.address_tat)):
            if wait := rate.wait(tat, at):
                raise TooManyRequests(limit, -(-wait // 1000))

    def check_spending(self, used: CurrentUsage, at: int) -> None:
        """Refuses what costs anything, whoever asks for it. Raises Paused, BudgetExhausted."""
        if used.paused:
            raise Paused
        for limit, budget, spent in self._budgets(used):
            if budget.is_exhausted(spent):
                raise budget_exhausted(limit, at)

    def remaining(self, used: CurrentUsage) -> Budget:
        """What one answer may use before the nearest budget is empty."""
        tokens = [budget.tokens - spent.tokens for _, budget, spent in self._budgets(used) if budget.tokens]
        costs = [budget.cost - spent.cost for _, budget, spent in self._budgets(used) if budget.cost]
        return Budget(min(tokens, default=0), min(costs, default=0))

    def _budgets(self, used: CurrentUsage) -> tuple[tuple[str, Budget, Spent], ...]:
        return ("user", self.user_day, used.user), ("deployment", self.deployment_budget, used.deployment)


def slot(deadline: int, gid: str) -> str:
    """A running answer among its user's; `deadline` in ms since the epoch, when it cannot run any more."""
    return f"{deadline}:{gid}"


def running_slots(slots: Set[str], at: int) -> Set[str]:
    """Those that may still run."""
    return {each for each in slots if int(each.partition(":")[0]) > at}


def budget_exhausted(limit: str, at: int) -> BudgetExhausted:
    """The refusal until the day of `at`, in ms since the epoch, ends in UTC."""
    day = datetime.fromtimestamp(at / 1000, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    reset = day + timedelta(days=1)
    return BudgetExhausted(limit, reset.isoformat(), int(reset.timestamp() - at / 1000) + 1)
