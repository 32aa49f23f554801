"""Calls to AWS that another thread can cancel.

Neither boto3 nor urllib3 has such a feature. A call blocks in one of three phases: it connects, it waits for the
response headers, or it reads the response. In the first two there is no object yet that could be closed, and a
connection pool has no reference to a connection in use. So the connections of `connection_pools` attach their socket to
the call before they connect, and `CancellationToken.cancel` shuts this socket down: the blocked call fails at once.
Only the resolution of a host name cannot be cancelled.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar


class Cancelled(Exception):
    """The call was cancelled. Errors of its connection after that are caused by the cancellation."""


class CancellationToken:
    """Cancels one call, if its client attaches sockets (see `connection_pools`)."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._callback: Callable[[], None] | None = None

    def cancel(self) -> None:
        """Cancels the call: a blocked read or connect fails at once. Any thread may call this."""
        with self._lock:
            self._cancelled.set()
            self._shut_down()
            callback = self._callback
        if callback is not None:
            callback()

    @contextmanager
    def on_cancel(self, callback: Callable[[], None]) -> Iterator[None]:
        """While the context is open, `cancel` also calls `callback`, for work of the call in other threads."""
        with self._lock:
            self._callback = callback
        if self.cancelled:
            callback()
        try:
            yield
        finally:
            with self._lock:
                self._callback = None

    def pause(self, seconds: float) -> None:
        """Sleeps for `seconds`. Raises Cancelled as soon as the call is cancelled, also with 0 seconds."""
        if self._cancelled.wait(seconds):
            raise Cancelled

    def attach_socket(self, descriptor: int) -> None:
        """Sets the socket that `cancel` shuts down, until `detach_socket`.

        The token keeps a duplicate of the descriptor. TLS takes over the object of the connected socket, and
        `SSLSocket.shutdown` would remove the TLS state that the reader is using.
        """
        with self._lock:
            self._close_duplicate()
            self._socket = socket.socket(fileno=os.dup(descriptor))
            if self._cancelled.is_set():
                self._shut_down()

    def detach_socket(self) -> None:
        """From now on `cancel` does not shut the socket down: another call may use the connection."""
        with self._lock:
            self._close_duplicate()

    def _shut_down(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # the connection has ended
                self._socket.shutdown(socket.SHUT_RDWR)

    def _close_duplicate(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()


_current: ContextVar[CancellationToken | None] = ContextVar("current_call", default=None)


def current() -> CancellationToken | None:
    """The token of the call that this thread makes, None without one."""
    return _current.get()


@contextmanager
def cancel_scope(call: CancellationToken) -> Iterator[None]:
    """While the context is open, the calls of this thread belong to `call`."""
    previous = _current.set(call)
    try:
        yield
    finally:
        call.detach_socket()
        _current.reset(previous)
