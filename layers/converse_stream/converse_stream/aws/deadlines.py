"""Calls with a deadline: clients with short time-outs, and an executor that cancels late work."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, ParamSpec, TypeVar

from converse_stream.aws import clients
from converse_stream.aws.cancellation import CancellationToken, Cancelled, cancel_scope

P = ParamSpec("P")
T = TypeVar("T")


def client(service: str, seconds: float) -> Any:
    """Returns a client without retries: a quarter of `seconds` to connect, the rest to read.

    The read time-out limits the wait for the next bytes, and not the whole call. Use `DeadlineExecutor` to limit that.
    """
    return clients.client(service, attempts=1, connect_seconds=seconds / 4, read_seconds=seconds * 3 / 4)


class _DeadlineToken(CancellationToken):
    """A token whose `pause` raises TimeoutError: botocore handles that like a time-out of the socket, and closes it."""

    def pause(self, seconds: float) -> None:
        """See CancellationToken."""
        try:
            super().pause(seconds)
        except Cancelled:
            raise TimeoutError from None


class DeadlineExecutor:
    """Runs work in its own threads, and cancels what has not ended at `deadline`, a time of the monotonic clock.

    `threads` is their number and `kind` the prefix of their names. Calls through a client of this module are cancelled
    through their sockets, so no thread outlives the invocation, even if the service never responds. A call owns its
    socket until its work ends, also after the connection is back in the pool. So until then, no other work may use the
    same client.
    """

    def __init__(self, kind: str, threads: int, deadline: float) -> None:
        self._pool = ThreadPoolExecutor(max(1, threads), kind)
        self._deadline = deadline
        self._calls: dict[Future[Any], CancellationToken] = {}

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Runs the work as soon as a thread is free."""
        call = _DeadlineToken()

        def run() -> T:
            with cancel_scope(call):
                return work(*args, **kwargs)

        future = self._pool.submit(run)
        self._calls[future] = call
        return future

    def wait(self) -> set[Future[Any]]:
        """Waits until all work has ended, until the deadline at most, and cancels the rest.

        Returns the futures of the work that has ended, with a result or with an exception.
        """
        ended, _ = wait(self._calls, timeout=max(0.0, self._deadline - time.monotonic()))
        self.cancel()
        return ended

    def cancel(self) -> None:
        """Cancels the work that has not ended."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for future, call in self._calls.items():
            if not future.done():
                call.cancel()
