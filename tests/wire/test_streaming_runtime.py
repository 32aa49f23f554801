"""The streaming runtime as a real process, started through the exec wrapper, against a scripted Runtime API."""

import base64
import json
import sys
import time
from pathlib import Path

import pytest

from tests.wire.runtime_api import (
    PATIENCE,
    Invocation,
    Peer,
    Post,
    Runtime,
    RuntimeApi,
    Treatment,
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

# What every handler below may use: `mark` is seen by the Runtime API, in order with everything else that it sees.
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
    """The names of the metrics that the log counts, in order."""
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
    assert post.prelude == {"statusCode": 500, "headers": {"content-type": "application/json"}}
    error = json.loads(post.payload)["error"]
    assert {"code": "internal", "requestId": request_id, "retryable": True}.items() <= error.items()
    assert b"secret" not in post.body
    assert post.trailers == {}


# The contract


def test_streamed_answer(tmp_path: Path) -> None:
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


def test_echoes_the_invocation_id(tmp_path: Path) -> None:
    api, _ = run(tmp_path, HELLO, Invocation(URL, headers=(("Lambda-Runtime-Invocation-Id", "i-1"),)))
    assert api.posts[0].headers["lambda-runtime-invocation-id"] == "i-1"


def test_rest_api_streams_when_told_so(tmp_path: Path) -> None:
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
def test_buffered_answer(tmp_path: Path, event: object, variables: dict[str, str], cookies: dict[str, object]) -> None:
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


def test_buffered_on_demand(tmp_path: Path) -> None:
    handler = TOOLS + "def handler(event, context): return StreamingResponse([b'\\xff\\x00'], buffered=True)"
    api, _ = run(tmp_path, handler, Invocation(URL))
    answer = json.loads(api.posts[0].body)
    assert (base64.b64decode(answer["body"]), answer["isBase64Encoded"]) == (b"\xff\x00", True)


@pytest.mark.parametrize("body", ["[]", "[b'', b'']"])
def test_never_an_empty_body(tmp_path: Path, body: str) -> None:
    handler = TOOLS + f"def handler(event, context): return StreamingResponse({body}, status=204)"
    api, _ = run(tmp_path, handler, Invocation(URL))
    assert api.posts[0].prelude["statusCode"] == 204
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
    ours, _ = run(tmp_path / "ours", handler, *invocations)
    theirs, _ = run(tmp_path / "theirs", handler, *invocations, plain=True)
    assert [(post.target, post.headers, post.body) for post in ours.posts] == [
        (post.target, post.headers | {"host": ours.address}, post.body) for post in theirs.posts
    ]


@pytest.mark.parametrize("event", [HTTP_API, {"task": "x"}, b"{malformed"], ids=["http", "direct", "malformed"])
def test_other_errors_are_posted_as_awslambdaric_posts_them(tmp_path: Path, event: object) -> None:
    handler = """
def handler(event, context):
    raise ValueError("secret") if "task" in event else KeyError("secret")
"""
    ours, ours_log = run(tmp_path / "ours", handler, Invocation(event))
    theirs, theirs_log = run(tmp_path / "theirs", handler, Invocation(event), plain=True)
    assert [post.target for post in ours.posts] == ["/2018-06-01/runtime/invocation/1/error"]
    assert ours.posts[0].body == theirs.posts[0].body.replace(b"/theirs/", b"/ours/")
    assert ours_log == theirs_log.replace("/theirs/", "/ours/")


# Increments


def test_each_chunk_arrives_before_the_next_is_made(tmp_path: Path) -> None:
    """The body waits, after each chunk, until that chunk has been seen at the other end."""
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


def test_time_stamps_show_increments(tmp_path: Path) -> None:
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
    assert min(gaps) > 0.01, gaps  # paced at 0.1 s: none arrived together with another


def test_slow_reader_holds_the_body_back(tmp_path: Path) -> None:
    """Nothing is queued: while nobody reads, the body stops as soon as the kernel's buffers are full."""
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
    mark(f"held-at-{made}")
def body():
    global made
    for made in range(1, 1001):
        if made == 2: threading.Thread(target=watch).start()
        yield bytes(65536)
def handler(event, context):
    return StreamingResponse(body())
"""
    )

    def read_late(peer: Peer, post: Post) -> None:
        deadline = time.monotonic() + PATIENCE
        while not any(entry.startswith("held-at") for entry in peer.log) and time.monotonic() < deadline:
            time.sleep(0.02)
        count_only(peer, post)

    seen, _ = run(tmp_path, handler, Invocation(URL, read_late))
    [held] = [entry for entry in seen.log if entry.startswith("held-at")]
    assert int(held.rpartition("-")[2]) < 400
    assert seen.posts[0].size > 65536 * 1000


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


def test_four_byte_characters_cut_anywhere_arrive_whole(tmp_path: Path) -> None:
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
def test_failure_before_the_first_chunk_is_a_json_500(tmp_path: Path, handler: str) -> None:
    api, log = run(tmp_path, TOOLS + handler, Invocation(URL), Invocation(URL))
    assert [post.target.rpartition("/")[2] for post in api.posts] == ["response", "response"]
    assert_internal_error(api.posts[0], "1")
    assert_internal_error(api.posts[1], "2")
    assert metrics(log) == ["UnhandledErrors"] * 2
    assert log.count("[ERROR]") == 2


def test_a_malformed_event_is_not_taken_for_the_one_before(tmp_path: Path) -> None:
    api, _ = run(tmp_path, HELLO, Invocation(URL), Invocation(b"{malformed"))
    assert api.posts[1].target.endswith("/2/error")


@pytest.mark.parametrize("kind", ["asyncio.CancelledError", "GeneratorExit"])
def test_a_body_that_drives_coroutines_does_not_end_the_runtime(tmp_path: Path, kind: str) -> None:
    handler = (
        TOOLS
        + f"""
import asyncio
class Body:
    said = False
    def __iter__(self): return self
    def __next__(self):
        if self.said: raise {kind}
        self.said = True
        return b"so far"
def handler(event, context):
    return StreamingResponse(Body())
"""
    )
    api, log = run(tmp_path, handler, Invocation(URL), Invocation(URL))
    for post in api.posts:
        assert post.payload == b"so far"
        assert post.trailers is not None
        assert post.trailers["lambda-runtime-function-error-type"] == kind.rpartition(".")[2]
    assert metrics(log) == ["InterruptedResponses"] * 2


def test_failure_after_the_first_chunk_is_told_in_trailers(tmp_path: Path) -> None:
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
        assert error == {"errorType": "ModelBroke", "errorMessage": "The answer broke off."}
        assert post.connection_closed
    assert metrics(log) == ["InterruptedResponses"] * 2
    assert log.count("ModelBroke: secret") == 2


def test_a_reset_of_the_models_connection_is_not_taken_for_ours(tmp_path: Path) -> None:
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
    ("treatment", "reason"),
    [
        pytest.param(refuse(413, after=50_000), "413", id="early-413-connection-open"),
        pytest.param(reset(after=50_000), "", id="reset"),
        pytest.param(refuse(202, after=50_000), "202", id="early-202"),
    ],
)
def test_broken_post(tmp_path: Path, treatment: Treatment, reason: str) -> None:
    api, log = run(tmp_path, ENDLESS, Invocation(URL, treatment))
    assert "error" not in api.log
    assert api.log[-3:] == ["closed", "after", "next"]
    assert "response refused by the Runtime API" in log
    assert reason in log
    assert metrics(log) == ["RefusedResponses"]


def test_refused_at_the_end(tmp_path: Path) -> None:
    api, log = run(tmp_path, HELLO, Invocation(URL, refuse(413)), Invocation(URL))
    assert api.log == ["next", "response", "413", "next", "response", "202", "next"]
    assert "refused: 413" in log
    assert metrics(log) == ["RefusedResponses"]


# Work after the response


def test_after_work_runs_between_the_202_and_the_next_event(tmp_path: Path) -> None:
    handler = (
        TOOLS
        + """
def fail():
    mark("fails")
    raise ValueError("logged, never sent")
def handler(event, context):
    return StreamingResponse([b"x"], after=[fail, lambda: mark("second")])
"""
    )
    api, log = run(tmp_path, handler, Invocation(URL), Invocation(HTTP_API))
    assert api.log == ["next", "response", "202", "fails", "second"] * 2 + ["next"]
    assert "logged, never sent" in log
    assert all(b"logged" not in post.body for post in api.posts)
    assert metrics(log.replace("[ERROR]", "\n[ERROR]")) == []


@pytest.mark.parametrize("event", [URL, HTTP_API], ids=["streamed", "buffered"])
def test_after_work_runs_though_the_body_failed(tmp_path: Path, event: object) -> None:
    handler = (
        TOOLS
        + """
def handler(event, context):
    return StreamingResponse((1 / 0 for _ in "x"), after=[lambda: mark("after")])
"""
    )
    api, _ = run(tmp_path, handler, Invocation(event))
    assert api.log[-3:] == ["202", "after", "next"]


def test_after_work_that_hangs_is_abandoned_at_the_deadline(tmp_path: Path) -> None:
    handler = (
        TOOLS
        + """
import threading
def handler(event, context):
    hang = threading.Event().wait
    return StreamingResponse([b"x"], after=[hang, lambda: mark("never")])
"""
    )
    api, log = run(tmp_path, handler, Invocation(URL, seconds=1), Invocation(URL, seconds=1))
    assert api.log == ["next", "response", "202"] * 2 + ["next"]
    assert log.count("after-response work abandoned") == 2


# Other ways to run


def test_next_is_polled_in_a_thread_where_awslambdaric_does_so(tmp_path: Path) -> None:
    variables = {"AWS_EXECUTION_ENV": "AWS_Lambda_python3.13"}
    api, _ = run(tmp_path, HELLO, Invocation(URL), Invocation(URL), variables=variables)
    assert [post.payload for post in api.posts] == [b"hello"] * 2


def test_search_path_and_working_directory(tmp_path: Path) -> None:
    handler = """
import json, sys
def handler(event, context):
    return sys.path
"""
    own = {"LAMBDA_RUNTIME_DIR": "/var/runtime", "PYTHONPATH": "/mnt/vendored"}
    api, _ = run(tmp_path, handler, Invocation({}), variables=own)
    path = json.loads(api.posts[0].body)
    opt = tmp_path / "opt"
    interpreter = Path(sys.executable).name
    assert path[:5] == [
        str(tmp_path / "var task"),
        f"{opt}/python/lib/{interpreter}/site-packages",
        f"{opt}/python",
        "/var/runtime",
        "/mnt/vendored",
    ]
    assert path[-1].endswith("site-packages")


def test_a_handler_that_cannot_be_imported_is_an_init_error(tmp_path: Path) -> None:
    with (
        RuntimeApi() as api,
        (runtime := Runtime(tmp_path, "import not_there", {})).running(api.address) as process,
    ):
        assert process.wait(PATIENCE) == 1
    assert [post.target for post in api.posts] == ["/2018-06-01/runtime/init/error"]
    assert "not_there" in runtime.log


def test_snap_start_hooks_run_around_the_restore(tmp_path: Path) -> None:
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


def test_managed_instances_answer_in_one_piece(tmp_path: Path) -> None:
    """awslambdaric's own client posts there, from several processes at once."""
    handler = (
        TOOLS
        + """
def handler(event, context):
    return StreamingResponse([b"he", b"llo"], cookies=["a=1"], after=[lambda: mark("after")])
"""
    )
    api, _ = run(tmp_path, handler, Invocation(URL), processes=2, variables={"AWS_LAMBDA_MAX_CONCURRENCY": "2"})
    [post] = api.posts
    assert "lambda-runtime-function-response-mode" not in post.headers
    assert json.loads(post.body) == {
        "statusCode": 200,
        "headers": {},
        "cookies": ["a=1"],
        "body": "hello",
        "isBase64Encoded": False,
    }
    assert api.log.index("after") < api.log.index("response")
