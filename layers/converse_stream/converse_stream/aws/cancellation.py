"""Calls to AWS that can be stopped from another thread, at every moment but a name's resolution: while they connect,
while the headers are awaited (there is no stream object yet, and the pool holds no reference to a busy connection) and
while the answer comes.

For that a client's connections (see `pools`) tell the call which socket it uses, before it connects, and
`Stoppable.stop` shuts that.
"""

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar


class Cancelled(Exception):
    """The call was stopped by us; what failed afterwards says nothing about the other side."""


class CancellationToken:
    """The right to talk through a client that announces its sockets, until it is stopped."""

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._other: Callable[[], None] | None = None

    def cancel(self) -> None:
        """From any thread. A blocked read or connect of this call ends at once."""
        with self._lock:
            self._cancelled.set()
            self._shut()
            other = self._other
        if other is not None:
            other()

    @contextmanager
    def on_cancel(self, other: Callable[[], None]) -> Iterator[None]:
        """Within the context a stop of this call calls `other` too, for work that other threads do for it."""
        with self._lock:
            self._other = other
        if self.cancelled:
            other()
        try:
            yield
        finally:
            with self._lock:
                self._other = None

    def pause(self, seconds: float) -> None:
        """Waits between two attempts. Raises Stopped as soon as the call is stopped."""
        if self._cancelled.wait(seconds):
            raise Cancelled

    def attach_socket(self, descriptor: int) -> None:
        """The call speaks over this socket from now on, until `leaves`.

        It keeps a duplicate: TLS takes the connected socket's object over, and SSLSocket's own shutdown would take
        its state from under the reader.
        """
        with self._lock:
            self._drop()
            self._socket = socket.socket(fileno=os.dup(descriptor))
            if self._cancelled.is_set():
                self._shut()

    def detach_socket(self) -> None:
        """The connection may serve somebody else now."""
        with self._lock:
            self._drop()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it may have ended by itself
                self._socket.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @property
    def cancelled(self) -> bool:
        """Whether the call has been stopped."""
        return self._cancelled.is_set()


_current: ContextVar[CancellationToken | None] = ContextVar("current_call", default=None)


def current() -> CancellationToken | None:
    """The call that this thread makes."""
    return _current.get()


@contextmanager
def cancel_scope(call: CancellationToken) -> Iterator[None]:
    """This thread makes the call, until the context is left."""
    token = _current.set(call)
    try:
        yield
    finally:
        call.detach_socket()
        _current.reset(token)
