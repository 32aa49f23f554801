"""The connections of boto3 clients.

- A call can be stopped: its connection tells it which socket it uses (see `stoppable`).
- All connections share one TLS context. urllib3 reads the file of certificates again for each connection, some 16 ms
  of CPU each time.
- A pause closes no connection. urllib3 replaces those whose end has arrived. Where the other side forgot a connection
  while the environment was frozen, the first request fails before the other side's TCP has acknowledged a byte of it.
  It was not processed then, and is made again on a new connection.

botocore's session and urllib3's connections are private paths: tests hold them against the pinned versions.
"""

import fcntl
import functools
import socket
import ssl
import struct
import termios
import threading
from collections.abc import Iterable
from typing import Any

import urllib3.exceptions
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.httpsession import create_urllib3_context

from converse_stream.aws.cancellation import Cancelled, current
from converse_stream.telemetry import logger

IDLE_CONNECTION = 30  # seconds after which the other side may have dropped a pooled connection

_reading = threading.Lock()


def announce_sockets(client: Any) -> None:
    """Makes a boto3 client's calls stoppable, with connections as this module describes them."""
    try:
        pools = client._endpoint.http_session._pool_classes_by_scheme  # noqa: SLF001  # see the module's docstring
        pools.update(http=_HttpPool, https=_HttpsPool)
    except AttributeError:
        logger.warning("botocore has changed: a call can only be stopped by its time-outs")


def tls_context(ca_bundle: str) -> ssl.SSLContext:
    """The context that trusts the certificates in this file, which is read once; threads wait for one reading."""
    with _reading:
        return _read_context(ca_bundle)


@functools.cache
def _read_context(ca_bundle: str) -> ssl.SSLContext:
    context: ssl.SSLContext = create_urllib3_context()
    context.load_verify_locations(ca_bundle)
    return context


def _announce(descriptor: int) -> None:
    if call := current():
        call.pause(0)
        call.attach_socket(descriptor)


def _unacknowledged(sock: socket.socket) -> int:
    """Bytes that were sent and that the other side's TCP has not acknowledged (SIOCOUTQ of tcp(7))."""
    try:
        [left] = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
    except (OSError, ValueError):  # closed already
        return 0
    return int(left)


class _Connection:
    """Mixin for a connection. When it is closed, `lost` says whether no byte of the last request arrived."""

    sock: socket.socket | None
    timeout: float | None
    port: int
    socket_options: Iterable[tuple[int, int, int]] | None
    lost = False
    _sent = 0  # bytes of the last request; with TLS more are on their way
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
            except Cancelled:
                connecting.close()
                raise
        timed_out = isinstance(failure, TimeoutError)
        error_class = urllib3.exceptions.ConnectTimeoutError if timed_out else urllib3.exceptions.NewConnectionError
        raise error_class(self, f"{self._dns_host}: {failure}")  # type: ignore[arg-type]  # its connection is us

    def request(self, *args: Any, **kwargs: Any) -> Any:
        """Sends a request. One that nobody acknowledges fails when a connection attempt would."""
        self._sent = 0
        if self.sock is not None:
            _announce(self.sock.fileno())
            if self.timeout and hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self.timeout * 1000))
        return super().request(*args, **kwargs)  # type: ignore[misc]  # the class beside us in the bases has it

    def send(self, data: Any) -> None:
        super().send(data)  # type: ignore[misc]  # the same
        self._sent += len(data)

    def close(self) -> None:
        if self.sock is not None:
            self.lost = _unacknowledged(self.sock) >= self._sent
        super().close()  # type: ignore[misc]  # the same


class _HttpConnection(_Connection, AWSHTTPConnection):  # type: ignore[misc]  # the stubs of its bases disagree
    pass


class _HttpsConnection(_Connection, AWSHTTPSConnection):  # type: ignore[misc]  # the same
    def connect(self) -> None:
        if self.ca_certs and self.proxy is None:  # a proxy's certificates are checked by a context of its own
            self.ssl_context, self.ca_certs = tls_context(self.ca_certs), None
        super().connect()

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


class _Pool:
    """Mixin for a pool: makes a request again, once, that went into a connection which the other side had forgotten."""

    def _make_request(self, conn: Any, *args: Any, **kwargs: Any) -> Any:
        pooled = conn.sock is not None
        try:
            return super()._make_request(conn, *args, **kwargs)  # type: ignore[misc]  # the class beside us has it
        except (OSError, urllib3.exceptions.HTTPError):
            conn.close()
            if not (pooled and conn.lost):
                raise
        return super()._make_request(conn, *args, **kwargs)  # type: ignore[misc]  # the same


class _HttpPool(_Pool, AWSHTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(_Pool, AWSHTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
