"""The web host in front of the other entry points, over real sockets."""

import json
from pathlib import Path

import httpx
import pytest

from local_stack.entry_points.distribution import Behavior
from tests.wire.lambda_entry_points import entry_points

pytestmark = pytest.mark.anyio

POLICY = {
    "content-security-policy": "default-src 'self'",
    "strict-transport-security": "max-age=60",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-own": "the policy's",
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/chat", "/chat", True),
        ("/chat", "/chat/", False),
        ("/chat", "/Chat", False),
        ("/chat/*", "/chat/", True),
        ("/chat/*", "/chat/a/b", True),
        ("/chat/*/cancel", "/chat/a/cancel", True),
        ("/chat/*/cancel", "/chat/cancel", False),
        ("/a?c", "/abc", True),
        ("/a?c", "/ac", False),
        ("/a.c", "/abc", False),
        ("/[ab]", "/a", False),
        ("*", "/", True),
    ],
)
def test_path_patterns_match_as_in_cloudfront(pattern: str, path: str, matches: bool) -> None:
    assert Behavior(pattern, "origin", frozenset(), ()).fits(path) == matches


async def test_the_first_matching_behavior_selects_the_origin() -> None:
    async with entry_points() as system, httpx.AsyncClient(base_url=system.host, timeout=30) as client:
        page = await client.get("/")
        api = await client.get("/things/abc")
        stream = await client.post("/things/abcd", json=[["prelude"], ["send", "streamed"], ["end"]])
        missing = await client.get("/nowhere")
        refused = [await client.post("/"), await client.post("/things/abc")]
    assert "<title>The page</title>" in page.text
    assert api.json()["event"]["routeKey"] == "GET /things/{id}"
    assert stream.text == "streamed"
    assert missing.status_code == 403  # the bucket policy does not allow listing
    assert {answer.status_code for answer in refused} == {403}


async def test_every_response_has_the_headers_of_the_policy_once() -> None:
    function_response = {"statusCode": 200, "headers": {"X-Own": "the function's", "Referrer-Policy": "unsafe-url"}}
    async with entry_points() as system, httpx.AsyncClient(base_url=system.host, timeout=30) as client:
        answers = [
            await client.get("/"),
            await client.get("/nowhere"),
            await client.post("/"),
            await client.get("/things/abc"),
            await client.post("/things", json=[["prelude", function_response], ["send", "x"], ["end"]]),
            await client.post("/things", json=[["exit"]]),
        ]
    assert [answer.status_code for answer in answers] == [200, 403, 403, 200, 200, 502]
    for answer in answers:
        assert {name: answer.headers.get_list(name) for name in POLICY} == {k: [v] for k, v in POLICY.items()}


def failing(status: int, **headers: str) -> list[list[object]]:
    """Returns the steps of a function that responds with this status and its event."""
    return [["prelude", {"statusCode": status, "headers": headers}], ["event"], ["end"]]


@pytest.mark.parametrize(
    ("status", "cache_control", "cached"),
    [
        (500, "no-store", True),
        (502, "no-store", True),
        (504, "no-store", True),
        (503, "no-store", False),  # the distribution caches it for 0 seconds
        (404, "no-store", False),
        (404, "max-age=0", True),
        (403, "no-store", False),
        (200, "no-store", False),
    ],
)
async def test_errors_of_get_requests_are_cached_by_path(status: int, cache_control: str, cached: bool) -> None:
    """The response has the request's headers, so it shows which request it answers."""
    steps = json.dumps(failing(status, **{"cache-control": cache_control}))
    async with entry_points() as system, httpx.AsyncClient(base_url=system.host, timeout=30) as client:
        first = await client.get("/things", params={"steps": steps}, headers={"x-viewer": "first"})
        second = await client.get("/things", params={"steps": steps}, headers={"x-viewer": "second"})
        posted = await client.post("/things", json=failing(status), headers={"x-viewer": "third"})
    assert (first.status_code, second.status_code, posted.status_code) == (status, status, status)
    assert first.json()["headers"]["x-viewer"] == "first"
    assert second.json()["headers"]["x-viewer"] == ("first" if cached else "second")
    assert posted.json()["headers"]["x-viewer"] == "third"


async def test_an_origin_timeout_is_a_504_or_closes_a_started_response(tmp_path: Path) -> None:
    release = tmp_path / "release"
    silence = ["wait", str(release)]
    pause = [["prelude"], ["send", "a"], ["pause", 1.2], ["send", "b"], ["pause", 1.2], ["send", "c"], ["end"]]
    async with entry_points() as system, httpx.AsyncClient(base_url=system.host, timeout=30) as client:
        silent = await client.post("/things", json=[silence])
        started = [["prelude"], ["send", "half"], silence]
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            await client.post("/things", json=started)
        slow = await client.post("/things", json=pause)
        release.touch()
    assert silent.status_code == 504
    assert slow.text == "abc"


async def test_requests_over_cloudfronts_limits_are_refused() -> None:
    async with entry_points() as system, httpx.AsyncClient(base_url=system.host, timeout=30) as client:
        answers = [
            await client.get(f"/things/abc?q={'x' * 8_000}"),
            await client.get(f"/things/abc?q={'x' * 8_192}"),
            await client.post("/things", json=[["prelude"], ["event"], ["end"]], headers={"x-long": "x" * 20_000}),
            await client.post("/things", json=[["prelude"], ["event"], ["end"]], headers={"x-long": "x" * 20_480}),
            await client.request("GET", "/", content=b"body"),
        ]
    assert [answer.status_code for answer in answers] == [200, 413, 200, 413, 403]


async def test_the_viewer_cannot_override_the_secret_and_its_address() -> None:
    forged = [("x-origin-secret", "guessed"), ("X-Viewer-Address", "1.2.3.4"), ("x-viewer-address", "5.6.7.8")]
    async with entry_points() as system, httpx.AsyncClient(base_url=system.host, timeout=30) as client:
        posted = await client.post("/things", json=[["prelude"], ["event"], ["end"]], headers=forged)
        without = await client.get("/things/abc", headers=[("x-other", "kept")])
    headers = posted.json()["headers"]
    assert headers["x-origin-secret"] == "known"
    assert headers["x-viewer-address"] == "127.0.0.1"
    headers = without.json()["event"]["headers"]
    assert "x-origin-secret" not in headers  # none is configured
    assert headers["x-other"] == "kept"


async def test_each_chunk_is_forwarded_before_the_next_is_sent(tmp_path: Path) -> None:
    steps: list[list[object]] = [["prelude"]]
    for number in range(10):
        steps += [["send", f"chunk {number};"], ["wait", str(tmp_path / str(number))]]
    received: list[str] = []
    async with (
        entry_points() as system,
        httpx.AsyncClient(timeout=30) as client,
        client.stream("POST", f"{system.host}/things", json=[*steps, ["end"]]) as answer,
    ):
        async for chunk in answer.aiter_raw():
            (tmp_path / str(len(received))).touch()
            received.append(chunk.decode())
    assert received == [f"chunk {number};" for number in range(10)]


async def test_a_burst_is_forwarded_completely_during_the_response(tmp_path: Path) -> None:
    """The function waits until the client has received every byte of the burst."""
    steps = [["prelude"], ["flood", 50, 60_000], ["wait", str(tmp_path / "all")], ["send", "end"], ["end"]]
    size = 0
    async with (
        entry_points() as system,
        httpx.AsyncClient(timeout=30) as client,
        client.stream("POST", f"{system.host}/things", json=steps) as answer,
    ):
        async for chunk in answer.aiter_raw():
            size += len(chunk)
            if size == 3_000_000:
                (tmp_path / "all").touch()
    assert size == 3_000_003
