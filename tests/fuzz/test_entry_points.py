"""Random bytes to the entry points and random events to the Invoke API: every response is below 500, and the processes
survive.
"""

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.fuzz.events import Payload, payloads, raw_requests
from tests.stack import RunningStack

pytestmark = pytest.mark.xdist_group("fuzz")
ENTRY_POINTS = ["url", "gateway", "rest", "host"]
FUNCTIONS = {"stream": "StreamFunction", "converse": "ConverseFunction"}


@pytest.fixture
def stack(quick_stack: RunningStack) -> Iterator[RunningStack]:
    """The stack. After the test, it must be healthy, with the same processes and without an error in its log."""
    log_length, pids_before = len(quick_stack.log), pids(quick_stack)
    yield quick_stack
    assert httpx.get(f"{quick_stack.url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{quick_stack.gateway}/health").json() == {"status": "ok"}
    assert not [line for line in quick_stack.log[log_length:] if "Traceback" in line or '"level":"ERROR"' in line]
    assert pids_before <= pids(quick_stack)


def pids(stack: RunningStack) -> set[int]:
    return {environment["pid"] for name in FUNCTIONS.values() for environment in stack.environments(name)}


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_random_bytes_get_no_server_error(stack: RunningStack, entry_point: str) -> None:
    send_many(getattr(stack, entry_point), number=30, start=3)


@pytest.mark.long
@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_many_random_bytes_get_no_server_error(stack: RunningStack, entry_point: str) -> None:
    send_many(getattr(stack, entry_point), number=150, start=4)


def send_many(url: str, *, number: int, start: int) -> None:
    address = urlsplit(url)

    @seed(start)
    @settings(max_examples=number, suppress_health_check=list(HealthCheck))
    @given(raw_requests(address.path.encode()))
    def run(data: bytes) -> None:
        with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: connection.recv(65536), b""))
            except ConnectionError:
                return  # a server may close the connection if the bytes are no request
        status = int(answer[9:12] or 0)
        assert status < 500 or status == 501, answer  # 501: unknown transfer coding

    run()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_random_events_cause_no_function_error(stack: RunningStack, name: str) -> None:
    invoke_many(stack, name, number=40, start=5)


@pytest.mark.long
@pytest.mark.parametrize("name", FUNCTIONS)
def test_many_random_events_cause_no_function_error(stack: RunningStack, name: str) -> None:
    invoke_many(stack, name, number=200, start=6)


def invoke_many(stack: RunningStack, name: str, *, number: int, start: int) -> None:
    url = f"{stack.demo}/2015-03-31/functions/{FUNCTIONS[name]}/invocations"

    @seed(start)
    @settings(max_examples=number, suppress_health_check=list(HealthCheck))
    @given(payloads(name, with_tasks=False))
    def run(payload: Payload) -> None:
        answer = invoke_api.post(url, content=payload.json.encode())
        if answer.status_code != 200:
            assert answer.headers["x-amzn-errortype"] == "InvalidRequestContentException"
            return
        assert "x-amz-function-error" not in answer.headers, answer.text
        assert status_of(answer) < 500, answer.text

    with httpx.Client(timeout=20) as invoke_api:
        run()


def status_of(answer: httpx.Response) -> int:
    """Returns the HTTP status in the function's response.

    The Invoke API shows no status for a streamed response: 500 if its body is an internal error, 200 otherwise.
    """
    try:
        body: Any = answer.json()
    except json.JSONDecodeError:
        return 200
    if "statusCode" in body:
        return int(body["statusCode"])
    return 500 if body.get("error", {}).get("code") == "internal" else 200
