"""A TLS server that is slow to shake hands, in front of another server that speaks without."""

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
    """`accepted` counts connections, `requests` those with a byte in them."""

    url: str
    accepted: int = 0
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def slow_tls(upstream: str, seconds: float, context: ssl.SSLContext) -> Iterator[SlowTls]:
    """Each connection waits `seconds` before its handshake, and then reaches `upstream`."""
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
                with socket.create_connection((address.hostname, address.port)) as behind:
                    behind.sendall(first)
                    _relay(client, behind)

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


def _relay(client: ssl.SSLSocket, behind: socket.socket) -> None:
    """Both ways, until one side ends."""
    while True:
        ready = [client] if client.pending() else select.select([client, behind], [], [])[0]
        for one in ready:
            data = one.recv(65536)
            if not data:
                return
            (behind if one is client else client).sendall(data)
