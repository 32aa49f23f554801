"""The local stack's HTTP server, over real sockets."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from local_stack.http import Handler, Request, Responder, port_of, serve


def exchange(
    handler: Handler, client: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]
) -> bytes:
    """Serves `handler`, runs `client` against it, and returns the client's result."""

    async def run() -> bytes:
        server = await serve(handler, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        try:
            async with asyncio.timeout(10):
                return await client(reader, writer)
        finally:
            writer.close()
            server.close()

    return asyncio.run(run())


def raw(*pieces: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]:
    """Returns a client that sends each piece separately, and reads until the server closes the connection."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        return await reader.read()

    return client


async def echo(request: Request, responder: Responder) -> None:
    body = await request.read()
    await responder.send(200, [("x-target", request.target), ("x-trailers", str(request.trailers))], body)


def test_several_requests_on_one_connection_are_answered() -> None:
    first = b"POST /a?b=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"
    last = b"POST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\ntwo"
    answer = exchange(echo, raw(first + last))
    assert answer.count(b"HTTP/1.1 200") == 2
    assert b"x-target: /a?b=1\r\n" in answer
    assert answer.endswith(b"two")


def test_a_chunked_body_with_trailers_can_be_sent_byte_by_byte() -> None:
    message = (
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: A\r\n\r\n"
        b"4\r\nWiki\r\n5\r\npedia\r\n0\r\nA: b\r\n\r\n"
    )
    answer = exchange(echo, raw(*[bytes([byte]) for byte in message]))
    assert answer.endswith(b"Wikipedia")
    assert b"x-trailers: [('a', 'b')]" in answer


def test_chunks_arrive_while_the_request_is_still_being_sent() -> None:
    async def handler(request: Request, responder: Responder) -> None:
        await responder.start(200)
        async for chunk in request.chunks():
            await responder.write(chunk.upper())
        await responder.end()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
        for word in (b"one", b"two"):
            writer.write(b"3\r\n" + word + b"\r\n")
            await reader.readuntil(word.upper())
        writer.write(b"0\r\n\r\n")
        return await reader.read()

    assert exchange(handler, client).endswith(b"0\r\n\r\n")


def test_expect_100_continue_is_answered_before_the_body() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(
            b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert b"100" in await reader.readline()
        writer.write(b"hi")
        return await reader.read()

    assert exchange(echo, client).endswith(b"hi")


@pytest.mark.parametrize(
    ("head", "status"),
    [
        pytest.param(b"nonsense\r\n\r\n", b"400", id="not http"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 400_000 + b"\r\n\r\n", b"431", id="huge header"),
    ],
)
def test_a_request_that_is_not_http_is_refused(head: bytes, status: bytes) -> None:
    assert exchange(echo, raw(head)).startswith(b"HTTP/1.1 " + status)


def test_head_and_204_have_no_body() -> None:
    async def handler(request: Request, responder: Responder) -> None:
        await responder.send(204 if request.method == "DELETE" else 200, body=b"body")

    answer = exchange(
        handler, raw(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nDELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    )
    assert b"content-length: 4\r\n" in answer
    assert b"body" not in answer


def test_a_failing_handler_is_a_500_and_a_late_failure_closes_the_connection(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def handler(request: Request, responder: Responder) -> None:
        if request.path == "/late":
            await responder.start(200)
        msg = "broken"
        raise ValueError(msg)

    assert b"500" in exchange(handler, raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert not exchange(handler, raw(b"GET /late HTTP/1.1\r\nHost: x\r\n\r\n")).endswith(b"0\r\n\r\n")
    assert "ValueError: broken" in capsys.readouterr().err


def test_abort_resets_the_connection() -> None:
    async def handler(request: Request, responder: Responder) -> None:
        await responder.start(200)
        responder.abort()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        return b""

    exchange(handler, client)


@pytest.mark.parametrize("reset", [False, True], ids=["close", "reset"])
def test_closed_returns_when_the_client_disconnects(reset: bool) -> None:
    disconnected = asyncio.Event()

    async def handler(request: Request, responder: Responder) -> None:
        await request.read()
        await responder.start(200)
        await responder.closed()
        disconnected.set()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readline()
        if reset:
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.close()
        await disconnected.wait()
        return b""

    exchange(handler, client)


def test_a_response_before_the_end_of_a_large_request_is_received() -> None:
    async def handler(request: Request, responder: Responder) -> None:
        await responder.send(413, [("connection", "close")])

    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"
    assert exchange(handler, raw(head, *[b"x" * 100_000] * 40)).startswith(b"HTTP/1.1 413")


def test_a_client_that_stops_reading_blocks_the_handler() -> None:
    written = 0

    async def handler(request: Request, responder: Responder) -> None:
        nonlocal written
        await responder.start(200)
        for _ in range(1000):
            await responder.write(b"x" * 65536)
            written += 65536
        await responder.end()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        before = -1
        while before != written:
            before = written
            await asyncio.sleep(0.1)
        assert written < 65536 * 1000
        return str(len(await reader.read())).encode()

    assert int(exchange(handler, client)) > 65536 * 1000
