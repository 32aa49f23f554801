"""The native dialect read by httpx-sse, in network packets of any size."""

import json
import random
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from httpx_sse import connect_sse

from converse_stream.dialects.native import Native
from converse_stream.protocol.events import Chunk
from converse_stream.protocol.log import PositionedEvent
from tests.unit.test_dialects import CASES

ALPHABET = 'abc \n"\\é河🌊\u2028\x85:'


@contextmanager
def served(body: bytes, seed: int, *, status: int = 200, media_type: str = "text/event-stream") -> Iterator[str]:
    """The URL of a server for one request. It sends the body in pieces of random length."""
    lengths = random.Random(seed)  # noqa: S311  # reproducible, not a secret

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.recv(65536)
            head = f"HTTP/1.1 {status} Status\r\ncontent-type: {media_type}\r\nconnection: close\r\n\r\n"
            connection.sendall(head.encode())
            position = 0
            while position < len(body):
                end = position + lengths.choice((1, 2, 3, 100, 5_000))
                connection.sendall(body[position:end])
                position = end
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):  # closing with unread data would reset the connection
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


def received(body: bytes, seed: int) -> str:
    """Returns the text that httpx-sse reads from the stream."""
    with served(body, seed) as url, httpx.Client() as client, connect_sse(client, "GET", url) as source:
        events = [json.loads(event.data) for event in source.iter_sse()]
    return "".join(event["content"] for event in events if event["type"] == "chunk")


@pytest.mark.parametrize("seed", range(2))
def test_a_megabyte_in_random_pieces_arrives_unchanged(seed: int) -> None:
    letters = random.Random(seed)  # noqa: S311  # reproducible, not a secret
    pieces = ["".join(letters.choices(ALPHABET, k=letters.randint(1, 400))) for _ in range(4_000)]
    text = "".join(pieces)
    assert len(text.encode()) > 1_000_000
    dialect, position, frames = Native("generation"), 0, []
    for piece in pieces:
        position += len(piece)
        frames.append(dialect.encode(PositionedEvent(Chunk(piece), position)))
    assert received("".join(frames).encode(), seed) == text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fixtures_have_the_recorded_text(case: Path) -> None:
    body = (case / "native.sse").read_bytes()
    expected = json.loads((case / "answer.json").read_text(encoding="utf-8"))
    if b'"type":"rollback"' not in body:
        assert received(body, 7) == expected["text"]
