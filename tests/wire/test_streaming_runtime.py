"""The streaming runtime as a real process, started through the exec wrapper, against a scripted Runtime API."""

import base64
import json
import time
from pathlib import Path

import pytest

from tests.wire.runtime_api import (
    WAIT_SECONDS,
    Invocation,
    Peer,
    Post,
    PostHandler,
    Runtime,
    RuntimeApi,
    accept,
    count_only,
    refuse,
    reset,
    run,
)

URL = {
    "version": "2.0",
    "requestContext": {"domainName": "abc.lambda-url.us-east-1.on.aws", "http": {"method": "POST"}},
}
HTTP_API = {
    "version": "2.0",
    "requestContext": {"domainName": "abc.execute-api.us-east-1.amazonaws.com", "http": {"method": "POST"}},
}
REST = {"httpMethod": "POST", "path": "/", "requestContext": {"stage": "live"}}
EVENTS = pytest.mark.parametrize("event", [URL, HTTP_API, REST, {"task": "x"}], ids=["url", "http", "rest", "direct"])

# Helpers for the handlers below. The Runtime API logs each `mark` in order with the other requests.
TOOLS = """
import os, time, urllib.request
from streaming_runtime import StreamingResponse

def mark(name):
    urllib.request.urlopen(f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/{name}").read()
"""
HELLO = (
    TOOLS
    + """
def handler(event, context):
    return StreamingResponse(iter([b"hel", b"", b"lo"]), 201, {"content-type": "text/plain"}, cookies=["a=1", "b=2"])
"""
)


def metrics(log: str) -> list[str]:
    """Returns the names of the metrics in the log, in order."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    names = []
    for line in lines:
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert (directive["Namespace"], directive["Dimensions"]) == ("StreamingRuntime", [["FunctionName"]])
        [metric] = directive["Metrics"]
        assert (line[metric["Name"]], line["FunctionName"]) == (1, "f")
        names.append(metric["Name"])
    return names


def assert_internal_error(post: Post, request_id: str = "1") -> None:
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    assert post.prelude == {"statusCode": 500, "headers": headers}
    message = "The request could not be answered."
    assert json.loads(post.payload) == {"error": {"code": "internal", "message": message, "requestId": request_id}}
    assert b"secret" not in post.body
    assert post.trailers == {}


# The contract


def test_a_streamed_answer_has_prelude_chunks_and_trailers(tmp_path: Path) -> None:
    api, log = run(tmp_path, HELLO, Invocation(URL), Invocation(URL))
    assert [post.target.split("/")[-2] for post in api.posts] == ["1", "2"]
    for post in api.posts:
        assert post.prelude == {
            "statusCode": 201,
            "headers": {"content-type": "text/plain"},
            "cookies": ["a=1", "b=2"],
        }
        assert post.chunks[1:] == [b"hel", b"lo"]
        assert post.trailers == {}
        assert post.connection_closed
        assert post.headers["content-type"] == "application/vnd.awslambda.http-integration-response"
        assert post.headers["lambda-runtime-function-response-mode"] == "streaming"
        assert post.headers["transfer-encoding"] == "chunked"
        assert post.headers["trailer"] == "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
        assert "lambda-runtime-invocation-id" not in post.headers
    assert log == ""


def test_the_invocation_id_is_returned(tmp_path: Path) -> None:
    api, _ = run(tmp_path, HELLO, Invocation(URL, headers=(("Lambda-Runtime-Invocation-Id", "i-1"),)))
    assert api.posts[0].headers["lambda-runtime-invocation-id"] == "i-1"


def test_a_rest_api_event_is_streamed_if_configured(tmp_path: Path) -> None:
    api, _ = run(tmp_path, HELLO, Invocation(REST), variables={"REST_STREAMING": "1"})
    assert api.posts[0].prelude["multiValueHeaders"] == {"set-cookie": ["a=1", "b=2"]}
    assert "cookies" not in api.posts[0].prelude
    assert api.posts[0].payload == b"hello"


@pytest.mark.parametrize(
    ("event", "variables", "cookies"),
    [
        pytest.param(REST, {}, {"multiValueHeaders": {"set-cookie": ["a=1", "b=2"]}}, id="rest"),
        pytest.param(HTTP_API, {"REST_STREAMING": "1"}, {"cookies": ["a=1", "b=2"]}, id="http-api"),
        pytest.param({"task": "x"}, {"REST_STREAMING": "1"}, {"cookies": ["a=1", "b=2"]}, id="direct"),
        pytest.param(["no", "object"], {}, {"cookies": ["a=1", "b=2"]}, id="list"),
        pytest.param(URL, {"AWS_SAM_LOCAL": "true"}, {"cookies": ["a=1", "b=2"]}, id="sam-local"),
        pytest.param(
            REST,
            {"AWS_SAM_LOCAL": "true", "REST_STREAMING": "1"},
            {"multiValueHeaders": {"set-cookie": ["a=1", "b=2"]}},
            id="sam-local-rest",
        ),
    ],
)
def test_other_events_are_answered_with_a_buffered_response(
    tmp_path: Path, event: object, variables: dict[str, str], cookies: dict[str, object]
) -> None:
    api, _ = run(tmp_path, HELLO, Invocation(event), variables=variables)
    [post] = api.posts
    assert "lambda-runtime-function-response-mode" not in post.headers
    assert json.loads(post.body) == {
        "statusCode": 201,
        "headers": {"content-type": "text/plain"},
        "body": "hello",
        "isBase64Encoded": False,
        **cookies,
    }


@pytest.mark.parametrize("body", ["[]", "[b'', b'']"])
def test_an_empty_body_is_sent_as_one_newline(tmp_path: Path, body: str) -> None:
    handler = TOOLS + f"def handler(event, context): return StreamingResponse({body}, status=404)"
    api, _ = run(tmp_path, handler, Invocation(URL))
    assert api.posts[0].prelude["statusCode"] == 404
    assert api.posts[0].payload == b"\n"


@EVENTS
def test_any_other_result_is_posted_as_awslambdaric_posts_it(tmp_path: Path, event: object) -> None:
    handler = """
from decimal import Decimal
RESULTS = iter([None, {"statusCode": 200, "body": "é"}, "text", b"bytes", [1, Decimal("1.50")]])
def handler(event, context):
    return next(RESULTS)
"""
    invocations = [Invocation(event)] * 5
    streaming, _ = run(tmp_path / "streaming", handler, *invocations)
    plain, _ = run(tmp_path / "plain", handler, *invocations, plain=True)
    assert [(post.target, post.headers, post.body) for post in streaming.posts] == [
        (post.target, post.headers | {"host": streaming.address}, post.body) for post in plain.posts
    ]


@pytest.mark.parametrize("event", [HTTP_API, {"task": "x"}, b"{malformed"], ids=["http", "direct", "malformed"])
def test_other_errors_are_posted_as_awslambdaric_posts_them(tmp_path: Path, event: object) -> None:
    handler = """
def handler(event, context):
    raise ValueError("secret") if "task" in event else KeyError("secret")
"""
    streaming, streaming_log = run(tmp_path / "streaming", handler, Invocation(event))
    plain, plain_log = run(tmp_path / "plain", handler, Invocation(event), plain=True)
    assert [post.target for post in streaming.posts] == ["/2018-06-01/runtime/invocation/1/error"]
    assert streaming.posts[0].body == plain.posts[0].body.replace(b"/plain/", b"/streaming/")
    assert streaming_log == plain_log.replace("/plain/", "/streaming/")


# Increments


def test_each_chunk_is_received_before_the_next_is_generated(tmp_path: Path) -> None:
    """After each chunk, the body waits until the Runtime API has received that chunk."""
    seen = tmp_path / "seen"
    handler = (
        TOOLS
        + f"""
def body():
    for number in range(10):
        yield b"%d" % number
        deadline = time.monotonic() + 10
        while open({str(seen)!r}).read() != str(number):
            assert time.monotonic() < deadline, number
            time.sleep(0.002)
def handler(event, context):
    return StreamingResponse(body())
"""
    )
    seen.write_text("")

    def watch(peer: Peer, post: Post) -> None:
        prelude_size = None
        for number in range(10):
            if prelude_size is None:
                peer.read(post, until=1)
                prelude_size = post.size
            peer.read(post, until=prelude_size + number + 1)
            seen.write_text(str(number))
        accept(peer, post)

    api, log = run(tmp_path, handler, Invocation(URL, watch))
    assert api.posts[0].payload == b"0123456789"
    assert api.posts[0].trailers == {}, log


def test_paced_chunks_are_received_separately(tmp_path: Path) -> None:
    handler = (
        TOOLS
        + """
def body():
    for number in range(10):
        yield b"data: %d\\n\\n" % number
        time.sleep(0.1)
def handler(event, context):
    return StreamingResponse(body())
"""
    )
    api, _ = run(tmp_path, handler, Invocation(URL))
    [post] = api.posts
    assert len(post.chunks) == 11
    gaps = [later - earlier for earlier, later in zip(post.times[1:], post.times[2:], strict=False)]
    assert min(gaps) > 0.01, gaps  # paced at 0.1 s: no two chunks are received together


def test_a_slow_reader_blocks_the_body(tmp_path: Path) -> None:
    """There is no queue: without a reader, the body blocks as soon as the kernel's buffers are full."""
    handler = (
        TOOLS
        + """
import threading
made = 0
def watch():
    before = -1
    while made != before:
        before = made
        time.sleep(0.3)
    mark(f"blocked-at-{made}")
def body():
    global made
    for made in range(1, 1001):
        if made == 2: threading.Thread(target=watch).start()
        yield bytes(65536)
def handler(event, context):
    return StreamingResponse(body())
"""
    )

    def read_after_block(peer: Peer, post: Post) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not any(entry.startswith("blocked-at") for entry in peer.log) and time.monotonic() < deadline:
            time.sleep(0.02)
        count_only(peer, post)

    api, _ = run(tmp_path, handler, Invocation(URL, read_after_block))
    [blocked] = [entry for entry in api.log if entry.startswith("blocked-at")]
    assert int(blocked.rpartition("-")[2]) < 400
    assert api.posts[0].size > 65536 * 1000


def test_memory_does_not_grow_with_the_answer(tmp_path: Path) -> None:
    handler = (
        TOOLS
        + """
import resource
def handler(event, context):
    chunks = (bytes(65536) for _ in range(event["chunks"]))
    return StreamingResponse(chunks, after=[lambda: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)])
"""
    )
    sizes = [16, 1024]  # 1 MiB and 64 MiB
    api, log = run(tmp_path, handler, *(Invocation({**URL, "chunks": size}, count_only) for size in sizes))
    assert [post.size > size * 65536 for post, size in zip(api.posts, sizes, strict=True)] == [True, True]
    small, large = map(int, log.split())
    assert large - small < 2048, "KiB"


def test_four_byte_characters_cut_at_any_byte_are_received_completely(tmp_path: Path) -> None:
    handler = (
        TOOLS
        + """
def handler(event, context):
    return StreamingResponse(bytes([byte]) for byte in "🌊 né 🏔".encode())
"""
    )
    api, _ = run(tmp_path, handler, Invocation(URL), Invocation(HTTP_API))
    assert api.posts[0].payload.decode() == "🌊 né 🏔"
    assert json.loads(api.posts[1].body)["body"] == "🌊 né 🏔"


# Failures of the function


@pytest.mark.parametrize(
    "handler",
    [
        pytest.param("def handler(event, context): raise ValueError('secret')", id="handler"),
        pytest.param(
            "def handler(event, context):\n  return StreamingResponse(1 / 0 for _ in 'secret')", id="before-first-chunk"
        ),
        pytest.param("def handler(event, context): return StreamingResponse(['secret'])", id="text"),
        pytest.param("def handler(event, context): return StreamingResponse(b'secret')", id="bytes-as-body"),
        pytest.param(
            "def handler(event, context): return StreamingResponse([b'x'], headers={'date': ''})", id="header"
        ),
        pytest.param(
            "def handler(event, context): return StreamingResponse([b'x'], headers={'x': 'secret' * 3000})",
            id="prelude-too-large",
        ),
        pytest.param("def handler(event, context): return {'secret': object()}", id="not-json"),
    ],
)
def test_a_failure_before_the_first_chunk_is_a_json_500(tmp_path: Path, handler: str) -> None:
    api, log = run(tmp_path, TOOLS + handler, Invocation(URL), Invocation(URL))
    assert [post.target.rpartition("/")[2] for post in api.posts] == ["response", "response"]
    assert_internal_error(api.posts[0], "1")
    assert_internal_error(api.posts[1], "2")
    assert metrics(log) == ["UnhandledErrors"] * 2
    assert log.count("[ERROR]") == 2


def test_a_malformed_event_is_reported_for_its_own_request_id(tmp_path: Path) -> None:
    api, _ = run(tmp_path, HELLO, Invocation(URL), Invocation(b"{malformed"))
    assert api.posts[1].target.endswith("/2/error")


def test_a_failure_after_the_first_chunk_is_reported_in_trailers(tmp_path: Path) -> None:
    handler = (
        TOOLS
        + """
class ModelBroke(Exception): pass
def body():
    yield b"so far"
    raise ModelBroke("secret")
def handler(event, context):
    return StreamingResponse(body())
"""
    )
    api, log = run(tmp_path, handler, Invocation(URL), Invocation(URL))
    for post in api.posts:
        assert post.payload == b"so far"
        assert post.trailers is not None
        assert post.trailers["lambda-runtime-function-error-type"] == "ModelBroke"
        error = json.loads(base64.b64decode(post.trailers["lambda-runtime-function-error-body"], validate=True))
        assert error == {"errorType": "ModelBroke", "errorMessage": "The answer was interrupted."}
        assert post.connection_closed
    assert metrics(log) == ["InterruptedResponses"] * 2
    assert log.count("ModelBroke: secret") == 2


def test_a_connection_reset_in_the_body_is_reported_in_trailers(tmp_path: Path) -> None:
    handler = (
        TOOLS
        + """
def body():
    yield b"so far"
    raise ConnectionResetError
def handler(event, context):
    return StreamingResponse(body())
"""
    )
    api, log = run(tmp_path, handler, Invocation(URL))
    assert api.posts[0].trailers is not None
    assert api.posts[0].trailers["lambda-runtime-function-error-type"] == "ConnectionResetError"
    assert metrics(log) == ["InterruptedResponses"]


# Failures of the Runtime API

ENDLESS = (
    TOOLS
    + """
def body():
    try:
        while True:
            yield bytes(1024)
    finally:
        mark("closed")
def handler(event, context):
    return StreamingResponse(body(), after=[lambda: mark("after")])
"""
)


@pytest.mark.parametrize(
    ("on_post", "reason"),
    [
        pytest.param(refuse(413, after=50_000), "413", id="early-413-connection-open"),
        pytest.param(reset(after=50_000), "", id="reset"),
        pytest.param(refuse(202, after=50_000), "202", id="early-202"),
    ],
)
def test_a_broken_post_closes_the_body_and_runs_the_after_work(
    tmp_path: Path, on_post: PostHandler, reason: str
) -> None:
    api, log = run(tmp_path, ENDLESS, Invocation(URL, on_post))
    assert "error" not in api.log
    assert api.log[-3:] == ["closed", "after", "next"]
    assert "response refused by the Runtime API" in log
    assert reason in log
    assert metrics(log) == ["RefusedResponses"]


def test_a_response_refused_at_its_end_is_logged_and_counted(tmp_path: Path) -> None:
    api, log = run(tmp_path, HELLO, Invocation(URL, refuse(413)), Invocation(URL))
    assert api.log == ["next", "response", "413", "next", "response", "202", "next"]
    assert "refused: 413" in log
    assert metrics(log) == ["RefusedResponses"]


# Other ways to run


def test_next_is_polled_in_a_thread_for_the_python_runtime(tmp_path: Path) -> None:
    variables = {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.13"}
    api, _ = run(tmp_path, HELLO, Invocation(URL), Invocation(URL), variables=variables)
    assert [post.payload for post in api.posts] == [b"hello"] * 2


def test_a_handler_that_cannot_be_imported_is_an_init_error(tmp_path: Path) -> None:
    with (
        RuntimeApi() as api,
        (runtime := Runtime(tmp_path, "import missing_module", {})).running(api.address) as process,
    ):
        assert process.wait(WAIT_SECONDS) == 1
    assert [post.target for post in api.posts] == ["/2018-06-01/runtime/init/error"]
    assert "missing_module" in runtime.log


def test_snap_start_hooks_run_before_and_after_the_restore(tmp_path: Path) -> None:
    handler = (
        HELLO
        + """
from snapshot_restore_py import register_after_restore, register_before_snapshot
register_before_snapshot(mark, "before")
register_after_restore(mark, "after")
"""
    )
    api, _ = run(tmp_path, handler, Invocation(URL), variables={"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"})
    assert api.log == ["before", "restore", "after", "next", "response", "202", "next"]
    assert api.posts[0].payload == b"hello"
