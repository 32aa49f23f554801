"""The streaming runtime with AWS's Runtime API, in the Runtime Interface Emulator.

The emulator returns a streamed response as one body with its prelude: these tests check the contract, not the timing.
"""

import http.client
import json
import shlex
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wire.runtime_api import WAIT_SECONDS, Runtime

pytestmark = pytest.mark.xdist_group("emulator")  # one emulator for all tests

URL = {"version": "2.0", "requestContext": {"domainName": "abc.lambda-url.us-east-1.on.aws"}}
HANDLER = """
from streaming_runtime import StreamingResponse

def body(event):
    for _ in range(event.get("chunks", 1)):
        yield event["chunk"].encode()
    if event.get("break"):
        raise ValueError("secret")

def handler(event, context):
    if event.get("fail"):
        raise ValueError("secret")
    return StreamingResponse(body(event), 201, {"content-type": "text/plain"}, cookies=["a=1"])
"""

Invoke = Callable[[object], bytes]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def invoke(emulator_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Invoke]:
    port, api = free_port(), free_port()
    runtime = Runtime(tmp_path_factory.mktemp("emulator"), HANDLER, {})
    runtime.command = [
        str(emulator_binary),
        *("--runtime-interface-emulator-address", f"127.0.0.1:{port}"),
        *("--runtime-api-address", f"127.0.0.1:{api}"),
        *("/bin/sh", "-c", shlex.join(runtime.command)),
        "app.handler",  # the emulator passes the handler on as the last argument, Lambda does not
    ]

    def call(event: object) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_SECONDS)
        connection.request("POST", "/2015-03-31/functions/function/invocations", json.dumps(event))
        answer = connection.getresponse().read()
        connection.close()
        return answer

    with runtime.running(f"127.0.0.1:{api}") as process:
        deadline = time.monotonic() + WAIT_SECONDS
        while not listens(port):
            assert process.poll() is None, runtime.log
            assert time.monotonic() < deadline, runtime.log
            time.sleep(0.05)
        yield call


def split(answer: bytes) -> tuple[dict[str, object], bytes]:
    prelude, payload = answer.split(bytes(8), 1)
    return json.loads(prelude), payload


def test_a_url_event_is_streamed(invoke: Invoke) -> None:
    prelude, payload = split(invoke(URL | {"chunk": "né 🌊", "chunks": 3}))
    assert prelude == {"statusCode": 201, "headers": {"content-type": "text/plain"}, "cookies": ["a=1"]}
    assert payload.decode() == "né 🌊" * 3


def test_an_empty_body_is_one_newline(invoke: Invoke) -> None:
    assert split(invoke(URL | {"chunk": ""}))[1] == b"\n"


def test_a_large_body_is_complete(invoke: Invoke) -> None:
    _, payload = split(invoke(URL | {"chunk": "x" * 1024, "chunks": 5 * 1024}))
    assert payload == b"x" * 5 * 1024 * 1024


def test_another_event_is_buffered(invoke: Invoke) -> None:
    answer = json.loads(invoke({"chunk": "né 🌊"}))
    assert (answer["statusCode"], answer["body"], answer["isBase64Encoded"]) == (201, "né 🌊", False)


def test_an_error_before_the_first_chunk_is_a_500(invoke: Invoke) -> None:
    prelude, payload = split(invoke(URL | {"fail": True}))
    assert prelude["statusCode"] == 500
    assert json.loads(payload)["error"]["code"] == "internal"


def test_an_error_after_the_first_chunk_ends_the_stream_and_the_next_event_succeeds(invoke: Invoke) -> None:
    assert split(invoke(URL | {"chunk": "so far", "break": True}))[1] == b"so far"
    assert split(invoke(URL | {"chunk": "again"}))[1] == b"again"


def test_an_error_of_a_direct_invocation_has_its_type(invoke: Invoke) -> None:
    assert json.loads(invoke({"fail": True}))["errorType"] == "ValueError"
