"""One streamed POST to the Runtime API, on a socket."""

import socket
from http.client import HTTPException, HTTPResponse
from select import POLLIN, POLLOUT, poll
from socket import MSG_DONTWAIT
from urllib.parse import urlsplit


class PostError(Exception):
    """The Runtime API did not accept the whole response. The message has the reason and the status of the reply."""


class StreamedPost:
    """A new connection for one streamed response. Each method raises PostError if no more data is accepted.

    Nothing is queued: `send` blocks while the client is slow.
    """

    def __init__(self, address: str) -> None:
        url = urlsplit(f"//{address}")
        try:
            self._socket = socket.create_connection((url.hostname or "", url.port or 80))
        except OSError as error:
            raise PostError(f"no connection: {error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll = poll()
        self._poll.register(self._socket, POLLIN | POLLOUT)

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Blocks until the kernel has accepted all of `data`. An early reply is a refusal and raises PostError."""
        rest: bytes | memoryview = data
        while True:
            [(_, ready)] = self._poll.poll()
            if ready != POLLOUT:
                raise PostError(f"replied before the last chunk: {self._reply()}")
            try:
                sent = self._socket.send(rest, MSG_DONTWAIT)
            except OSError as error:
                raise PostError(f"the connection broke: {error}") from error
            if sent == len(rest):
                return
            rest = memoryview(rest)[sent:]

    def finish(self, last_chunk: bytes) -> None:
        """Sends the last chunk, and returns when the Runtime API has accepted the response."""
        self.send(last_chunk)
        reply = self._reply()
        if not reply.startswith("202 "):
            raise PostError(f"refused: {reply}")

    def _reply(self) -> str:
        reply = HTTPResponse(self._socket, method="POST")
        try:
            reply.begin()
            return f"{reply.status} {reply.read(500).decode(errors='replace')}"
        except (OSError, HTTPException) as error:
            raise PostError(f"the connection ended without a reply: {error}") from error
        finally:
            reply.close()
