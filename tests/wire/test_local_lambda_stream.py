"""Streamed responses of the Function URL, from real processes over real sockets."""

import asyncio
import json
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.wire.lambda_entry_points import EntryPoints, entry_points, eventually

Steps = list[list[Any]]
pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def post(url: str, steps: Steps, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.post(url, json=steps, headers=headers)


async def raw(url: str, steps: Steps) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Sends a request, and does not read the response. The receive buffer is small."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    client.connect(("127.0.0.1", urlsplit(url).port))
    reader, writer = await asyncio.open_connection(sock=client)
    body = json.dumps(steps).encode()
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    return reader, writer


async def pid(system: EntryPoints) -> str:
    answer = await post(system.url, [["prelude"], ["send", "x"], ["end"]])
    return answer.headers["x-pid"]


async def test_each_chunk_arrives_before_the_next_is_sent(tmp_path: Path) -> None:
    """The function sends the next chunk only after the client has received the previous one."""
    steps: Steps = [["prelude"]]
    for number in range(10):
        steps += [["send", f"chunk {number};"], ["wait", str(tmp_path / str(number))]]
    received: list[str] = []
    async with (
        entry_points() as system,
        httpx.AsyncClient(timeout=30) as client,
        client.stream("POST", system.url, json=[*steps, ["end"]]) as answer,
    ):
        async for chunk in answer.aiter_raw():
            (tmp_path / str(len(received))).touch()
            received.append(chunk.decode())
    assert received == [f"chunk {number};" for number in range(10)]


async def test_a_stream_sent_byte_by_byte_is_reassembled() -> None:
    prelude = json.dumps({"statusCode": 201, "headers": {"x-own": "yes"}, "cookies": ["a=1", "b=2"]}) + "\0" * 8
    text = "data: 👋 Grüße\n\n".encode()
    async with entry_points() as system:
        answer = await post(system.url, [["bytewise", prelude + text.decode("latin-1")], ["end"]])
    assert answer.status_code == 201
    assert answer.headers["x-own"] == "yes"
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.content == text


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(["trailers", "Function.Broke", "e30="], id="error in the trailers"),
        pytest.param(["cut"], id="connection cut by the runtime"),
    ],
)
async def test_a_broken_stream_is_closed_and_the_environment_is_reused(end: list[str]) -> None:
    async with entry_points() as system:
        before = await pid(system)
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            await post(system.url, [["prelude"], ["send", "half"], end])
        assert await pid(system) == before


@pytest.mark.parametrize(
    "sent", [[], [["prelude"], ["send", "half"]]], ids=["before the response", "during the response"]
)
async def test_a_crashed_environment_is_replaced(sent: Steps) -> None:
    async with entry_points() as system:
        before = await pid(system)
        try:
            answer = await post(system.url, [*sent, ["exit"]])
            assert (answer.status_code, answer.text) == (502, "Internal Server Error")
        except httpx.RemoteProtocolError:
            assert sent
        assert await pid(system) != before


@pytest.mark.parametrize(
    "sent", [[], [["prelude"], ["send", "half"]]], ids=["before the response", "during the response"]
)
async def test_an_environment_is_killed_at_the_deadline(
    sent: Steps, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    never = str(tmp_path / "never")
    async with entry_points(timeout=1) as system:
        before = await pid(system)
        try:
            answer = await post(system.url, [*sent, ["wait", never]])
            assert (answer.status_code, answer.text) == (502, "Internal Server Error")
        except httpx.RemoteProtocolError:
            assert sent
        assert await pid(system) != before
    assert re.search(r"\[Scripted\] RequestId: \S+ Error: Task timed out after 1.00 seconds", capfd.readouterr().err)


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([["prelude"], ["end"]], id="no payload"),
        pytest.param([["send", '{"statusCode": 200}'], ["end"]], id="prelude without an end"),
        pytest.param([["send", "not json" + "\0" * 8 + "x"], ["end"]], id="prelude that is not JSON"),
        pytest.param([["prelude", {"statusCode": 99}], ["send", "x"], ["end"]], id="invalid status"),
    ],
)
async def test_an_invalid_response_is_a_502(steps: Steps) -> None:
    async with entry_points() as system:
        assert (await post(system.url, steps)).status_code == 502


async def test_the_function_continues_after_the_client_disconnects(tmp_path: Path) -> None:
    disconnected, done = tmp_path / "disconnected", tmp_path / "done"
    steps: Steps = [
        ["prelude"],
        ["send", "x"],
        ["wait", str(disconnected)],
        ["flood", 100, 65536],
        ["end"],
        ["touch", str(done)],
    ]
    async with entry_points() as system:
        before = await pid(system)
        await eventually(lambda: not system.pools["Scripted"]._busy)  # or the next request starts another one
        reader, writer = await raw(system.url, steps)
        await reader.readuntil(b"x\r\n")
        writer.transport.abort()
        disconnected.touch()
        await eventually(done.exists)
        await eventually(lambda: not system.pools["Scripted"]._busy)
        assert await pid(system) == before


async def test_a_client_that_stops_reading_does_not_delay_the_function(tmp_path: Path) -> None:
    done = tmp_path / "done"
    steps: Steps = [["prelude"], ["flood", 100, 60_000], ["end"], ["touch", str(done)]]
    async with entry_points() as system:
        reader, writer = await raw(system.url, steps)
        await eventually(done.exists)
        size = len(await reader.readuntil(b"\r\n\r\n"))
        while size < 6_000_000:
            size += len(await reader.read(1_000_000))
        writer.close()


async def test_fifty_concurrent_streams_are_complete_and_in_order(tmp_path: Path) -> None:
    release = str(tmp_path / "release")

    def steps(number: int) -> Steps:
        return [["prelude"], ["wait", release], *[["send", f"{number}.{part};"] for part in range(20)], ["end"]]

    async with entry_points() as system:
        await system.pools["Scripted"].prewarm(50)
        answers = asyncio.gather(*(post(system.url, steps(number)) for number in range(50)))
        await eventually(
            lambda: sum(environment.invocations for environment in system.pools["Scripted"].environments) == 50
        )
        Path(release).touch()
        for number, answer in enumerate(await answers):
            assert answer.text == "".join(f"{number}.{part};" for part in range(20))
        assert len(system.pools["Scripted"].environments) == 50


async def test_a_request_over_the_reserved_concurrency_is_a_429_with_cors(tmp_path: Path) -> None:
    release = tmp_path / "release"
    steps: Steps = [["prelude"], ["send", "x"], ["wait", str(release)], ["end"]]
    async with entry_points(reserved_concurrency=1) as system:
        reader, writer = await raw(system.url, steps)
        await reader.readuntil(b"x\r\n")
        refused = await post(system.url, steps, origin="http://page")
        release.touch()
        await reader.readuntil(b"0\r\n\r\n")
        writer.close()
    assert refused.status_code == 429
    assert refused.json()["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert refused.headers["access-control-allow-origin"] == "http://page"


async def test_the_most_recently_used_environment_is_reused(tmp_path: Path) -> None:
    async with entry_points() as system:
        await system.pools["Scripted"].prewarm(3)
        used = {await pid(system) for _ in range(5)}
    assert len(used) == 1


async def test_an_environment_is_frozen_between_invocations() -> None:
    async with entry_points() as system:
        before = await pid(system)
        status = Path(f"/proc/{before}/stat")
        if status.exists():
            await eventually(lambda: status.read_text().split()[2] == "T")
        assert await pid(system) == before
        system.pools["Scripted"].set_freezing(on=False)  # to check an idle environment that is not frozen
        assert await pid(system) == before
        if status.exists():
            assert status.read_text().split()[2] != "T"


async def test_cors_headers_are_those_of_the_configuration() -> None:
    preflight_headers = {"origin": "http://page", "access-control-request-method": "POST"}
    prelude = {"statusCode": 200, "headers": {"access-control-allow-origin": "http://mine"}}
    async with entry_points() as system, httpx.AsyncClient(timeout=30) as client:
        preflight = await client.options(system.url, headers=preflight_headers)
        assert system.pools["Scripted"].environments == []
        other_origin = await client.options(system.url, headers={**preflight_headers, "origin": "http://other"})
        plain = await post(system.url, [["prelude"], ["send", "x"], ["end"]], origin="http://page")
        duplicate = await post(system.url, [["prelude", prelude], ["send", "x"], ["end"]], origin="http://page")
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "http://page"
    assert preflight.headers["access-control-allow-headers"] == "content-type,x-dev-user"
    assert preflight.headers["access-control-allow-methods"] == "POST"
    assert preflight.headers["access-control-max-age"] == "60"
    assert "access-control-allow-origin" not in other_origin.headers
    assert plain.headers.get_list("access-control-allow-origin") == ["http://page"]
    assert plain.headers["access-control-expose-headers"] == "x-request-id"
    assert duplicate.headers.get_list("access-control-allow-origin") == ["http://mine", "http://page"], (
        "both values, as on Lambda"
    )


async def test_a_request_over_6_mb_is_refused() -> None:
    async with entry_points() as system, httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(system.url, content=b"x" * (6 * 1024 * 1024 + 1))
    assert answer.status_code == 413


async def test_a_rest_api_streams_with_event_format_1() -> None:
    prelude = {"statusCode": 202, "headers": {"x-single": "1"}, "multiValueHeaders": {"x-many": ["a", "b"]}}
    preflight = {"origin": "http://page", "access-control-request-method": "POST"}
    async with entry_points() as system, httpx.AsyncClient(timeout=30) as client:
        answer = await post(f"{system.rest}/a/b?q=1&q=2", [["prelude", prelude], ["event"], ["end"]])
        mock = await client.options(f"{system.rest}/a", headers=preflight)
        wrong_stage = await post(system.rest.replace("/live", "/other/a"), [])
        failed = await post(f"{system.rest}/a", [["exit"]])
    assert answer.status_code == 202
    assert answer.headers["x-single"] == "1"
    assert answer.headers.get_list("x-many") == ["a", "b"]
    event = answer.json()
    assert event["resource"] == "/{proxy+}"
    assert event["path"] == "/a/b"
    assert event["pathParameters"] == {"proxy": "a/b"}
    assert event["multiValueQueryStringParameters"] == {"q": ["1", "2"]}
    assert event["queryStringParameters"] == {"q": "2"}
    assert event["requestContext"]["path"] == "/live/a/b"
    assert event["requestContext"]["stage"] == "live"
    assert "lambda-url" not in event["requestContext"]["domainName"]
    assert mock.status_code == 204
    assert mock.headers["access-control-allow-origin"] == "http://page"
    assert wrong_stage.status_code == 403
    assert failed.status_code == 502
    for refused in (wrong_stage, failed):  # responses of the gateway itself
        assert refused.headers["access-control-allow-origin"] == "http://page"
    assert "access-control-allow-origin" not in answer.headers, "the function sets its own CORS headers"
