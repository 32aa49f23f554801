"""A TLS proxy with a slow handshake in front of a server without TLS."""

import select
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class SlowTls:
    """`accepted` counts connections, `requests` those on which a byte was received."""

    url: str
    accepted: int = 0
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def slow_tls(upstream: str, seconds: float, context: ssl.SSLContext) -> Iterator[SlowTls]:
    """Yields a proxy to `upstream` that waits `seconds` before each handshake."""
    address = urlsplit(upstream)
    clients: list[ssl.SSLSocket] = []

    class Relay(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with server.lock:
                server.accepted += 1
            time.sleep(seconds)
            with suppress(OSError), context.wrap_socket(self.request, server_side=True) as client:
                clients.append(client)
                first = client.recv(65536)
                if not first:
                    return
                with server.lock:
                    server.requests += 1
                with socket.create_connection((address.hostname, address.port)) as upstream_socket:
                    upstream_socket.sendall(first)
                    _relay(client, upstream_socket)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Relay) as listener:
        server = SlowTls(f"https://127.0.0.1:{listener.server_address[1]}")
        serving = threading.Thread(target=listener.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield server
        finally:
            listener.shutdown()
            serving.join()
            for client in clients:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)


def _relay(client: ssl.SSLSocket, upstream_socket: socket.socket) -> None:
    """Copies data in both directions until one side closes."""
    while True:
        ready = [client] if client.pending() else select.select([client, upstream_socket], [], [])[0]
        for source in ready:
            data = source.recv(65536)
            if not data:
                return
            (upstream_socket if source is client else client).sendall(data)
