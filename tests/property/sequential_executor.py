"""An executor without threads, so that a walk is reproducible."""

from concurrent.futures import Executor, Future
from typing import Any

from converse_stream.protocol.errors import ChatError


class SequentialExecutor(Executor):
    """Runs each task in `submit`."""

    def __init__(self, *_: object) -> None:
        """Ignores the number of threads."""

    def submit(self, work: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        """See Executor."""
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments, **named))
        except ChatError as error:
            future.set_exception(error)
        return future
