"""A server that takes every connection and keeps it waiting."""

import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PAUSE = 0.01  # seconds between two bytes
ENOUGH = 1_000  # bytes, after which it hangs up: what waits for it for ever shall fail and not hang
SILENCE = b""
DRIPS = {
    "silence": SILENCE,
    "headers": b"HTTP/1.1 200 OK\r\nx-slow: ",
    "a body": b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n",
}


@dataclass(frozen=True)
class SlowServer:
    """`asked` is set when it has heard of a request."""

    url: str
    asked: threading.Event = field(default_factory=threading.Event)


@contextmanager
def slow_server(first: bytes = SILENCE) -> Iterator[SlowServer]:
    """Says `first`, and then a space now and then, which no time-out of a single read ends; or nothing at all."""
    over = threading.Event()

    class Drip(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.recv(65536)
                server.asked.set()
                self.request.sendall(first)
                for _ in range(ENOUGH):
                    if over.wait(PAUSE):
                        break
                    self.request.sendall(b" " if first else b"")

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Listener(("127.0.0.1", 0), Drip) as listener:
        server = SlowServer(f"http://127.0.0.1:{listener.server_address[1]}")
        serving = threading.Thread(target=listener.serve_forever, args=(PAUSE,))
        serving.start()
        try:
            yield server
        finally:
            over.set()
            listener.shutdown()
            serving.join()


def gone(kind: str, seconds: float = 5) -> bool:
    """Whether no thread of this kind is left after so long at the most."""
    deadline = time.monotonic() + seconds
    for thread in threading.enumerate():
        if thread.name.startswith(kind):
            thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.name.startswith(kind) for thread in threading.enumerate())
