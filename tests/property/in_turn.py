"""One thread in place of many, so that a walk is the same every time."""

from concurrent.futures import Executor, Future
from typing import Any

from converse_stream.protocol.errors import ChatError


class InTurn(Executor):
    """Does at once what it is given."""

    def __init__(self, *_: object) -> None:
        """As many threads as there are: one."""

    def submit(self, work: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        """See Executor."""
        done: Future[Any] = Future()
        try:
            done.set_result(work(*arguments, **named))
        except ChatError as error:
            done.set_exception(error)
        return done
