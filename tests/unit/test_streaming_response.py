"""StreamingResponse: invalid arguments, reading of the body, and the result for each caller."""

import base64
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from streaming_runtime import StreamingResponse, send_inside
from streaming_runtime.caller import Caller, caller_of, in_one_piece, streaming_callers
from streaming_runtime.response import open_body

SET_BY_LAMBDA = ["Transfer-Encoding", "connection", "DATE", "Content-Length"]


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        pytest.param(lambda: StreamingResponse(b"x"), TypeError, "iterable of bytes chunks, not bytes", id="bytes"),  # type: ignore[arg-type]  # the tested error
        pytest.param(lambda: StreamingResponse("x"), TypeError, "not str", id="str"),  # type: ignore[arg-type]  # the tested error
        pytest.param(lambda: StreamingResponse(None), TypeError, "not NoneType", id="none"),  # type: ignore[arg-type]  # the tested error
        pytest.param(lambda: StreamingResponse([], status=99), ValueError, "not 99", id="status-99"),
        pytest.param(lambda: StreamingResponse([], status=100), ValueError, "not 100", id="status-100"),
        pytest.param(lambda: StreamingResponse([], status=600), ValueError, "not 600", id="status-600"),
        pytest.param(lambda: StreamingResponse([], headers={"x": 5}), TypeError, "two strings", id="number"),  # type: ignore[dict-item]  # the tested error
        pytest.param(lambda: StreamingResponse([], headers={"": "v"}), ValueError, "no header name", id="no-name"),
        pytest.param(lambda: StreamingResponse([], headers={"a b": "v"}), ValueError, "no header name", id="blank"),
        pytest.param(lambda: StreamingResponse([], headers={"a\n": "v"}), ValueError, "no header name", id="name-lf"),
        pytest.param(lambda: StreamingResponse([], headers={"x": "a\rb"}), ValueError, "does not allow", id="cr"),
        pytest.param(lambda: StreamingResponse([], headers={"x": "a\n"}), ValueError, "does not allow", id="lf"),
        pytest.param(lambda: StreamingResponse([], headers={"x": "\0"}), ValueError, "does not allow", id="nul"),
        pytest.param(
            lambda: StreamingResponse([], headers={"x": "🌊"}), ValueError, "does not allow", id="not-latin-1"
        ),
        pytest.param(lambda: StreamingResponse([], cookies="a=1"), TypeError, "list", id="cookie-not-in-a-list"),
        pytest.param(lambda: StreamingResponse([], cookies=["a\r\nb"]), ValueError, "does not allow", id="cookie-crlf"),
        pytest.param(lambda: StreamingResponse([], after=[None]), TypeError, "callables", id="after"),  # type: ignore[list-item]  # the tested error
    ],
)
def test_invalid_argument_is_refused(make: Callable[[], object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        make()


@pytest.mark.parametrize("name", SET_BY_LAMBDA)
def test_header_that_lambda_sets_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Lambda's to set"):
        StreamingResponse([], headers={name: "x"})


@pytest.mark.parametrize(
    ("make", "text"),
    [
        pytest.param(
            lambda: StreamingResponse([], headers={"content-type": "a/b", "Content-Type": "c/d"}), "twice", id="twice"
        ),
        pytest.param(lambda: StreamingResponse([], headers={"x": "v" * 20_000}), "16384", id="header-of-20-kb"),
        pytest.param(lambda: StreamingResponse([], cookies=["a=" + "v" * 9_000] * 2), "16384", id="cookies-of-18-kb"),
    ],
)
def test_headers_that_lambda_would_not_send_are_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_later_changes_of_the_arguments_change_nothing() -> None:
    headers, cookies, after = {"x": "y"}, ["a=1"], [print]
    response = StreamingResponse([], 200, headers, cookies, after)
    headers["bad\n"] = "\n"
    cookies.append("b\n")
    after.clear()
    assert (response.headers, response.cookies, response.after) == ({"x": "y"}, ("a=1",), (print,))
    with pytest.raises(TypeError):
        response.headers["x"] = "z"  # type: ignore[index]  # the tested error


def test_every_valid_http_header_is_accepted() -> None:
    StreamingResponse([], 599, {"X-!#$%&'*+.^_`|~1": "\tá ", "x": ""}, ["a=1; Path=/"], [print])


def test_outside_the_runtime_send_inside_changes_nothing() -> None:
    response = StreamingResponse([])

    @send_inside
    def handler(event: object, context: object) -> StreamingResponse:
        return response

    assert handler({}, None) is response
    assert handler.__name__ == "handler"


# Reading a body


class Body:
    """An iterable that records each close of itself and of its generators."""

    def __init__(self, chunks: Iterable[Any]) -> None:
        self.chunks = chunks
        self.closed: list[str] = []

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self.chunks
        finally:
            self.closed.append("generator")

    def close(self) -> None:
        self.closed.append("body")


def test_empty_chunks_are_skipped() -> None:
    with open_body([b"", b"a", b"", b"", b"b", b""]) as chunks:
        assert list(chunks) == [b"a", b"b"]


@pytest.mark.parametrize(
    "chunk", ["text", bytearray(b"x"), memoryview(b"x"), None, 7], ids=lambda chunk: type(chunk).__name__
)
def test_chunk_that_is_not_bytes_is_an_error(chunk: object) -> None:
    body = Body([b"a", chunk])
    with open_body(body) as chunks:
        assert next(chunks) == b"a"
        with pytest.raises(TypeError, match=f"must yield bytes, not {type(chunk).__name__}"):
            next(chunks)
    assert body.closed == ["generator", "body"]


@pytest.mark.parametrize(
    ("read_count", "closed"),
    [(0, ["body"]), (1, ["generator", "body"]), (2, ["generator", "body"])],
    ids=["never-started", "closed-in-the-middle", "closed-before-the-end"],
)
def test_body_is_closed_wherever_the_reader_ends(read_count: int, closed: list[str]) -> None:
    body = Body([b"a", b"b"])
    with open_body(body) as chunks:
        for _ in range(read_count):
            next(chunks)
    assert body.closed == closed


def test_body_is_closed_when_the_reader_fails() -> None:
    body = Body([b"a"])

    def read() -> None:
        with open_body(body) as chunks:
            next(chunks)
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        read()
    assert body.closed == ["generator", "body"]


def ignores_close() -> Iterator[bytes]:
    while True:
        try:
            yield b"x"
        except GeneratorExit:
            yield b"more"
            return


def fails_to_close() -> Iterator[bytes]:
    try:
        yield b"x"
    finally:
        raise ValueError("in finally")


@pytest.mark.parametrize("body", [ignores_close, fails_to_close])
def test_error_on_close_is_logged_and_ignored(
    body: Callable[[], Iterator[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), open_body(body()) as chunks:
        next(chunks)
    assert "closing the body failed" in caplog.text


# Callers

URL = {"version": "2.0", "requestContext": {"domainName": "abc.lambda-url.eu-west-1.on.aws", "http": {}}}
REST = {"resource": "/", "httpMethod": "GET", "requestContext": {"stage": "live"}}


@pytest.mark.parametrize(
    ("event", "caller"),
    [
        pytest.param(URL, Caller.FUNCTION_URL, id="function-url"),
        pytest.param(URL | {"version": "1.0"}, Caller.OTHER, id="function-url-of-another-version"),
        pytest.param(
            {"version": "2.0", "requestContext": {"domainName": "abc.execute-api.eu-west-1.amazonaws.com"}},
            Caller.OTHER,
            id="http-api",
        ),
        pytest.param({"version": "2.0", "requestContext": {}}, Caller.OTHER, id="no-domain"),
        pytest.param({"version": "2.0", "requestContext": {"domainName": None}}, Caller.OTHER, id="domain-null"),
        pytest.param(REST, Caller.REST_API, id="rest"),
        pytest.param(REST | {"version": "1.0"}, Caller.REST_API, id="rest-1.0"),
        pytest.param(REST | {"version": "3.0"}, Caller.OTHER, id="rest-of-the-future"),
        pytest.param(REST | {"requestContext": {"elb": {}}}, Caller.OTHER, id="load-balancer"),
        pytest.param({"requestContext": {"connectionId": "c"}}, Caller.OTHER, id="web-socket"),
        pytest.param({"requestContext": None}, Caller.DIRECT, id="context-null"),
        pytest.param({"task": "title"}, Caller.DIRECT, id="direct"),
        pytest.param([], Caller.DIRECT, id="list"),
        pytest.param("text", Caller.DIRECT, id="text"),
        pytest.param(None, Caller.DIRECT, id="null"),
    ],
)
def test_caller_is_recognized_by_the_event(event: object, caller: Caller) -> None:
    assert caller_of(event) is caller


@pytest.mark.parametrize(
    ("environ", "callers"),
    [
        pytest.param({}, {Caller.FUNCTION_URL, Caller.DIRECT}, id="default"),
        pytest.param({"REST_STREAMING": "0"}, {Caller.FUNCTION_URL, Caller.DIRECT}, id="rest-off"),
        pytest.param({"REST_STREAMING": "1"}, {*Caller} - {Caller.OTHER}, id="rest-on"),
        pytest.param({"URL_STREAMING": "1"}, {Caller.FUNCTION_URL, Caller.DIRECT}, id="url-on"),
        pytest.param({"URL_STREAMING": "0"}, {Caller.DIRECT}, id="url-off"),
        pytest.param({"REST_STREAMING": "1", "AWS_SAM_LOCAL": "true"}, set(), id="sam-local"),
    ],
)
def test_streaming_callers_depend_on_the_environment(environ: dict[str, str], callers: set[Caller]) -> None:
    assert streaming_callers(environ) == callers


@pytest.mark.parametrize(
    ("chunks", "body", "is_base64"),
    [
        pytest.param([], "", False, id="empty"),
        pytest.param([b"a", b"", b"b"], "ab", False, id="text"),
        pytest.param(["🌊".encode()[:1], "🌊".encode()[1:]], "🌊", False, id="cut-character"),
        pytest.param(["🌊".encode()[:3]], base64.b64encode("🌊".encode()[:3]).decode(), True, id="half-a-character"),
        pytest.param([b"\xff\0"], "/wA=", True, id="binary"),
    ],
)
def test_buffered_response_is_text_or_base64(chunks: list[bytes], body: str, is_base64: bool) -> None:
    answer = in_one_piece(StreamingResponse(chunks, 201, {"x": "y"}), Caller.OTHER)
    assert answer == {"statusCode": 201, "headers": {"x": "y"}, "body": body, "isBase64Encoded": is_base64}
