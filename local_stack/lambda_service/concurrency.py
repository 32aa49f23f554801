"""Concurrency limits: the limit of the account, and the reservations of functions.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
https://docs.aws.amazon.com/lambda/latest/api/API_PutFunctionConcurrency.html
"""

from collections.abc import Callable, Iterable

from local_stack.intrinsics import TemplateError
from local_stack.template import Function

ACCOUNT_LIMIT = 200  # each invocation needs a process here; the default of AWS is 1000, in a new account 10
UNRESERVED = 100  # reservations must leave this much


class Concurrency:
    """A limit of running invocations, shared by one or more functions."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._running: list[Callable[[], int]] = []

    def add(self, running: Callable[[], int]) -> None:
        """Add a function. `running` returns the number of its running invocations."""
        self._running.append(running)

    @property
    def full(self) -> bool:
        """Whether the limit is reached."""
        return sum(running() for running in self._running) >= self.limit


def allocate(functions: Iterable[Function], account_limit: int) -> dict[str, Concurrency]:
    """Return the limit of each function by name.

    A function with a reservation has its own limit. The others share the rest of the account's limit. Raises
    TemplateError if the reservations leave less than UNRESERVED.
    """
    functions = list(functions)
    reserved = {each.name: each.reserved_concurrency for each in functions if each.reserved_concurrency is not None}
    rest = account_limit - sum(reserved.values())
    if any(reserved.values()) and rest < UNRESERVED:
        raise TemplateError(
            "Specified ReservedConcurrentExecutions for function decreases account's "
            f"UnreservedConcurrentExecution below its minimum value of [{UNRESERVED}]"
        )
    shared = Concurrency(rest)
    return {each.name: Concurrency(reserved[each.name]) if each.name in reserved else shared for each in functions}
