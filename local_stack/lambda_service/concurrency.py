"""How many invocations may run at a time: an account's limit, and what functions reserve of it.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html
https://docs.aws.amazon.com/lambda/latest/api/API_PutFunctionConcurrency.html
"""

from collections.abc import Callable, Iterable

from local_stack.intrinsics import TemplateError
from local_stack.template import Function

ACCOUNT_LIMIT = 200  # each is a process here; AWS starts with 1000, or with 10 in a new account
UNRESERVED = 100  # of which no function may reserve any


class Concurrency:
    """A limit that functions share. They are full when their running invocations reach it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._running: list[Callable[[], int]] = []

    def add(self, running: Callable[[], int]) -> None:
        """Count one more function's running invocations."""
        self._running.append(running)

    @property
    def full(self) -> bool:
        return sum(running() for running in self._running) >= self.limit


def shares(functions: Iterable[Function], account_limit: int) -> dict[str, Concurrency]:
    """The limit of each function by its name: its own where it reserves some, else the rest of the account's.

    Raises TemplateError where too little would be left.
    """
    functions = list(functions)
    own = {each.name: each.reserved_concurrency for each in functions if each.reserved_concurrency is not None}
    rest = account_limit - sum(own.values())
    if any(own.values()) and rest < UNRESERVED:
        raise TemplateError(
            "Specified ReservedConcurrentExecutions for function decreases account's "
            f"UnreservedConcurrentExecution below its minimum value of [{UNRESERVED}]"
        )
    shared = Concurrency(rest)
    return {each.name: Concurrency(own[each.name]) if each.name in own else shared for each in functions}
