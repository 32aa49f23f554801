"""States and refusals of the Runtime API, with single requests."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx
import pytest

from local_stack.lambda_service.invocation import Failure, Invocation, Result, Stream, StreamBroken
from local_stack.lambda_service.runtime_api import (
    RESULT_LIMIT,
    STREAM_BURST,
    STREAM_RATE,
    RuntimeApi,
    State,
    TokenBucket,
)

pytestmark = pytest.mark.anyio
STREAMING = {"Lambda-Runtime-Function-Response-Mode": "streaming"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class Runtime:
    """A client in the role of the function's runtime: gets invocations and posts responses."""

    api: RuntimeApi
    client: httpx.AsyncClient
    polled: asyncio.Event

    async def take(self, payload: bytes = b"{}") -> Invocation:
        """Polls for an invocation and dispatches one. Returns it."""
        self.polled.clear()
        polling = asyncio.create_task(self.client.get("/invocation/next"))
        await self.polled.wait()
        invocation = Invocation(payload, "arn", 12.5)
        self.api.dispatch(invocation)
        self.next_response = await polling
        return invocation

    async def post(self, invocation_id: str, kind: str = "response", **request: object) -> httpx.Response:
        return await self.client.post(f"/invocation/{invocation_id}/{kind}", **request)  # type: ignore[arg-type]  # arguments of httpx


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    polled = asyncio.Event()
    api = RuntimeApi(polled.set)
    address = await api.start()
    async with httpx.AsyncClient(base_url=f"http://{address}/2018-06-01/runtime", timeout=10) as client:
        yield Runtime(api, client, polled)
    api.close()


async def test_next_returns_the_invocation(runtime: Runtime) -> None:
    invocation = await runtime.take(b'{"a": 1}')
    assert runtime.next_response.json() == {"a": 1}
    headers = runtime.next_response.headers
    assert headers["lambda-runtime-aws-request-id"] == invocation.request_id
    assert headers["lambda-runtime-deadline-ms"] == "12500"
    assert headers["lambda-runtime-invoked-function-arn"] == "arn"
    assert headers["lambda-runtime-trace-id"].startswith("Root=1-")
    assert headers["lambda-runtime-invocation-id"] == invocation.invocation_id


async def test_a_result_is_accepted_once(runtime: Runtime) -> None:
    invocation = await runtime.take()
    answer = await runtime.post(invocation.request_id, content=b"[1]")
    assert (answer.status_code, answer.json()) == (202, {"status": "OK"})
    assert await invocation.answer == Result(b"[1]")
    assert (await runtime.post(invocation.request_id, content=b"[2]")).status_code == 400
    assert (await runtime.post(invocation.request_id, "error", content=b"{}")).status_code == 400


async def test_an_error_is_a_failure(runtime: Runtime) -> None:
    invocation = await runtime.take()
    headers = {"Lambda-Runtime-Function-Error-Type": "Function.Broke"}
    assert (await runtime.post(invocation.request_id, "error", content=b"{}", headers=headers)).status_code == 202
    assert await invocation.answer == Failure("Function.Broke", b"{}")


async def test_a_stream_is_acknowledged_after_its_last_chunk(runtime: Runtime) -> None:
    invocation = await runtime.take()
    release = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"one"
        await release.wait()
        yield b"two"

    posting = asyncio.create_task(runtime.post(invocation.request_id, content=body(), headers=STREAMING))
    stream = await invocation.answer
    assert isinstance(stream, Stream)
    chunks = stream.chunks()
    assert await anext(chunks) == b"one"
    refused = await runtime.post(invocation.request_id, "error", content=b"{}")
    assert refused.status_code == 403, "an error cannot be reported during the stream"
    assert not posting.done()
    release.set()
    assert await anext(chunks) == b"two"
    assert (await posting).status_code == 202
    assert [chunk async for chunk in chunks] == []
    assert runtime.api.state is State.ANSWERED


@pytest.mark.parametrize(
    ("request_id", "headers", "status"),
    [
        pytest.param("other", {}, 400, id="unknown request id"),
        pytest.param("", {"Lambda-Runtime-Function-Response-Mode": "fast"}, 400, id="unknown mode"),
        pytest.param("", {"Lambda-Runtime-Invocation-Id": "other"}, 400, id="another invocation's id"),
    ],
)
async def test_a_refused_response_keeps_the_invocation_open(
    runtime: Runtime, request_id: str, headers: dict[str, str], status: int
) -> None:
    invocation = await runtime.take()
    refused = await runtime.post(request_id or invocation.request_id, content=b"1", headers=headers)
    assert refused.status_code == status
    assert not invocation.answer.done()
    assert (await runtime.post(invocation.request_id, content=b"1")).status_code == 202


async def test_next_is_refused_before_the_response(runtime: Runtime) -> None:
    await runtime.take()
    assert (await runtime.client.get("/invocation/next")).status_code == 403


async def test_a_result_over_the_limit_is_413_and_a_failure(runtime: Runtime) -> None:
    invocation = await runtime.take()
    assert (await runtime.post(invocation.request_id, content=b"x" * (RESULT_LIMIT + 1))).status_code == 413
    answer = await invocation.answer
    assert isinstance(answer, Failure)
    assert answer.error_type == "Function.ResponseSizeTooLarge"


@pytest.mark.parametrize(
    "body", [base64.b64encode(b'{"errorMessage": "x"}').decode(), "%%%"], ids=["base64", "not base64"]
)
async def test_trailers_break_the_stream(runtime: Runtime, body: str) -> None:
    invocation = await runtime.take()
    port = runtime.client.base_url.port
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST /2018-06-01/runtime/invocation/{invocation.request_id}/response HTTP/1.1\r\nHost: x\r\n"
        "Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
        "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n"
        "4\r\nhalf\r\n0\r\nLambda-Runtime-Function-Error-Type: Function.Broke\r\n"
        f"Lambda-Runtime-Function-Error-Body: {body}\r\n\r\n".encode()
    )
    assert b"202" in await reader.readline()
    writer.close()
    stream = await invocation.answer
    assert isinstance(stream, Stream)
    chunks = stream.chunks()
    assert await anext(chunks) == b"half"
    with pytest.raises(StreamBroken) as broken:
        await anext(chunks)
    assert broken.value.failure.error_type == "Function.Broke"
    assert "errorMessage" in json.loads(broken.value.failure.payload)


async def test_init_errors_and_restore_are_accepted_only_before_the_first_invocation(runtime: Runtime) -> None:
    assert (await runtime.client.get("/restore/next")).status_code == 200
    headers = {"Lambda-Runtime-Function-Error-Type": "Runtime.ImportModuleError"}
    assert (await runtime.client.post("/init/error", content=b"{}", headers=headers)).status_code == 202
    assert runtime.api.init_failure == Failure("Runtime.ImportModuleError", b"{}")
    await runtime.take()
    assert (await runtime.client.post("/init/error", content=b"{}")).status_code == 403


def test_a_stream_is_limited_to_2_mb_a_second_after_6_mb() -> None:
    bucket = TokenBucket(0)
    assert bucket.delay(STREAM_BURST, 0) == 0
    assert bucket.delay(STREAM_RATE, 0) == 1
    assert bucket.delay(STREAM_RATE, 1) == 1
    assert bucket.delay(STREAM_RATE, 10) == 0
