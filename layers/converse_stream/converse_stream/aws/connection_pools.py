"""The connections of the clients.

- A call can be cancelled: its connection attaches its socket to the call (see `cancellation`).
- All connections share one TLS context. Otherwise urllib3 reads the CA bundle for each connection, which takes about
  16 ms of CPU time.
- Connections are kept while the environment is frozen. urllib3 replaces those that the server has closed. If the server
  has dropped a connection without a message, the first request fails, and TCP has not acknowledged any byte of it. So
  the server did not process the request, and it is sent again on a new connection.

Some attributes of the connections of urllib3 are private. Tests check them in the pinned version.
"""

import fcntl
import functools
import os
import socket
import ssl
import struct
import termios
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import botocore
import urllib3.exceptions
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import make_headers, parse_url
from urllib3.util.ssl_ import create_urllib3_context

from converse_stream.aws.cancellation import Cancelled, current

IDLE_CONNECTION_SECONDS = 30  # seconds after which a server may have dropped a pooled connection

_context_lock = threading.Lock()


def pool_of(url: str, *, timeout: urllib3.Timeout, maxsize: int) -> urllib3.HTTPConnectionPool:
    """Returns a pool of such connections for one server, through the proxy of the environment if it has one.

    The certificates are checked with the CA bundle that the environment names, else with that of botocore.
    """
    own_bundle = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
    bundle = own_bundle or str(Path(botocore.__file__).with_name("cacert.pem"))
    limits: Any = {"timeout": timeout, "maxsize": maxsize, "cert_reqs": "CERT_REQUIRED", "ca_certs": bundle}
    proxy = _proxy_of(url)
    manager = _proxy_manager(proxy, limits) if proxy else urllib3.PoolManager(**limits)
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    pool: urllib3.HTTPConnectionPool = manager.connection_from_url(url)
    return pool


def _proxy_manager(proxy: str, limits: Mapping[str, Any]) -> urllib3.ProxyManager:
    """The manager for a proxy, whose URL may have a user and a password, and may have no scheme: `proxy:3128`."""
    url = parse_url(proxy if "://" in proxy else f"http://{proxy.removeprefix('//')}")
    headers = make_headers(proxy_basic_auth=unquote(url.auth)) if url.auth else None
    return urllib3.ProxyManager(url._replace(auth=None).url, proxy_headers=headers, **limits)


def _proxy_of(url: str) -> str | None:
    """The proxy for this URL in the environment, as for botocore."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies, proxy_bypass  # most environments have no proxy

    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


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


class CancellableConnection:
    """Mixin of a connection of urllib3.

    After `close`, `lost` says whether no byte of the last request was acknowledged.
    """

    sock: socket.socket | None
    timeout: float | None
    port: int
    socket_options: Iterable[tuple[int, int, int]] | None
    ca_certs: str | None
    proxy: object
    ssl_context: ssl.SSLContext
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


class CancellableTlsConnection(CancellableConnection):
    """The same with TLS."""

    def connect(self) -> None:
        if self.ca_certs and self.proxy is None:  # a proxy has its own context
            self.ssl_context, self.ca_certs = tls_context(self.ca_certs), None
        super().connect()  # type: ignore[misc]  # the other base class has it

    @property
    def is_connected(self) -> bool:
        """Whether the server has not closed the connection.

        urllib3 treats any readable data as the end. But a TLS 1.3 server sends session tickets after the handshake, so
        urllib3 would never use a connection that was opened in advance.
        """
        if self.sock is None or super().is_connected:  # type: ignore[misc]  # the same
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


class RepeatingPool:
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


class _HttpConnection(CancellableConnection, HTTPConnection):  # type: ignore[misc]  # the stubs of its bases disagree
    pass


class _HttpsConnection(CancellableTlsConnection, HTTPSConnection):  # type: ignore[misc]  # the same
    pass


class _HttpPool(RepeatingPool, HTTPConnectionPool):
    ConnectionCls = _HttpConnection  # type: ignore[assignment]  # the same


class _HttpsPool(RepeatingPool, HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection  # type: ignore[assignment]  # the same
