"""The bytes of a streamed response, parsed by h11 as a server parses them."""

import base64
import json
from dataclasses import dataclass

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming_runtime import framing

HEAD = framing.request_head("127.0.0.1:9001", "id-1")
PRELUDE = framing.prelude({"statusCode": 200, "headers": {}})
PRELUDE_DATA = b'{"statusCode":200,"headers":{}}' + bytes(8)


@dataclass
class Message:
    """A request as a server parses it."""

    request: h11.Request
    chunks: list[bytes]
    trailers: dict[str, str]


def parse(data: bytes, piece: int) -> Message:
    """The request in `data`, given to h11 in chunks of `piece` bytes. Fails unless `data` is one complete request."""
    server = h11.Connection(h11.SERVER)
    requests: list[h11.Request] = []
    chunks: list[bytes] = []
    starts_chunk = True
    for start in range(0, len(data), piece):
        server.receive_data(data[start : start + piece])
        while isinstance(event := server.next_event(), h11.Event):
            match event:
                case h11.Request():
                    requests.append(event)
                case h11.Data():
                    chunks[len(chunks) - (not starts_chunk) :] = [
                        (b"" if starts_chunk else chunks[-1]) + bytes(event.data)
                    ]
                    starts_chunk = event.chunk_end
                case h11.EndOfMessage():
                    assert start + piece >= len(data), "ended early"
                    trailers = {name.decode(): value.decode() for name, value in event.headers}
                    return Message(requests[0], chunks, trailers)
    raise AssertionError("never ended")


PIECES = pytest.mark.parametrize("piece", [1, 7, 1 << 20], ids=["byte-by-byte", "seven-bytes", "whole"])


@PIECES
@pytest.mark.parametrize(
    ("payload", "last", "error_type"),
    [
        pytest.param([b"hello"], framing.LAST_CHUNK, None, id="one"),
        pytest.param([b"a", b"bc", b"d" * 17, b"e" * 70_000], framing.LAST_CHUNK, None, id="many"),
        pytest.param([b"0\r\n\r\n", b"\r\n", b"\0" * 9], framing.LAST_CHUNK, None, id="bytes-that-look-like-framing"),
        pytest.param(["🌊".encode()[:n] for n in range(1, 5)], framing.LAST_CHUNK, None, id="cut-characters"),
        pytest.param([b"so far"], framing.last_chunk_with_error("ModelBroke"), "ModelBroke", id="error-trailer"),
        pytest.param(
            [b"x"],
            framing.last_chunk_with_error("a\r\nb: ошибка"),
            "a__b________",
            id="error-name-with-invalid-characters",
        ),
    ],
)
def test_message_contains_the_chunks_and_the_error_trailers(
    payload: list[bytes], last: bytes, error_type: str | None, piece: int
) -> None:
    message = parse(HEAD + PRELUDE + b"".join(map(framing.chunk, payload)) + last, piece)
    assert message.chunks == [PRELUDE_DATA, *payload]
    if error_type is None:
        assert message.trailers == {}
        return
    assert message.trailers.keys() == {"lambda-runtime-function-error-type", "lambda-runtime-function-error-body"}
    assert message.trailers["lambda-runtime-function-error-type"] == error_type
    body = base64.b64decode(message.trailers["lambda-runtime-function-error-body"], validate=True)
    assert json.loads(body) == {"errorType": error_type, "errorMessage": "The answer was interrupted."}


@given(payload=st.lists(st.binary(min_size=1), max_size=20), piece=st.integers(1, 64))
def test_any_chunks_are_parsed_unchanged(payload: list[bytes], piece: int) -> None:
    message = parse(HEAD + PRELUDE + b"".join(map(framing.chunk, payload)) + framing.LAST_CHUNK, piece)
    assert message.chunks == [PRELUDE_DATA, *payload]


@pytest.mark.parametrize(
    ("invocation_id", "more"),
    [
        pytest.param(None, {}, id="without-invocation-id"),
        pytest.param("i-1", {"lambda-runtime-invocation-id": "i-1"}, id="with-invocation-id"),
    ],
)
def test_request_head_has_the_headers_of_the_runtime_api(invocation_id: str | None, more: dict[str, str]) -> None:
    head = framing.request_head("127.0.0.1:9001", "id-1", invocation_id)
    request = parse(head + framing.LAST_CHUNK, 1 << 20).request
    assert (request.method, request.target) == (b"POST", b"/2018-06-01/runtime/invocation/id-1/response")
    assert {name.decode(): value.decode() for name, value in request.headers} == {
        "host": "127.0.0.1:9001",
        "content-type": "application/vnd.awslambda.http-integration-response",
        "lambda-runtime-function-response-mode": "streaming",
        "transfer-encoding": "chunked",
        "trailer": "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body",
        **more,
    }


@pytest.mark.parametrize(("size", "fits"), [(16_383, True), (16_384, False)], ids=["largest", "too-large"])
def test_prelude_of_16_kb_or_more_is_refused(size: int, fits: bool) -> None:
    padding = "x" * (size - len('{"h":""}') - 8)
    if fits:
        assert parse(HEAD + framing.prelude({"h": padding}) + framing.LAST_CHUNK, size).chunks[0].endswith(bytes(8))
    else:
        with pytest.raises(ValueError, match="take 16384 bytes; Lambda allows less than 16384"):
            framing.prelude({"h": padding})


def test_prelude_is_ascii_and_has_no_nul_before_its_end() -> None:
    data = framing.prelude({"headers": {"x": "é\0\u2028"}}).split(b"\r\n")[1]
    assert data.isascii()
    assert data.index(0) == len(data) - 8
