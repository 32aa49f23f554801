"""Error responses, empty responses and the deadline of the streaming runtime, in real processes."""

import json
from pathlib import Path

import pytest

from tests.wire.runtime_api import Invocation, Peer, Post, Runtime, RuntimeApi, accept, run

URL = {"version": "2.0", "requestContext": {"domainName": "abc.lambda-url.us-east-1.on.aws"}, "origin": "https://a.b"}
TOOLS = """
import os, time, urllib.request
from streaming_runtime import StreamingResponse, error_response

def mark(name):
    urllib.request.urlopen(f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/{name}").read()
"""
HEADERS = {
    "Access-Control-Allow-Origin": "https://a.b",
    "X-Request-Id": "1",
    "Content-Type": "text/event-stream",
    "Content-Encoding": "gzip",
    "Cache-Control": "max-age=3600",
    "ETag": "x",
}
FAILING = f"""
def handler(event, context):
    if event.get("raises"): raise ValueError("secret")
    return StreamingResponse((1 / 0 for _ in "x"), headers={HEADERS}, cookies=["session=1"])
"""


# The error response


def test_a_failed_response_keeps_its_headers(tmp_path: Path) -> None:
    """Without CORS headers, a browser shows a network error. Headers that describe the body are replaced."""
    api, _ = run(tmp_path, TOOLS + FAILING, Invocation(URL))
    assert api.posts[0].prelude == {
        "statusCode": 500,
        "headers": {
            "Access-Control-Allow-Origin": "https://a.b",
            "X-Request-Id": "1",
            "content-type": "application/json",
            "cache-control": "no-store",
        },
    }
    assert "retryable" not in json.loads(api.posts[0].payload)["error"]


OWN = """
@error_response
def failed(event, request_id):
    headers = {"access-control-allow-origin": event["origin"]}
    return StreamingResponse([b"own ", request_id.encode()], 503, headers, cookies=["a=1"])
"""


@pytest.mark.parametrize("raises", [False, True], ids=["before-first-chunk", "handler"])
def test_the_function_can_supply_the_error_response(tmp_path: Path, raises: bool) -> None:
    api, log = run(tmp_path, TOOLS + FAILING + OWN, Invocation({**URL, "raises": raises}))
    [post] = api.posts
    headers = {"access-control-allow-origin": "https://a.b"}
    assert post.prelude == {"statusCode": 503, "headers": headers, "cookies": ["a=1"]}
    assert post.payload == b"own 1"
    assert log.count('"UnhandledErrors": 1') == 1


@pytest.mark.parametrize("failure", ["1 / 0", "StreamingResponse(1 / 0 for _ in 'x')", "None"])
def test_an_error_response_that_fails_is_replaced(tmp_path: Path, failure: str) -> None:
    own = f"@error_response\ndef failed(event, request_id): return {failure}"
    api, log = run(tmp_path, TOOLS + FAILING + own, Invocation(URL), Invocation(URL))
    assert [json.loads(post.payload)["error"]["code"] for post in api.posts] == ["internal"] * 2
    assert log.count("the error response failed") == 2


# Responses without a body


@pytest.mark.parametrize(
    ("status", "variables", "payload"),
    [
        pytest.param(200, {}, b"\n", id="200"),
        pytest.param(404, {"STREAMING_RUNTIME_EMPTY_NO_CONTENT": "1"}, b"\n", id="404"),
        pytest.param(204, {}, b"\n", id="204-by-default"),
        pytest.param(204, {"STREAMING_RUNTIME_EMPTY_NO_CONTENT": "1"}, b"", id="204-empty"),
        pytest.param(304, {"STREAMING_RUNTIME_EMPTY_NO_CONTENT": "1"}, b"", id="304-empty"),
    ],
)
def test_a_response_without_chunks_is_one_line_feed_where_set(
    tmp_path: Path, status: int, variables: dict[str, str], payload: bytes
) -> None:
    handler = TOOLS + f"def handler(event, context): return StreamingResponse([], {status})"
    api, _ = run(tmp_path, handler, Invocation(URL), variables=variables)
    assert api.posts[0].prelude["statusCode"] == status
    assert api.posts[0].payload == payload
    assert api.posts[0].trailers == {}


# The deadline

HANGING = """
def body(event, context):
    try:
        if event.get("chunks"): yield b"so far"
        mark("waits")
        while context.get_remaining_time_in_millis() > event.get("until", -1): time.sleep(0.02)
        yield b"late"
    finally:
        mark("closed")
def handler(event, context):
    return StreamingResponse(body(event, context), headers={"x": "y"})
"""


def test_a_response_that_hangs_ends_before_the_deadline(tmp_path: Path) -> None:
    """The client learns of it, and the alarm. The process requests no event before the body returns."""
    runtime = Runtime(tmp_path, TOOLS + HANGING, {})
    with RuntimeApi(Invocation({**URL, "chunks": 1}, seconds=3)) as api, runtime.running(api.address):
        api.wait_for(lambda: "202" in api.log)
        log = runtime.log
    [post] = api.posts
    assert post.payload == b"so far"
    assert post.trailers is not None
    assert post.trailers["lambda-runtime-function-error-type"] == "DeadlineExceeded"
    assert "response interrupted by the deadline" in log
    assert '"InterruptedResponses": 1' in log
    assert api.log == ["next", "response", "waits", "202"]


def test_a_response_that_never_starts_is_an_error_before_the_deadline(tmp_path: Path) -> None:
    runtime = Runtime(tmp_path, TOOLS + HANGING, {})
    with RuntimeApi(Invocation(URL, seconds=3)) as api, runtime.running(api.address):
        api.wait_for(lambda: "202" in api.log)
        log = runtime.log
    assert api.posts[0].prelude["statusCode"] == 500
    assert api.posts[0].prelude["headers"]["x"] == "y"  # type: ignore[index]  # JSON
    assert '"UnhandledErrors": 1' in log


def test_a_body_that_returns_after_its_end_is_closed_and_the_next_event_is_answered(tmp_path: Path) -> None:
    events = [{**URL, "chunks": 1, "until": until} for until in (0, 2800)]
    api, log = run(tmp_path, TOOLS + HANGING, *(Invocation(event, seconds=3) for event in events))
    interrupted, complete = api.posts
    assert interrupted.trailers
    assert (complete.payload, complete.trailers) == (b"so farlate", {})
    order = ["next", "response", "waits", "202", "closed", "next", "response", "waits", "closed", "202", "next"]
    assert [entry for entry in api.log if entry != "closed"] == [entry for entry in order if entry != "closed"]
    assert api.log.index("closed") < api.log.index("next", 1)
    assert log.count('InterruptedResponses": 1') == 1


def test_each_invocation_has_its_own_deadline(tmp_path: Path) -> None:
    """Later ones may be earlier than that of an invocation before."""
    short, hanging = {**URL, "chunks": 1, "until": 60_000}, {**URL, "chunks": 1, "until": 0}
    invocations = [(short, 60), (hanging, 2), (short, 60), (hanging, 2), (hanging, 2)]
    api, log = run(tmp_path, TOOLS + HANGING, *(Invocation(event, seconds=time) for event, time in invocations))
    assert [bool(post.trailers) for post in api.posts] == [False, True, False, True, True]
    assert log.count('InterruptedResponses": 1') == 3


def test_a_slow_client_does_not_hold_up_the_metric(tmp_path: Path) -> None:
    """The body is blocked in a write. Trailers cannot be sent then."""
    handler = TOOLS + "def handler(event, context): return StreamingResponse(bytes(65536) for _ in range(1000))"
    runtime = Runtime(tmp_path, handler, {})

    def read_after_the_deadline(peer: Peer, post: Post) -> None:
        api.wait_for(lambda: "InterruptedResponses" in runtime.log)
        accept(peer, post)

    with (
        RuntimeApi(Invocation(URL, read_after_the_deadline, seconds=3)) as api,
        runtime.running(api.address) as process,
    ):
        api.wait_until_idle(process)
    assert "while the client was slow" in runtime.log
    assert len(api.posts[0].payload) == 65536 * 1000


@pytest.mark.parametrize(("value", "interrupted"), [("0", False), ("1.5", True)])
def test_the_time_before_the_deadline_is_a_setting(tmp_path: Path, value: str, interrupted: bool) -> None:
    variables = {"STREAMING_RUNTIME_DEADLINE_SECONDS": value}
    event = {**URL, "chunks": 1, "until": 1200}
    api, _ = run(tmp_path, TOOLS + HANGING, Invocation(event, seconds=3), variables=variables)
    assert bool(api.posts[0].trailers) is interrupted


@pytest.mark.parametrize("value", ["soon", "-1", "nan"])
def test_an_invalid_setting_is_an_init_error(tmp_path: Path, value: str) -> None:
    runtime = Runtime(tmp_path, TOOLS + HANGING, {"STREAMING_RUNTIME_DEADLINE_SECONDS": value})
    with RuntimeApi() as api, runtime.running(api.address) as process:
        assert process.wait(30) == 1
    message = json.loads(api.posts[0].body)["errorMessage"]
    assert message == f"STREAMING_RUNTIME_DEADLINE_SECONDS must be a number of seconds, not {value!r}"
