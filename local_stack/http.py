"""An HTTP/1.1 server on asyncio streams: h11 speaks the protocol, this module moves the bytes.

One handler serves a port. Bodies are read only as fast as the handler asks for them and written only as fast as
the peer takes them, so back-pressure passes through; chunks and trailers arrive as the peer sent them.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import h11

Headers = Iterable[tuple[str, str]]

HEADER_LIMIT = 64 * 1024
READ_SIZE = 64 * 1024
LEFTOVER_SECONDS = 5.0  # how long we swallow what nobody read: closing on it would reset the answer we just sent
NO_BODY = frozenset({204, 304})


class Disconnected(ConnectionError):
    """The peer closed or reset the connection before its request was complete."""


class _Connection:
    """One TCP connection and its h11 state."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_LIMIT)
        self.eof = False

    async def receive(self) -> None:
        """Feed h11 with the next bytes, or with the end of the connection."""
        data = await self.reader.read(READ_SIZE)
        self.eof = not data
        self.h11.receive_data(data)

    async def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            if self.h11.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            event = self.h11.next_event()
            if event is not h11.NEED_DATA:
                return event
            await self.receive()

    async def send(self, event: h11.Event) -> None:
        data = self.h11.send(event)
        if data:
            self.writer.write(data)
            await self.writer.drain()


@dataclass
class Request:
    """A request whose head has arrived; the body is still on the wire.

    `path` and `query` are raw, still percent-encoded; header names are lower-case; `client` is the peer's IP.
    `trailers` is filled once the body has ended.
    """

    method: str
    target: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    client: str
    _connection: _Connection
    trailers: list[tuple[str, str]] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """The first header of that name, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    @property
    def head_size(self) -> int:
        """Bytes of the request line and the headers, as HTTP/1.1 writes them."""
        line = len(f"{self.method} {self.target} HTTP/1.1\r\n")
        return line + sum(len(f"{name}: {value}\r\n") for name, value in self.headers)

    @property
    def has_body(self) -> bool:
        """Whether the headers announce a body."""
        return self.header("content-length") not in {None, "0"} or self.header("transfer-encoding") is not None

    @property
    def received(self) -> bool:
        """Whether the whole body has been read."""
        return self._connection.h11.their_state is not h11.SEND_BODY

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises Disconnected when the peer leaves before its end."""
        while True:
            if self._connection.h11.their_state is not h11.SEND_BODY:
                return
            try:
                event = await self._connection.next_event()
            except (h11.RemoteProtocolError, ConnectionError) as error:
                raise Disconnected(str(error)) from error
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                self.trailers.extend(_text(event.headers))

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.chunks()])


class Responder:
    """Answers one request: `send` in one piece, or `start`, `write`..., `end` in chunks.

    Every method raises ConnectionError when the peer is gone.
    """

    def __init__(self, connection: _Connection, method: str) -> None:
        self.writer = connection.writer
        self._connection = connection
        self._bodiless = method == "HEAD"
        self._overrides: dict[str, str] = {}

    def override(self, headers: Headers) -> None:
        """Put `headers`, named in lower case, on the answer in place of whatever it has of the same names."""
        self._overrides.update(headers)

    async def send(self, status: int, headers: Headers = (), body: bytes = b"") -> None:
        await self.start(status, [*headers, ("content-length", str(len(body)))])
        await self.write(body)
        await self.end()

    async def start(self, status: int, headers: Headers = ()) -> None:
        """Send the head; the body is chunked unless the headers name a content-length."""
        self._bodiless = self._bodiless or status in NO_BODY
        if status == 204:
            headers = [header for header in headers if header[0].lower() != "content-length"]
        kept = [header for header in headers if header[0].lower() not in self._overrides]
        headers = [*kept, *self._overrides.items()]
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._connection.send(h11.Response(status_code=status, headers=encoded))

    async def write(self, data: bytes) -> None:
        """Send one chunk; returns when the peer has room for more."""
        if data and not self._bodiless:
            await self._connection.send(h11.Data(data=data))

    async def end(self) -> None:
        await self._connection.send(h11.EndOfMessage())

    def abort(self) -> None:
        """Drop the connection with a TCP reset."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def closed(self) -> None:
        """Return when the peer has closed its side. Only for use once the request's body has been read."""
        with contextlib.suppress(ConnectionError):
            while not self._connection.eof:
                await self._connection.receive()


def json_of(body: bytes) -> Any:
    """A body as JSON, which has no NaN and no Infinity. Raises ValueError."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        return json.loads(body, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("it nests too deep") from error


Handler = Callable[[Request, Responder], Awaitable[None]]


async def serve(
    handler: Handler, hosts: str | Sequence[str], port: int, tls: ssl.SSLContext | None = None
) -> asyncio.Server:
    """Serve `handler` on a port of one or several addresses until the server is closed; port 0 is any free one.

    With `tls` it speaks nothing else there.
    """
    connections: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references to tasks

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_converse(handler, _Connection(reader, writer)))
        connections.add(task)
        task.add_done_callback(connections.discard)
        task.add_done_callback(lambda _: writer.close())  # also of a task that is cancelled before its first step

    return await asyncio.start_server(connected, hosts, port, backlog=512, ssl=tls)


def port_of(server: asyncio.Server) -> int:
    """The port a server listens on."""
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _converse(handler: Handler, connection: _Connection) -> None:
    """Requests and answers on one connection, until either side closes it."""
    try:
        while await _exchange(handler, connection):
            connection.h11.start_next_cycle()
    except (ConnectionError, TimeoutError):
        return  # the peer is gone, or does not finish its request


async def _exchange(handler: Handler, connection: _Connection) -> bool:
    """One request and its answer; whether the connection can serve another."""
    try:
        event = await connection.next_event()
    except h11.RemoteProtocolError as error:
        if connection.h11.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await Responder(connection, "").send(error.error_status_hint, [("connection", "close")])
            if connection.writer.can_write_eof():  # TLS cannot
                connection.writer.write_eof()
            async with asyncio.timeout(LEFTOVER_SECONDS):
                while await connection.reader.read(READ_SIZE):
                    pass
        return False
    if not isinstance(event, h11.Request):
        return False
    target = event.target.decode("latin-1")
    path, _, query = target.partition("?")
    peer = connection.writer.get_extra_info("peername")
    method = event.method.decode()
    request = Request(method, target, path, query, _text(event.headers), peer[0] if peer else "", connection)
    responder = Responder(connection, method)
    try:
        await handler(request, responder)
    except ConnectionError:
        return False
    except Exception:
        traceback.print_exc(file=sys.stderr)
        if connection.h11.our_state is not h11.SEND_RESPONSE:
            return False
        await responder.send(500, [("connection", "close")], b"Internal Server Error")
    async with asyncio.timeout(LEFTOVER_SECONDS):
        async for _ in request.chunks():
            pass
    return connection.h11.our_state is h11.DONE and connection.h11.their_state is h11.DONE


def _text(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
