"""A server that accepts every connection and responds very slowly, or not at all."""

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PAUSE = 0.01  # seconds between two bytes
MAX_BYTES = 1_000  # bytes before it closes the connection, so that a client without a timeout fails instead of hanging
NO_BYTES = b""
FIRST_BYTES = {
    "silence": NO_BYTES,
    "headers": b"HTTP/1.1 200 OK\r\nx-slow: ",
    "body": b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n",
}


@dataclass(frozen=True)
class SlowServer:
    """`request_received` is set when the first bytes of a request are received."""

    url: str
    request_received: threading.Event = field(default_factory=threading.Event)


@contextmanager
def slow_server(first: bytes = NO_BYTES) -> Iterator[SlowServer]:
    """Yields a server that sends `first` and then spaces, so that no timeout of a single read ends; or nothing."""
    closing = threading.Event()

    class SlowHandler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.recv(65536)
                server.request_received.set()
                self.request.sendall(first)
                for _ in range(MAX_BYTES):
                    if closing.wait(PAUSE):
                        break
                    self.request.sendall(b" " if first else b"")

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Listener(("127.0.0.1", 0), SlowHandler) as listener:
        server = SlowServer(f"http://127.0.0.1:{listener.server_address[1]}")
        serving = threading.Thread(target=listener.serve_forever, args=(PAUSE,))
        serving.start()
        try:
            yield server
        finally:
            closing.set()
            listener.shutdown()
            serving.join()


def threads_ended(prefix: str, seconds: float = 5) -> bool:
    """Returns whether all threads with this name prefix end within `seconds`."""
    deadline = time.monotonic() + seconds
    for thread in threading.enumerate():
        if thread.name.startswith(prefix):
            thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.name.startswith(prefix) for thread in threading.enumerate())
