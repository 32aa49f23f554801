"""What each kind of caller gets from the streaming runtime. Real processes, plain awslambdaric as the reference."""

import json
from pathlib import Path

import pytest

from tests.wire.runtime_api import Invocation, Post, run

URL = {"version": "2.0", "requestContext": {"domainName": "abc.lambda-url.us-east-1.on.aws"}}
HTTP_API = {"version": "2.0", "requestContext": {"domainName": "abc.execute-api.us-east-1.amazonaws.com"}}
REST = {"httpMethod": "POST", "path": "/", "requestContext": {"stage": "live"}}
DIRECT = {"task": "x"}
INTEGRATION_TYPE = "application/vnd.awslambda.http-integration-response"
TOOLS = """
import asyncio, os, resource, urllib.request
from streaming_runtime import StreamingResponse

def mark(name):
    urllib.request.urlopen(f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/{name}").read()
"""
RESPONSE = "201, {'content-type': 'text/plain'}, ['a=1'], [lambda: mark('after')]"


def of_url(event_id: str) -> dict[str, object]:
    return {**URL, "requestContext": {**URL["requestContext"], "requestId": event_id}}  # type: ignore[dict-item]


def names(post: Post) -> str:
    return post.target.rpartition("/")[2]


# Responses in one piece for callers that stream


def test_a_buffered_response_for_a_streaming_caller_is_prelude_and_one_chunk(tmp_path: Path) -> None:
    handler = (
        TOOLS + f"def handler(event, context): return StreamingResponse([b'a', b'\\xff'], {RESPONSE}, buffered=True)"
    )
    api, _ = run(tmp_path, handler, Invocation(URL))
    [post] = api.posts
    assert post.prelude == {"statusCode": 201, "headers": {"content-type": "text/plain"}, "cookies": ["a=1"]}
    assert post.chunks[1:] == [b"a\xff"]
    assert post.headers["lambda-runtime-function-response-mode"] == "streaming"


@pytest.mark.parametrize("event", [URL, HTTP_API], ids=["url", "http-api"])
def test_managed_instances_post_prelude_and_body_to_callers_that_stream(tmp_path: Path, event: object) -> None:
    """There, awslambdaric posts the responses, from several processes."""
    handler = TOOLS + f"def handler(event, context): return StreamingResponse([b'he', b'llo'], {RESPONSE})"
    api, _ = run(tmp_path, handler, Invocation(event), processes=2, variables={"AWS_LAMBDA_MAX_CONCURRENCY": "2"})
    [post] = api.posts
    assert "lambda-runtime-function-response-mode" not in post.headers
    head = {"statusCode": 201, "headers": {"content-type": "text/plain"}, "cookies": ["a=1"]}
    if event is URL:
        prelude, _, body = post.body.partition(bytes(8))
        assert (json.loads(prelude), body) == (head, b"hello")
        assert post.headers["content-type"] == INTEGRATION_TYPE
    else:
        assert json.loads(post.body) == {**head, "body": "hello", "isBase64Encoded": False}
    assert api.log.index("after") > api.log.index("response")


@pytest.mark.parametrize("failure", ["raise ValueError", "return StreamingResponse(1 / 0 for _ in 'x')"])
def test_managed_instances_answer_errors_with_a_500(tmp_path: Path, failure: str) -> None:
    handler = TOOLS + f"def handler(event, context): {failure}"
    api, log = run(tmp_path, handler, Invocation(URL), processes=2, variables={"AWS_LAMBDA_MAX_CONCURRENCY": "2"})
    prelude, _, body = api.posts[0].body.partition(bytes(8))
    assert json.loads(prelude)["statusCode"] == 500
    assert json.loads(body)["error"]["code"] == "internal"
    assert '"UnhandledErrors": 1' in log


# The size of a response in one piece

ENDLESS = """
made = 0
def body(chunk):
    global made
    try:
        while True:
            made += 1
            yield chunk
    finally:
        mark(f"closed-after-{made}")
"""


@pytest.mark.parametrize(
    ("event", "buffered"), [(HTTP_API, False), (DIRECT, False), (URL, True)], ids=["http-api", "direct", "url-buffered"]
)
def test_a_response_in_one_piece_ends_at_6_mb(tmp_path: Path, event: object, buffered: bool) -> None:
    returned = f"return StreamingResponse(body(bytes(1 << 20)), buffered={buffered})"
    handler = TOOLS + ENDLESS + f"def handler(event, context):\n  {returned}"
    api, log = run(tmp_path, handler, Invocation(event))
    assert "closed-after-7" in api.log
    [post] = api.posts
    if buffered:
        assert post.prelude["statusCode"] == 500
    else:
        assert names(post) == "error"
        assert json.loads(post.body)["errorType"] == "ResponseTooLarge"
    assert log.count('"UnhandledErrors": 1') == 1


def test_a_response_that_is_too_large_as_json_is_an_error(tmp_path: Path) -> None:
    """Base64 and escapes count too. The process continues."""
    handler = TOOLS + "def handler(event, context): return StreamingResponse([bytes([event['byte']]) * (5 << 20)])"
    events = [Invocation({**HTTP_API, "byte": byte}) for byte in (0xFF, 0, 0x61)]
    api, _ = run(tmp_path, handler, *events)
    assert [names(post) for post in api.posts] == ["error", "error", "response"]


# Exceptions that are no subclasses of Exception

RAISING = """
class Own(BaseException): pass
class Body:
    def __init__(self, event): self.event, self.chunks = event, iter([b"so far"])
    def __iter__(self): return self
    def __next__(self):
        try:
            return next(self.chunks)
        except StopIteration:
            if self.event["where"] == "next": raise eval(self.event["kind"])
            raise
    def close(self):
        if self.event["where"] == "close": raise eval(self.event["kind"])
def handler(event, context): return StreamingResponse(Body(event))
"""


@pytest.mark.parametrize("kind", ["asyncio.CancelledError", "GeneratorExit", "Own"])
@pytest.mark.parametrize("where", ["next", "close"])
@pytest.mark.parametrize("caller", [URL, HTTP_API], ids=["streamed", "buffered"])
def test_a_base_exception_of_a_body_does_not_end_the_process(
    tmp_path: Path, caller: dict[str, object], where: str, kind: str
) -> None:
    event = {**caller, "where": where, "kind": kind}
    api, log = run(tmp_path, TOOLS + RAISING, Invocation(event), Invocation(event))
    name = kind.rpartition(".")[2]
    for post in api.posts:
        if where == "close":
            assert names(post) == "response"
            assert b"so far" in post.body
        elif caller is URL:
            assert post.payload == b"so far"
            assert post.trailers is not None
            assert post.trailers["lambda-runtime-function-error-type"] == name
        else:
            assert names(post) == "error"
            assert json.loads(post.body)["errorType"] == name
    assert name in log


# What the invocation and the settings tell about the caller


@pytest.mark.parametrize(
    "failure",
    ["raise ValueError('broken')", "return StreamingResponse(1 / 0 for _ in 'x')"],
    ids=["handler", "before-first-chunk"],
)
def test_a_replayed_event_of_a_url_fails_as_an_invocation(tmp_path: Path, failure: str) -> None:
    """So that an asynchronous invocation is retried. A URL's event has the request id of its own invocation."""
    handler = TOOLS + f"def handler(event, context): {failure}"
    api, _ = run(tmp_path, handler, Invocation(of_url("1")), Invocation(of_url("1")))
    assert api.posts[0].prelude["statusCode"] == 500
    assert names(api.posts[1]) == "error"


def test_a_url_in_buffered_mode_can_be_set(tmp_path: Path) -> None:
    handler = TOOLS + "def handler(event, context): return 1 / 0 if 'fail' in event else StreamingResponse([b'x'])"
    api, _ = run(tmp_path, handler, Invocation(URL), Invocation({**URL, "fail": 1}), variables={"URL_STREAMING": "0"})
    assert json.loads(api.posts[0].body)["body"] == "x"
    assert names(api.posts[1]) == "error"


MARSHALLER = """
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient
class Own:
    def unmarshal_request(self, request, content_type="application/json"): return {"size": len(request)}
    def marshal_response(self, response): return b"own:" + repr(response).encode(), "text/plain"
LambdaRuntimeClient.marshaller = Own()
"""


def test_a_marshaller_of_the_function_is_used(tmp_path: Path) -> None:
    handler = MARSHALLER + "def handler(event, context): return event"
    posts = []
    for plain in (True, False):
        api, _ = run(tmp_path / str(plain), handler, Invocation(DIRECT), plain=plain)
        posts.append((api.posts[0].body, api.posts[0].headers["content-type"]))
    assert posts[0] == posts[1] == (b"own:{'size': 13}", "text/plain")


# Callers of InvokeWithResponseStream

RAW = """
def body(event):
    if event.get("fail") == "first": raise ValueError("broken")
    yield b"he"
    if event.get("fail") == "later": raise ValueError("secret")
    yield b"llo"
def handler(event, context):
    return StreamingResponse(body(event), 201, {"Content-Type": "text/plain"}, raw=True)
"""


def test_a_direct_caller_gets_a_raw_stream(tmp_path: Path) -> None:
    api, _ = run(tmp_path, TOOLS + RAW, Invocation(DIRECT), Invocation({"fail": "later"}))
    for post in api.posts:
        assert post.headers["lambda-runtime-function-response-mode"] == "streaming"
        assert post.headers["content-type"] == "text/plain"
    complete, interrupted = api.posts
    assert (complete.chunks, complete.trailers) == ([b"he", b"llo"], {})
    assert interrupted.chunks == [b"he"]
    assert interrupted.trailers is not None
    assert interrupted.trailers["lambda-runtime-function-error-type"] == "ValueError"


def test_an_error_before_the_first_chunk_of_a_raw_stream_is_that_of_awslambdaric(tmp_path: Path) -> None:
    api, log = run(tmp_path / "streaming", TOOLS + RAW, Invocation({"fail": "first"}))
    raising = "def handler(event, context): raise ValueError('broken')"
    plain, _ = run(tmp_path / "plain", raising, Invocation(DIRECT), plain=True)
    errors = [json.loads(each.posts[0].body) for each in (api, plain)]
    for error in errors:
        assert error.pop("stackTrace")
    assert errors[0] == errors[1]
    assert names(api.posts[0]) == "error"
    assert "ValueError: broken" in log


@pytest.mark.parametrize("event", [URL, HTTP_API, REST], ids=["url", "http-api", "rest"])
def test_raw_changes_nothing_for_http_events(tmp_path: Path, event: object) -> None:
    api, _ = run(tmp_path, TOOLS + RAW, Invocation(event), variables={"REST_STREAMING": "1"})
    if event is HTTP_API:
        assert json.loads(api.posts[0].body)["statusCode"] == 201
    else:
        assert (api.posts[0].prelude["statusCode"], api.posts[0].payload) == (201, b"hello")


def test_a_raw_response_is_one_piece_of_bytes_where_nothing_streams(tmp_path: Path) -> None:
    api, _ = run(tmp_path, TOOLS + RAW, Invocation(DIRECT), variables={"AWS_SAM_LOCAL": "true"})
    assert api.posts[0].body == b"hello"
    assert "lambda-runtime-function-response-mode" not in api.posts[0].headers
