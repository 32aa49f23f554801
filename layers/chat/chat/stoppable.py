"""Calls to AWS that can be stopped from another thread, at every moment but a name's resolution: while they connect,
while the headers are awaited (there is no stream object yet, and the pool holds no reference to a busy connection) and
while the answer comes.

For that a client's connection classes tell the call which socket it uses, before it connects, and `Stoppable.stop`
shuts that. botocore's session and urllib3's connections are private paths: tests hold them against the pinned versions.
"""

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import urllib3.exceptions
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

from chat.telemetry import logger

IDLE_CONNECTION = 30  # seconds after which a pooled connection may have been dropped by the other side


class Stopped(Exception):
    """The call was stopped by us; what failed afterwards says nothing about the other side."""


class Stoppable:
    """The right to talk through a client that announces its sockets, until it is stopped."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._other: Callable[[], None] | None = None

    def stop(self) -> None:
        """From any thread. A blocked read or connect of this call ends at once."""
        with self._lock:
            self._stopped.set()
            self._shut()
            other = self._other
        if other is not None:
            other()

    @contextmanager
    def stopping(self, other: Callable[[], None]) -> Iterator[None]:
        """Within the context a stop of this call calls `other` too, for work that other threads do for it."""
        with self._lock:
            self._other = other
        if self.stopped:
            other()
        try:
            yield
        finally:
            with self._lock:
                self._other = None

    def pause(self, seconds: float) -> None:
        """Waits between two attempts. Raises Stopped as soon as the call is stopped."""
        if self._stopped.wait(seconds):
            raise Stopped

    def uses(self, descriptor: int) -> None:
        """The call speaks over this socket from now on, until `leaves`.

        It keeps a duplicate: TLS takes the connected socket's object over, and SSLSocket's own shutdown would take
        its state from under the reader.
        """
        with self._lock:
            self._drop()
            self._socket = socket.socket(fileno=os.dup(descriptor))
            if self._stopped.is_set():
                self._shut()

    def leaves(self) -> None:
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
    def stopped(self) -> bool:
        """Whether the call has been stopped."""
        return self._stopped.is_set()


_current: ContextVar[Stoppable | None] = ContextVar("current_call", default=None)


def current() -> Stoppable | None:
    """The call that this thread makes."""
    return _current.get()


@contextmanager
def making(call: Stoppable) -> Iterator[None]:
    """This thread makes the call, until the context is left."""
    token = _current.set(call)
    try:
        yield
    finally:
        call.leaves()
        _current.reset(token)


def announce_sockets(client: Any) -> None:
    """Makes a boto3 client's calls stoppable."""
    try:
        pools = client._endpoint.http_session._pool_classes_by_scheme  # noqa: SLF001  # see the module's docstring
        pools.update(http=_HttpPool, https=_HttpsPool)
    except AttributeError:
        logger.warning("botocore has changed: a call can only be stopped by its time-outs")


def _announce(descriptor: int) -> None:
    if call := _current.get():
        call.pause(0)
        call.uses(descriptor)


class _Announcing:
    """Mixin for a connection: tells the current call which socket it uses, fresh or out of the pool."""

    sock: socket.socket | None
    timeout: float | None
    port: int
    socket_options: Iterable[tuple[int, int, int]] | None
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        """urllib3's own, but for the announcement before each attempt to connect."""
        failure: OSError | None = None
        try:
            addresses = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            addresses, failure = [], error
        for family, kind, protocol, _, address in addresses:
            connecting = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    connecting.setsockopt(*option)
                connecting.settimeout(self.timeout)
                _announce(connecting.fileno())
                connecting.connect(address)
                return connecting
            except OSError as error:
                connecting.close()
                failure = error
            except Stopped:
                connecting.close()
                raise
        timed_out = isinstance(failure, TimeoutError)
        error_class = urllib3.exceptions.ConnectTimeoutError if timed_out else urllib3.exceptions.NewConnectionError
        raise error_class(self, f"{self._dns_host}: {failure}")  # type: ignore[arg-type]  # its connection is us

    def request(self, *args: Any, **kwargs: Any) -> Any:
        if self.sock is not None:
            _announce(self.sock.fileno())
        return super().request(*args, **kwargs)  # type: ignore[misc]  # the class beside us in the bases has it


class _HttpConnection(_Announcing, AWSHTTPConnection):  # type: ignore[misc]  # the stubs of its bases disagree
    pass


class _HttpsConnection(_Announcing, AWSHTTPSConnection):  # type: ignore[misc]  # the same
    @property
    def is_connected(self) -> bool:
        """Whether the other side has not closed it.

        urllib3 takes anything that can be read for the end. A TLS 1.3 server sends tickets after the handshake, so
        that a connection which was opened ahead would never be used.
        """
        if self.sock is None or super().is_connected:
            return self.sock is not None
        timeout = self.sock.gettimeout()
        self.sock.settimeout(0)
        try:
            self.sock.recv(1)
        except ssl.SSLWantReadError:  # there was nothing but tickets
            self.sock.settimeout(timeout)
            return True
        except OSError:
            return False
        return False  # its end, or bytes that nobody asked for


class _HttpPool(AWSHTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(AWSHTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
