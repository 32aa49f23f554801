"""The connections of the clients.

- A call can be cancelled: its connection attaches its socket to the call (see `cancellation`).
- All connections share one TLS context. Otherwise urllib3 reads the CA bundle for each connection, which takes about
  16 ms of CPU time.
- Connections are kept while the environment is frozen. urllib3 replaces those that the server has closed. If the server
  has dropped a connection without a message, the first request fails, and TCP has not acknowledged any byte of it. So
  the server did not process the request, and it is sent again on a new connection.

The session of botocore and the connections of urllib3 are private attributes. Tests check them in the pinned versions.
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
from urllib.parse import urlsplit

import urllib3.exceptions
from botocore.awsrequest import AWSHTTPConnection, AWSHTTPConnectionPool, AWSHTTPSConnection, AWSHTTPSConnectionPool
from botocore.httpsession import create_urllib3_context

from converse_stream.aws.cancellation import Cancelled, current
from converse_stream.telemetry import logger

IDLE_CONNECTION_SECONDS = 30  # seconds after which a server may have dropped a pooled connection

_context_lock = threading.Lock()


def attach_sockets(client: Any) -> None:
    """Makes the calls of a client of botocore cancellable: it uses the connections of this module."""
    try:
        pools = client._endpoint.http_session._pool_classes_by_scheme  # noqa: SLF001  # private, see the module
        pools.update(http=_HttpPool, https=_HttpsPool)
    except AttributeError:
        logger.warning("botocore internals changed: calls cannot be cancelled and end by their time-outs")


def pool_of(url: str, *, timeout: urllib3.Timeout, maxsize: int, ca_bundle: str | None) -> urllib3.HTTPConnectionPool:
    """Returns a pool of such connections for one server."""
    parts = urlsplit(url)
    limits: Any = {"timeout": timeout, "maxsize": maxsize}
    if parts.scheme == "http":
        plain: urllib3.HTTPConnectionPool = _HttpPool(parts.hostname or "", parts.port or 80, **limits)
        return plain
    return _HttpsPool(parts.hostname or "", parts.port or 443, cert_reqs="CERT_REQUIRED", ca_certs=ca_bundle, **limits)


def tls_context(ca_bundle: str) -> ssl.SSLContext:
    """Returns the TLS context for a CA bundle. The file is read once, also with several threads."""
    with _context_lock:
        return _read_context(ca_bundle)


@functools.cache
def _read_context(ca_bundle: str) -> ssl.SSLContext:
    context: ssl.SSLContext = create_urllib3_context()
    context.load_verify_locations(ca_bundle)
    return context


def _attach(descriptor: int) -> None:
    if call := current():
        call.pause(0)
        call.attach_socket(descriptor)


def _unacknowledged(sock: socket.socket) -> int:
    """How many sent bytes the TCP of the server has not acknowledged (SIOCOUTQ of tcp(7))."""
    try:
        [count] = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
    except (OSError, ValueError):  # closed already
        return 0
    return int(count)


class _Connection:
    """Mixin of a connection. After `close`, `lost` says whether no byte of the last request was acknowledged."""

    sock: socket.socket | None
    timeout: float | None
    port: int
    socket_options: Iterable[tuple[int, int, int]] | None
    lost = False
    _sent = 0  # bytes of the last request, before TLS
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        """Like urllib3, but attaches the socket to the call before each attempt to connect."""
        failure: OSError | None = None
        try:
            addresses = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            addresses, failure = [], error
        for family, kind, protocol, _, address in addresses:
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(self.timeout)
                _attach(sock.fileno())
                sock.connect(address)
                return sock
            except OSError as error:
                sock.close()
                failure = error
            except Cancelled:
                sock.close()
                raise
        timed_out = isinstance(failure, TimeoutError)
        error_class = urllib3.exceptions.ConnectTimeoutError if timed_out else urllib3.exceptions.NewConnectionError
        raise error_class(self, f"{self._dns_host}: {failure}")  # type: ignore[arg-type]  # its connection is us

    def request(self, *args: Any, **kwargs: Any) -> Any:
        """Sends a request. If TCP does not acknowledge it, it fails after the connect time-out."""
        self._sent = 0
        if self.sock is not None:
            _attach(self.sock.fileno())
            if self.timeout and hasattr(socket, "TCP_USER_TIMEOUT"):  # on Linux
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self.timeout * 1000))
        return super().request(*args, **kwargs)  # type: ignore[misc]  # the other base class has it

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
        if self.ca_certs and self.proxy is None:  # a proxy has its own context
            self.ssl_context, self.ca_certs = tls_context(self.ca_certs), None
        super().connect()

    @property
    def is_connected(self) -> bool:
        """Whether the server has not closed the connection.

        urllib3 treats any readable data as the end. But a TLS 1.3 server sends session tickets after the handshake, so
        urllib3 would never use a connection that was opened in advance.
        """
        if self.sock is None or super().is_connected:
            return self.sock is not None
        timeout = self.sock.gettimeout()
        self.sock.settimeout(0)
        try:
            self.sock.recv(1)
        except ssl.SSLWantReadError:  # only session tickets were read
            self.sock.settimeout(timeout)
            return True
        except OSError:
            return False
        return False  # the end, or unexpected data


class _Pool:
    """Mixin of a pool: if the server had dropped a pooled connection, the request is sent once more, on a new one."""

    def _make_request(self, conn: Any, *args: Any, **kwargs: Any) -> Any:
        is_pooled = conn.sock is not None
        try:
            return super()._make_request(conn, *args, **kwargs)  # type: ignore[misc]  # the other base class has it
        except (OSError, urllib3.exceptions.HTTPError):
            conn.close()
            if not (is_pooled and conn.lost):
                raise
        return super()._make_request(conn, *args, **kwargs)  # type: ignore[misc]  # the same


class _HttpPool(_Pool, AWSHTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(_Pool, AWSHTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
