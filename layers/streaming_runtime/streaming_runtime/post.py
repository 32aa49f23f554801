"""One streamed POST to the Runtime API, on a bare socket."""

import socket
from http.client import HTTPException, HTTPResponse
from select import POLLIN, POLLOUT, poll
from typing import Self
from urllib.parse import urlsplit


class PostError(Exception):
    """The Runtime API did not take the whole answer. The text says why, with the reply's code if there was a reply."""


class StreamedPost:
    """A new connection that sends an answer as it is made. Every method raises PostError if no more is taken.

    A slow reader slows `send`, and so whoever calls it: nothing is queued here.
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Waits until the kernel has taken all of `data`, or until a reply comes, which can only be a refusal."""
        rest = memoryview(data)
        while rest:
            [(_, ready)] = self._poll.poll()
            if ready != POLLOUT:
                raise PostError(f"replied before the last chunk: {self._reply()}")
            try:
                rest = rest[self._socket.send(rest, socket.MSG_DONTWAIT) :]
            except OSError as error:
                raise PostError(f"the connection broke: {error}") from error

    def finish(self, last_chunk: bytes) -> None:
        """Sends the last chunk and returns when the Runtime API has accepted the answer."""
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
