"""HTTP/1.1 for the measurement: it notes the time of each read, and parses a body only after its end.

It serves clients that send one request at a time on a connection, with a length or in chunks.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

HOST = "127.0.0.1"
LAST_CHUNK = b"\r\n0\r\n\r\n"
LAST_CHUNK_WITH_ERROR = b"\r\n0\r\nLambda-Runtime-Function-Error"  # its trailers follow

Watch = Callable[[float, bytes], None]


@dataclass(frozen=True)
class Message:
    """A request or a response as it was read. A read is its time by `time.perf_counter` and its bytes."""

    reads: tuple[tuple[float, bytes], ...]

    @cached_property
    def raw(self) -> bytes:
        """All bytes, with the head and the sizes of the chunks."""
        return b"".join(data for _, data in self.reads)

    @cached_property
    def line(self) -> list[str]:
        """The parts of the first line: method, target and version, or version, status and reason."""
        return self.raw.partition(b"\r\n")[0].decode("latin-1").split(" ", 2)

    @property
    def method(self) -> str:
        return self.line[0]

    @property
    def target(self) -> str:
        return self.line[1]

    @cached_property
    def headers(self) -> dict[str, str]:
        """The headers by their names in lower case."""
        lines = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @cached_property
    def chunks(self) -> list[bytes]:
        """The chunks of the body. A body with a length is one chunk."""
        rest = self.raw.partition(b"\r\n\r\n")[2]
        if "transfer-encoding" not in self.headers:
            return [rest]
        chunks = []
        while (size := int(rest.partition(b"\r\n")[0].partition(b";")[0], 16)) > 0:
            start = rest.index(b"\r\n") + 2
            chunks.append(rest[start : start + size])
            rest = rest[start + size + 2 :]
        return chunks

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def is_interrupted(self) -> bool:
        """Whether the body ends with the trailers of an error."""
        return LAST_CHUNK_WITH_ERROR in self.raw


class Connection(asyncio.Protocol):
    """One connection, of a server or of a client. `receive` is called with each complete message.

    `watch` is called with the time and the bytes of each read, immediately.
    """

    transport: asyncio.Transport

    def __init__(self, receive: Callable[["Connection", Message], None], watch: Watch | None = None) -> None:
        self._receive = receive
        self._watch = watch
        self._start()

    def _start(self) -> None:
        self._reads: list[tuple[float, bytes]] = []
        self._has_head = False
        self._is_chunked = False
        self._missing = 0  # bytes of a body with a length
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        self._reads.append((now, data))
        if self._watch is not None:
            self._watch(now, data)
        if not self._has_head:
            self._read_head()
        elif self._is_chunked:
            self._tail = (self._tail + data)[-len(LAST_CHUNK_WITH_ERROR) - 200 :]
        else:
            self._missing -= len(data)
        if self._has_head and self._is_complete():
            message = Message(tuple(self._reads))
            self._start()
            self._receive(self, message)

    def _read_head(self) -> None:
        message = Message(tuple(self._reads))
        end = message.raw.find(b"\r\n\r\n")
        if end < 0:
            return
        self._has_head = True
        self._is_chunked = message.headers.get("transfer-encoding", "").lower() == "chunked"
        self._missing = int(message.headers.get("content-length", 0)) - (len(message.raw) - end - 4)
        self._tail = message.raw[end + 2 :]  # with the line feed before the first size

    def _is_complete(self) -> bool:
        if not self._is_chunked:
            return self._missing <= 0
        return self._tail.endswith(LAST_CHUNK) or (
            self._tail.endswith(b"\r\n\r\n") and LAST_CHUNK_WITH_ERROR in self._tail
        )

    def reply(self, status: str, body: bytes = b"", headers: str = "") -> None:
        """Sends a response with a length. `status` is code and reason, `headers` are complete lines."""
        head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


class Server:
    """A server on a free port of this host. A subclass implements `receive`."""

    url: str

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        """Listens; with `tls`, only for TLS connections."""
        server = await asyncio.get_running_loop().create_server(self.connection, HOST, 0, ssl=tls)
        self.url = f"{'https' if tls else 'http'}://{HOST}:{server.sockets[0].getsockname()[1]}"
        self._server = server

    def close(self) -> None:
        self._server.close()

    def connection(self) -> Connection:
        """A new connection."""
        return Connection(self.receive)

    def receive(self, connection: Connection, request: Message) -> None:
        """Answers one request."""
        raise NotImplementedError
