"""Work after the response, in a real process against a scripted Runtime API."""

from pathlib import Path

import pytest

from tests.wire.runtime_api import Invocation, Runtime, RuntimeApi, run

URL = {"version": "2.0", "requestContext": {"domainName": "abc.lambda-url.us-east-1.on.aws"}}
HTTP_API = {"version": "2.0", "requestContext": {"domainName": "abc.execute-api.us-east-1.amazonaws.com"}}
TOOLS = """
import os, time, urllib.request
from streaming_runtime import StreamingResponse

def mark(name):
    urllib.request.urlopen(f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/{name}").read()
"""


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


@pytest.mark.parametrize("event", [URL, HTTP_API], ids=["streamed", "buffered"])
def test_after_work_runs_after_a_failed_body(tmp_path: Path, event: object) -> None:
    handler = (
        TOOLS
        + """
def handler(event, context):
    return StreamingResponse((1 / 0 for _ in "x"), after=[lambda: mark("after")])
"""
    )
    api, _ = run(tmp_path, handler, Invocation(event))
    assert api.log[-3:] == ["202", "after", "next"]


def test_each_callable_runs_whatever_the_others_raise(tmp_path: Path) -> None:
    """The log names the callables, without their bound arguments."""
    handler = (
        TOOLS
        + """
import asyncio, sys
from functools import partial
def leave(secret): sys.exit(3)
def cancel(secret): raise asyncio.CancelledError
class Sender:
    def __init__(self, secret): self.secret = secret
    def __repr__(self): return self.secret
    def send(self, secret): raise ValueError("broken")
def handler(event, context):
    last = lambda: mark("last")
    work = [partial(leave, "hidden"), partial(cancel, "hidden"), partial(Sender("hidden").send, "hidden"), last]
    return StreamingResponse([b"x"], after=work)
"""
    )
    api, log = run(tmp_path, handler, Invocation(URL), Invocation(URL))
    assert api.log == ["next", "response", "202", "last"] * 2 + ["next"]
    for name in ("leave", "cancel", "Sender.send"):
        assert log.count(f"after-response work failed: {name}\n") == 2
    assert "hidden" not in log.replace('"hidden"', "")  # the traceback quotes this file


@pytest.mark.parametrize("first", ["handler", "callable"])
def test_work_without_time_left_is_not_started(tmp_path: Path, first: str) -> None:
    pause = "time.sleep(max(0, context.get_remaining_time_in_millis() / 1000))"
    handler = (
        TOOLS
        + f"""
def never(): mark("never")
def handler(event, context):
    def wait(): {pause}
    if {first == "handler"}: wait()
    return StreamingResponse([b"x"], after=[*([wait] if {first == "callable"} else []), never, never])
"""
    )
    api, log = run(tmp_path, handler, Invocation(HTTP_API, seconds=1))
    assert "never" not in api.log
    assert "after-response work not started, no time is left: never, never" in log


def test_the_next_event_is_not_requested_while_work_runs(tmp_path: Path) -> None:
    """Otherwise the work would continue during the next invocation. Lambda's time-out ends it."""
    handler = (
        TOOLS
        + """
import threading
def handler(event, context):
    return StreamingResponse([b"x"], after=[threading.Event().wait])
"""
    )
    runtime = Runtime(tmp_path, handler, {})
    with RuntimeApi(Invocation(URL, seconds=1)) as api, runtime.running(api.address):
        api.wait_for(lambda: "takes longer than" in runtime.log)
    assert api.log == ["next", "response", "202"]
    assert "s: Event.wait" in runtime.log


def test_work_runs_with_the_request_id_of_its_invocation(tmp_path: Path) -> None:
    handler = (
        TOOLS
        + """
import logging
def handler(event, context):
    return StreamingResponse([b"x"], after=[lambda: logging.warning("trace %s", os.environ["_X_AMZN_TRACE_ID"])])
"""
    )
    invocations = [Invocation(URL, headers=(("Lambda-Runtime-Trace-Id", f"Root={number}"),)) for number in (1, 2)]
    _, log = run(tmp_path, handler, *invocations)
    assert [line.split("\t")[2:] for line in log.splitlines() if line] == [["1", "trace Root=1"], ["2", "trace Root=2"]]
