"""Decorators around a streamed response: what works with `send_inside`, what is refused. Real processes."""

import json
from pathlib import Path

import pytest

from tests.wire.runtime_api import Invocation, refuse, run

URL = {"version": "2.0", "requestContext": {"domainName": "abc.lambda-url.us-east-1.on.aws", "http": {}}, "id": "1"}
HTTP_API = {"version": "2.0", "requestContext": {"domainName": "abc.execute-api.us-east-1.amazonaws.com"}, "id": "1"}
TOOLS = """
import os, urllib.request
from streaming_runtime import StreamingResponse, send_inside

def mark(name):
    urllib.request.urlopen(f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/{name}").read()

def measured(handler):
    def call(event, context):
        mark("begin")
        try:
            return handler(event, context)
        except Exception as error:
            mark(type(error).__name__)
            raise
        finally:
            mark("end")
            if event.get("breaks"): raise RuntimeError("flush failed")
    return call

def body(event):
    if event.get("fails") == "first": raise ValueError("broken")
    yield b"hello"
    mark("body")
    if event.get("fails") == "later": raise ValueError("broken")
"""
INSIDE = (
    TOOLS
    + """
@measured
@send_inside
def handler(event, context):
    return StreamingResponse(body(event), after=[lambda: mark("after")])
"""
)


def test_what_surrounds_the_handler_surrounds_the_body(tmp_path: Path) -> None:
    api, _ = run(tmp_path, INSIDE, Invocation(URL), Invocation(URL))
    assert api.log == ["next", "begin", "response", "body", "202", "end", "after"] * 2 + ["next"]
    assert [post.payload for post in api.posts] == [b"hello"] * 2


def test_without_send_inside_the_decorators_end_before_the_body(tmp_path: Path) -> None:
    api, _ = run(tmp_path, INSIDE.replace("@send_inside", ""), Invocation(URL))
    assert api.log == ["next", "begin", "end", "response", "body", "202", "after", "next"]


def test_a_caller_that_does_not_stream_gets_the_body_that_was_read_inside(tmp_path: Path) -> None:
    api, _ = run(tmp_path, INSIDE, Invocation(HTTP_API))
    assert api.log == ["next", "begin", "body", "end", "response", "202", "after", "next"]
    assert json.loads(api.posts[0].body)["body"] == "hello"


BROKEN = (
    TOOLS
    + """
import asyncio
def read(kind):
    yield b"x"
    if kind == "large":
        while True: yield bytes(1 << 20)
    raise asyncio.CancelledError
@send_inside
def handler(event, context):
    return StreamingResponse(read(event["kind"]), after=[lambda: mark("after")])
"""
)


@pytest.mark.parametrize(("kind", "error"), [("cancelled", "CancelledError"), ("large", "ResponseTooLarge")])
def test_a_body_that_fails_inside_does_not_end_the_process(tmp_path: Path, kind: str, error: str) -> None:
    api, log = run(tmp_path, BROKEN, Invocation({**HTTP_API, "kind": kind}), Invocation({**HTTP_API, "kind": kind}))
    assert [json.loads(post.body)["errorType"] for post in api.posts] == [error] * 2
    assert api.log.count("after") == 2
    assert log.count('"UnhandledErrors": 1') == (2 if kind == "large" else 0)


def test_a_cancelled_stream_inside_is_interrupted(tmp_path: Path) -> None:
    api, log = run(tmp_path, BROKEN, Invocation({**URL, "kind": "cancelled"}), Invocation({**URL, "kind": "cancelled"}))
    assert [bool(post.trailers) for post in api.posts] == [True, True]
    assert log.count("response failed") == 2


def test_managed_instances_read_the_body_inside(tmp_path: Path) -> None:
    variables = {"AWS_LAMBDA_MAX_CONCURRENCY": "2"}
    api, _ = run(tmp_path, INSIDE, Invocation(URL), variables=variables, processes=2)
    assert [entry for entry in api.log if entry != "next"] == ["begin", "body", "end", "response", "202", "after"]
    assert api.posts[0].body.endswith(bytes(8) + b"hello")


@pytest.mark.parametrize(
    ("fails", "metric"), [("first", "UnhandledErrors"), ("later", "InterruptedResponses")], ids=["first", "later"]
)
def test_an_exception_of_the_body_reaches_the_decorators_once(tmp_path: Path, fails: str, metric: str) -> None:
    api, log = run(tmp_path, INSIDE, Invocation({**URL, "fails": fails}), Invocation(URL))
    failed, complete = api.posts
    if fails == "first":
        assert failed.prelude["statusCode"] == 500
    else:
        assert failed.payload == b"hello"
        assert failed.trailers
    assert complete.payload == b"hello"
    assert api.log.count("ValueError") == 1
    assert log.count(f'"{metric}": 1') == log.count('Errors": 1') + log.count('Responses": 1') == 1
    assert log.count("[ERROR] ValueError: broken") == log.count("ValueError: broken") == 1


def test_a_decorator_that_fails_after_the_response_is_counted(tmp_path: Path) -> None:
    api, log = run(tmp_path, INSIDE, Invocation({**URL, "breaks": 1}), Invocation(URL))
    assert [post.payload for post in api.posts] == [b"hello"] * 2
    assert "RuntimeError: flush failed" in log
    assert log.count('"UnhandledErrors": 1') == 1


def test_a_refused_response_ends_the_body_inside(tmp_path: Path) -> None:
    api, log = run(tmp_path, INSIDE, Invocation(URL, refuse(413)), Invocation(URL))
    assert api.log[:7] == ["next", "begin", "response", "body", "413", "end", "after"]
    assert '"RefusedResponses": 1' in log


POWERTOOLS = {"POWERTOOLS_SERVICE_NAME": "s", "POWERTOOLS_METRICS_NAMESPACE": "n", "POWERTOOLS_LOG_LEVEL": "INFO"}


def test_metrics_and_log_keys_of_powertools_cover_the_body(tmp_path: Path) -> None:
    handler = (
        TOOLS
        + """
from aws_lambda_powertools import Logger, Metrics
metrics, logger = Metrics(), Logger()
@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics(capture_cold_start_metric=False)
@send_inside
def handler(event, context):
    def body():
        yield b"x"
        metrics.add_metric(name="Chunks", unit="Count", value=event["number"])
        logger.info("in the body")
    return StreamingResponse(body(), after=[lambda: print("{}")])
"""
    )
    invocations = [Invocation({**URL, "number": number}) for number in (1, 2)]
    variables = POWERTOOLS | {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128"}
    _, log = run(tmp_path, handler, *invocations, variables=variables)
    lines = [json.loads(line) for line in log.splitlines() if line]
    assert [line.get("Chunks", line.get("function_request_id")) for line in lines] == [
        "1",
        [1.0],
        None,
        "2",
        [2.0],
        None,
    ]


IDEMPOTENT = (
    TOOLS
    + """
from aws_lambda_powertools.utilities.idempotency import IdempotencyConfig, idempotent
from aws_lambda_powertools.utilities.idempotency.persistence.base import BasePersistenceLayer
class Store(BasePersistenceLayer):
    def _get_record(self, **_): raise NotImplementedError
    def _put_record(self, **_): mark("stored")
    def _update_record(self, **_): mark("updated")
    def _delete_record(self, **_): mark("deleted")
@idempotent(persistence_store=Store(), config=IdempotencyConfig(event_key_jmespath="id"))
{helper}
def handler(event, context):
    mark("charged")
    response = StreamingResponse(iter([b"x"]))
    mark("done")
    return response
"""
)


@pytest.mark.parametrize("helper", ["", "@send_inside"], ids=["plain", "send-inside"])
def test_idempotent_is_refused_at_once(tmp_path: Path, helper: str) -> None:
    """With `send_inside` before the handler runs, without it when the response is created."""
    api, log = run(tmp_path, IDEMPOTENT.replace("{helper}", helper), Invocation(URL), variables=POWERTOOLS)
    assert api.posts[0].prelude["statusCode"] == 500
    assert "TypeError: @idempotent stores the result of the handler" in log
    assert "done" not in api.log
    assert ("charged" in api.log) is (helper == "")
    assert "deleted" in api.log  # so that a repetition is not refused


def test_a_route_of_a_resolver_is_refused(tmp_path: Path) -> None:
    handler = (
        TOOLS
        + """
from aws_lambda_powertools.event_handler import LambdaFunctionUrlResolver
app = LambdaFunctionUrlResolver()
@app.get("/")
def route():
    return StreamingResponse(body({}))
def handler(event, context):
    return app.resolve(event, context)
"""
    )
    event = {**URL, "rawPath": "/", "headers": {}}
    event["requestContext"] = {**URL["requestContext"], "http": {"method": "GET"}, "stage": "$default"}  # type: ignore[dict-item]
    api, log = run(tmp_path, handler, Invocation(event), variables=POWERTOOLS)
    assert api.posts[0].prelude["statusCode"] == 500
    assert "A resolver of Powertools makes a JSON response" in log


# Async functions and generator functions

ASYNCHRONOUS = (
    TOOLS
    + """
import asyncio
from streaming_runtime.asynchronous import iterate
async def chunks(event):
    try:
        async with asyncio.timeout(60):
            for number in range(event["count"]):
                await asyncio.sleep(0)
                yield b"%d " % number
            if "fails" in event: raise ValueError("broken")
    finally:
        mark("closed")
def handler(event, context):
    return StreamingResponse(iterate(chunks(event)))
"""
)


def test_an_async_generator_is_streamed_through_the_adapter(tmp_path: Path) -> None:
    events = [{**URL, "count": 3}, {**URL, "count": 1, "fails": 1}, {**URL, "count": 0}]
    api, log = run(tmp_path, ASYNCHRONOUS, *map(Invocation, events))
    complete, failed, empty = api.posts
    assert complete.chunks[1:] == [b"0 ", b"1 ", b"2 "]
    assert (failed.payload, bool(failed.trailers)) == (b"0 ", True)
    assert "ValueError: broken" in log
    assert empty.payload == b"\n"
    assert api.log.count("closed") == 3


def test_an_async_generator_is_closed_if_the_response_is_refused(tmp_path: Path) -> None:
    invocation = Invocation({**URL, "count": 1_000_000}, refuse(413, after=5_000))
    api, log = run(tmp_path, ASYNCHRONOUS, invocation)
    assert api.log[-2:] == ["closed", "next"]
    assert "never" not in log


@pytest.mark.parametrize(
    ("handler", "instead"),
    [
        ("async def handler(event, context): mark('ran')", "return asyncio.run(main(event, context))"),
        ("def handler(event, context):\n  mark('ran')\n  yield b'x'", "return StreamingResponse(body(event))"),
        ("async def handler(event, context):\n  mark('ran')\n  yield b'x'", "asynchronous.iterate(body(event))"),
        ("async def body(): yield b''\ndef handler(event, context): return StreamingResponse(body())", "iterate(body)"),
    ],
    ids=["async", "generator", "async-generator", "async-body"],
)
def test_other_kinds_of_functions_are_refused_with_the_line_to_write(
    tmp_path: Path, handler: str, instead: str
) -> None:
    api, log = run(tmp_path, TOOLS + handler, Invocation(HTTP_API))
    assert instead in json.loads(api.posts[0].body)["errorMessage"]
    assert "ran" not in api.log
    assert "never awaited" not in log


def test_a_marshaller_of_the_function_may_accept_them(tmp_path: Path) -> None:
    handler = """
import asyncio
from awslambdaric.lambda_runtime_client import LambdaRuntimeClient
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller
class Own(LambdaMarshaller):
    def marshal_response(self, response): return super().marshal_response(asyncio.run(response))
LambdaRuntimeClient.marshaller = Own()
async def handler(event, context): return "ran"
"""
    api, _ = run(tmp_path, handler, Invocation(HTTP_API))
    assert api.posts[0].body == b'"ran"'
