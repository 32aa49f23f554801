"""For what must not keep a user waiting: clients that give up early, and errands that are broken off."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, ParamSpec, TypeVar

import boto3
from botocore.config import Config

from converse_stream.aws.cancellation import CancellationToken, Cancelled, cancel_scope
from converse_stream.aws.connection_pools import announce_sockets

P = ParamSpec("P")
T = TypeVar("T")


def client(service: str, seconds: float) -> Any:
    """A boto3 client with one attempt: a quarter of `seconds` for a connection, the rest for an answer.

    Each wait for bytes is bounded by that, not their sum: who must not wait longer sends somebody on `Errands`.
    """
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=seconds / 4,
        read_timeout=seconds * 3 / 4,
    )
    made = boto3.client(service, config=config)  # type: ignore[call-overload]  # any service
    announce_sockets(made)
    return made


class _DeadlineToken(CancellationToken):
    """One that is stopped fails as by a time-out of its socket: botocore closes that, and knows the error."""

    def pause(self, seconds: float) -> None:
        """See Stoppable."""
        try:
            super().pause(seconds)
        except Cancelled:
            raise TimeoutError from None


class DeadlineExecutor:
    """Work in `threads` of its own, named after `kind`, that nobody waits for after `deadline`.

    That is a time of the monotonic clock. What still talks through a client of this module when the errands are
    stopped is broken off at once, by its socket: so no thread outlives its invocation, whatever the other side does.
    A connection is its errand's until that ends, though it is in the pool again: nobody else may use the client then.
    """

    def __init__(self, kind: str, threads: int, deadline: float) -> None:
        self._pool = ThreadPoolExecutor(max(1, threads), kind)
        self._deadline = deadline
        self._sent: dict[Future[Any], CancellationToken] = {}

    def submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Begins the work as soon as a thread is free."""
        call = _DeadlineToken()

        def run() -> T:
            with cancel_scope(call):
                return work(*args, **kwargs)

        errand = self._pool.submit(run)
        self._sent[errand] = call
        return errand

    def wait(self) -> set[Future[Any]]:
        """Those that have ended, well or not, at the deadline at the latest; the others are stopped."""
        ended, _ = wait(self._sent, timeout=max(0.0, self._deadline - time.monotonic()))
        self.cancel()
        return ended

    def cancel(self) -> None:
        """Nobody waits any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for errand, call in self._sent.items():
            if not errand.done():
                call.cancel()
