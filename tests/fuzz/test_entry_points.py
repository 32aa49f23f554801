"""Whatever bytes come to a door and whatever events to Lambda's API, real processes answer them and stay well."""

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import HealthCheck, given, seed, settings

from tests.fuzz.events import Payload, payloads, wires
from tests.stack import RunningStack

pytestmark = pytest.mark.xdist_group("fuzz")
DOORS = ["url", "gateway", "rest", "host"]
FUNCTIONS = {"stream": "StreamFunction", "converse": "ConverseFunction"}


@pytest.fixture
def stack(quick_stack: RunningStack) -> Iterator[RunningStack]:
    """The same, if it is as well afterwards as before."""
    told, alive = len(quick_stack.log), pids(quick_stack)
    yield quick_stack
    assert httpx.get(f"{quick_stack.url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{quick_stack.gateway}/health").json() == {"status": "ok"}
    assert not [line for line in quick_stack.log[told:] if "Traceback" in line or '"level":"ERROR"' in line]
    assert alive <= pids(quick_stack)


def pids(stack: RunningStack) -> set[int]:
    return {each["pid"] for name in FUNCTIONS.values() for each in stack.environments(name)}


@pytest.mark.parametrize("door", DOORS)
def test_some_bytes_at_a_door(stack: RunningStack, door: str) -> None:
    send_many(getattr(stack, door), number=30, start=3)


@pytest.mark.long
@pytest.mark.parametrize("door", DOORS)
def test_many_bytes_at_a_door(stack: RunningStack, door: str) -> None:
    send_many(getattr(stack, door), number=150, start=4)


def send_many(door: str, *, number: int, start: int) -> None:
    place = urlsplit(door)

    @seed(start)
    @settings(max_examples=number, suppress_health_check=list(HealthCheck))
    @given(wires(place.path.encode()))
    def run(wire: bytes) -> None:
        with socket.create_connection((place.hostname, place.port), timeout=20) as peer:
            try:
                peer.sendall(wire)
                peer.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: peer.recv(65536), b""))
            except ConnectionError:
                return  # it may hang up on what is no request
        status = int(answer[9:12] or 0)
        assert status < 500 or status == 501, answer  # 501: the door itself, of a transfer coding

    run()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_some_events_at_the_runtime(stack: RunningStack, name: str) -> None:
    invoke_many(stack, name, number=40, start=5)


@pytest.mark.long
@pytest.mark.parametrize("name", FUNCTIONS)
def test_many_events_at_the_runtime(stack: RunningStack, name: str) -> None:
    invoke_many(stack, name, number=200, start=6)


def invoke_many(stack: RunningStack, name: str, *, number: int, start: int) -> None:
    url = f"{stack.demo}/2015-03-31/functions/{FUNCTIONS[name]}/invocations"

    @seed(start)
    @settings(max_examples=number, suppress_health_check=list(HealthCheck))
    @given(payloads(name, with_tasks=False))
    def run(payload: Payload) -> None:
        answer = lambda_api.post(url, content=payload.json.encode())
        if answer.status_code != 200:
            assert answer.headers["x-amzn-errortype"] == "InvalidRequestContentException"
            return
        assert "x-amz-function-error" not in answer.headers, answer.text
        assert status_of(answer) < 500, answer.text

    with httpx.Client(timeout=20) as lambda_api:
        run()


def status_of(answer: httpx.Response) -> int:
    """A Function URL's events are answered by a stream, whose status the API does not show; its errors are shown."""
    try:
        said: Any = answer.json()
    except json.JSONDecodeError:
        return 200
    if "statusCode" in said:
        return int(said["statusCode"])
    return 500 if said.get("error", {}).get("code") == "internal" else 200
