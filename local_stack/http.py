"""An HTTP/1.1 server on asyncio streams. h11 implements the protocol; this module reads and writes the bytes.

Each port has one handler. A body is read only when the handler reads it, and written only as fast as the peer reads
it: this is the back-pressure. Chunks and trailers are passed to the handler as the peer sent them.
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
# How long we read the rest of a request after its response. If we closed the connection with unread data, TCP would
# reset it, and the client might lose the response.
LEFTOVER_SECONDS = 5.0
NO_BODY = frozenset({204, 304})


class Disconnected(ConnectionError):
    """The peer closed or reset the connection before the end of its request."""


class _Connection:
    """A TCP connection with its h11 state."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=HEADER_LIMIT)
        self.eof = False

    async def receive(self) -> None:
        """Pass the next bytes, or the end of the connection, to h11."""
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
    """A request. Its head has been received; its body is read with `chunks` or `read`.

    `path` and `query` are percent-encoded. Header names are in lower case. `client` is the IP address of the peer.
    `trailers` is filled at the end of the body.
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
        """Return the first header with this name, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    @property
    def head_size(self) -> int:
        """Bytes of the request line and the headers in HTTP/1.1."""
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
        """Yield the body in the chunks of the peer. Raises Disconnected if the connection ends before the body."""
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
        """Return the whole body. Raises Disconnected."""
        return b"".join([chunk async for chunk in self.chunks()])


class Responder:
    """Writes the response of one request: `send` writes it in one piece; `start`, `write` and `end` in chunks.

    Each method raises ConnectionError if the connection is closed.
    """

    def __init__(self, connection: _Connection, method: str) -> None:
        self.writer = connection.writer
        self._connection = connection
        self._bodiless = method == "HEAD"
        self._overrides: dict[str, str] = {}

    def override(self, headers: Headers) -> None:
        """Set headers of the response. They replace its own headers with the same names. Names are in lower case."""
        self._overrides.update(headers)

    async def send(self, status: int, headers: Headers = (), body: bytes = b"") -> None:
        await self.start(status, [*headers, ("content-length", str(len(body)))])
        await self.write(body)
        await self.end()

    async def start(self, status: int, headers: Headers = ()) -> None:
        """Send the status and the headers. The body is chunked unless there is a content-length header."""
        self._bodiless = self._bodiless or status in NO_BODY
        if status == 204:
            headers = [header for header in headers if header[0].lower() != "content-length"]
        kept = [header for header in headers if header[0].lower() not in self._overrides]
        headers = [*kept, *self._overrides.items()]
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._connection.send(h11.Response(status_code=status, headers=encoded))

    async def write(self, data: bytes) -> None:
        """Send one chunk. Returns when the write buffer has room for more."""
        if data and not self._bodiless:
            await self._connection.send(h11.Data(data=data))

    async def end(self) -> None:
        await self._connection.send(h11.EndOfMessage())

    def abort(self) -> None:
        """Close the connection with a TCP reset."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def closed(self) -> None:
        """Wait until the peer has closed its side of the connection. Read the request's body first."""
        with contextlib.suppress(ConnectionError):
            while not self._connection.eof:
                await self._connection.receive()


def json_of(body: bytes) -> Any:
    """Parse a body as JSON. NaN and Infinity are not allowed. Raises ValueError."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        return json.loads(body, parse_constant=refuse)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error


Handler = Callable[[Request, Responder], Awaitable[None]]


async def serve(
    handler: Handler, hosts: str | Sequence[str], port: int, tls: ssl.SSLContext | None = None
) -> asyncio.Server:
    """Start a server for `handler` on a port of one or more addresses. Port 0 is any free port.

    With `tls` the server accepts only TLS connections.
    """
    connections: set[asyncio.Task[None]] = set()  # the event loop itself keeps only weak references to tasks

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_serve_connection(handler, _Connection(reader, writer)))
        connections.add(task)
        task.add_done_callback(connections.discard)
        task.add_done_callback(lambda _: writer.close())  # also of a task that is cancelled before its first step

    return await asyncio.start_server(connected, hosts, port, backlog=512, ssl=tls)


def port_of(server: asyncio.Server) -> int:
    """Return the port on which a server listens."""
    port: int = server.sockets[0].getsockname()[1]
    return port


async def _serve_connection(handler: Handler, connection: _Connection) -> None:
    """Serve the requests of one connection until either side closes it."""
    try:
        while await _serve_request(handler, connection):
            connection.h11.start_next_cycle()
    except (ConnectionError, TimeoutError):
        return  # the peer has closed the connection, or does not finish its request: no response is possible


async def _serve_request(handler: Handler, connection: _Connection) -> bool:
    """Serve one request. Returns whether the connection can be used for another one."""
    try:
        event = await connection.next_event()
    except h11.RemoteProtocolError as error:
        if connection.h11.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await Responder(connection, "").send(error.error_status_hint, [("connection", "close")])
            if connection.writer.can_write_eof():  # not possible with TLS
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
