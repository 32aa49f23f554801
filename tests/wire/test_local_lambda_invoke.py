"""Buffered responses of the HTTP API, the Invoke API with boto3, and the execution environment."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local_stack.intrinsics import TemplateError
from local_stack.lambda_service.concurrency import allocate
from local_stack.template import read
from tests.wire.lambda_entry_points import SYSTEM, EntryPoints, entry_points, eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def system() -> AsyncIterator[EntryPoints]:
    async with entry_points() as running:
        yield running


async def get(url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.get(url, headers=headers)


def invoker(system: EntryPoints, function: str = "Plain") -> Callable[..., Any]:
    """Returns boto3's Invoke in a thread: `await call(payload dict, InvocationType=...)`."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 1})
    client: Any = boto3.client("lambda", region_name="us-east-1", endpoint_url=system.invoke, config=config)

    async def call(payload: Any, **options: Any) -> Any:
        invoke = partial(client.invoke, FunctionName=function, Payload=json.dumps(payload), **options)
        answer = await asyncio.to_thread(invoke)
        return answer, answer["Payload"].read()

    return call


async def test_an_http_api_request_has_event_format_2(system: EntryPoints) -> None:
    answer = await get(f"{system.gateway}/things/a%20b?q=1&q=2", origin="http://page", cookie="c=1; d=2")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert answer.headers["x-own"] == "yes"
    assert answer.headers.get_list("access-control-allow-origin") == ["http://page"], (
        "the header of the gateway, not of the function"
    )
    event = answer.json()["event"]
    assert event["version"] == "2.0"
    assert event["routeKey"] == "GET /things/{id}"
    assert event["pathParameters"] == {"id": "a b"}
    assert event["queryStringParameters"] == {"q": "1,2"}
    assert event["cookies"] == ["c=1", "d=2"]
    assert "cookie" not in event["headers"]
    assert "body" not in event
    assert event["requestContext"]["domainName"] == "local.execute-api.us-east-1.amazonaws.com"


@pytest.mark.parametrize("path", ["/things", "/things/1/2", "/other"])
async def test_a_path_without_a_route_is_404(system: EntryPoints, path: str) -> None:
    answer = await get(system.gateway + path)
    assert (answer.status_code, answer.json()) == (404, {"message": "Not Found"})


async def test_a_preflight_is_answered_by_the_gateway_without_the_function(system: EntryPoints) -> None:
    headers = {"origin": "http://page", "access-control-request-method": "GET"}
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.options(f"{system.gateway}/things/1", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-methods"] == "GET"
    assert system.pools["Plain"].environments == []


async def test_a_preflight_invokes_the_function_of_a_matching_route(system: EntryPoints) -> None:
    """https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html"""
    headers = {"origin": "http://page", "access-control-request-method": "GET"}
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.options(f"{system.gateway}/do/it", headers=headers)
    assert answer.status_code == 200
    assert answer.json()["event"]["routeKey"] == "ANY /do/{what+}"
    assert answer.headers.get_list("access-control-allow-origin") == ["http://page"]


async def test_the_gateway_times_out_and_the_function_continues(tmp_path: Path) -> None:
    started, done = tmp_path / "started", tmp_path / "done"
    async with entry_points(gateway_seconds=0.5) as system:
        await system.pools["Plain"].prewarm(1)
        answer = await get(f"{system.gateway}/do/it?touch={started}&sleep=1&touchAfter={done}")
        assert (answer.status_code, answer.json()) == (503, {"message": "Service Unavailable"})
        await eventually(started.exists)
        await eventually(done.exists)


@pytest.mark.parametrize("query", ["fail=x", "exit=1", "size=6500000"])
async def test_a_failed_function_is_a_500(system: EntryPoints, query: str) -> None:
    answer = await get(f"{system.gateway}/do/it?{query}")
    assert (answer.status_code, answer.json()) == (500, {"message": "Internal Server Error"})


async def test_an_environment_has_lambdas_variables_and_context(
    system: EntryPoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "secret")
    call = invoker(system)
    _, first = await call({"hello": "world"})
    answer, second = await call({})
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    one, two = json.loads(first), json.loads(second)
    assert one["event"] == {"hello": "world"}
    assert (two["pid"], two["calls"]) == (one["pid"], 2), "a warm environment"
    assert one["arn"] == "arn:aws:lambda:us-east-1:000000000000:function:Plain"
    assert 20_000 < one["remaining"] <= 30_000
    environment = one["environment"]
    opt = environment["WHERE"].partition(":")[2]
    assert environment["WHERE"] == f"{opt}/data:{opt}"
    assert Path(opt).is_absolute()
    assert environment["AWS_LAMBDA_FUNCTION_NAME"] == "Plain"
    assert environment["LAMBDA_TASK_ROOT"] == str(SYSTEM / "plain")
    assert environment["AUTH_MODE"] == "dev"
    assert environment["AWS_ENDPOINT_URL_LAMBDA"] == "http://lambda"
    assert "AWS_BEARER_TOKEN_BEDROCK" not in environment
    assert "VIRTUAL_ENV" not in environment


async def test_a_failed_invocation_has_a_function_error(system: EntryPoints) -> None:
    call = invoker(system)
    answer, payload = await call({"fail": "on purpose"})
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(payload)["errorMessage"] == "on purpose"
    answer, payload = await call({"exit": 7})
    assert answer["FunctionError"] == "Unhandled"
    assert json.loads(payload)["errorType"] == "Runtime.ExitError"


async def test_an_event_that_fails_three_times_becomes_a_dead_letter(system: EntryPoints, tmp_path: Path) -> None:
    attempts = tmp_path / "attempts"
    payload = {"touch": str(attempts), "fail": "on purpose"}
    answer, _ = await invoker(system)(payload, InvocationType="Event")
    assert answer["StatusCode"] == 202
    await eventually(lambda: bool(system.invoke_api.dead_letters))
    [letter] = system.invoke_api.dead_letters
    assert attempts.read_text() == "xxx"
    assert (letter.queue, letter.function) == ("Letters", "Plain")
    record = json.loads(letter.body)
    assert record.keys() == {
        *("version", "timestamp", "requestContext", "requestPayload"),
        *("responseContext", "responsePayload"),
    }
    assert record["requestPayload"] == payload
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responseContext"]["functionError"] == "Unhandled"
    assert record["responsePayload"]["errorMessage"] == "on purpose"


async def test_an_event_that_succeeds_runs_once(system: EntryPoints, tmp_path: Path) -> None:
    attempts = tmp_path / "attempts"
    await invoker(system)({"touch": str(attempts)}, InvocationType="Event")
    await eventually(attempts.exists)
    await invoker(system)({})
    assert attempts.read_text() == "x"
    assert system.invoke_api.dead_letters == []


async def test_throttles_do_not_use_up_the_attempts_of_an_event(tmp_path: Path) -> None:
    started, attempts = tmp_path / "started", tmp_path / "attempts"
    async with entry_points(reserved_concurrency=1) as system:
        call = invoker(system)
        running = asyncio.create_task(call({"touch": str(started), "sleep": 1}))
        await eventually(started.exists)
        await call({"touch": str(attempts), "fail": "on purpose"}, InvocationType="Event")
        await running
        await eventually(lambda: bool(system.invoke_api.dead_letters))
    assert attempts.read_text() == "xxx"
    [letter] = system.invoke_api.dead_letters
    assert json.loads(letter.body)["requestContext"]["condition"] == "RetriesExhausted"


async def test_an_event_throttled_beyond_its_age_becomes_a_dead_letter(tmp_path: Path) -> None:
    async with entry_points(reserved_concurrency=0, event_age=1) as system:
        await invoker(system)({"touch": str(tmp_path / "never")}, InvocationType="Event")
        await eventually(lambda: bool(system.invoke_api.dead_letters))
    [letter] = system.invoke_api.dead_letters
    context = json.loads(letter.body)["requestContext"]
    assert (context["condition"], context["approximateInvokeCount"]) == ("EventAgeExceeded", 0)


async def test_an_event_may_be_delivered_twice(system: EntryPoints, tmp_path: Path) -> None:
    attempts = tmp_path / "attempts"
    system.invoke_api.delivers_twice = True
    await invoker(system)({"touch": str(attempts)}, InvocationType="Event")
    await eventually(lambda: attempts.exists() and attempts.read_text() == "xx")


async def test_an_asynchronous_event_is_at_most_1_mb(system: EntryPoints) -> None:
    call, large = invoker(system), {"large": "x" * 1024 * 1024}
    with pytest.raises(ClientError, match="RequestTooLarge"):
        await call(large, InvocationType="Event")
    answer, _ = await call(large)
    assert answer["StatusCode"] == 200


async def test_functions_share_the_concurrency_of_the_account(tmp_path: Path) -> None:
    started, release = tmp_path / "started", tmp_path / "release"
    steps = json.dumps([["prelude"], ["send", "x"], ["touch", str(started)], ["wait", str(release)], ["end"]])
    async with entry_points(account=1) as system, httpx.AsyncClient(timeout=30) as client:
        stream = asyncio.create_task(client.post(system.url, content=steps, headers={"content-type": "text/plain"}))
        await eventually(started.exists)
        plain, rest = await get(f"{system.gateway}/do/it"), await get(f"{system.rest}/a")
        release.touch()
        await stream
        later = await get(f"{system.gateway}/do/it")
    assert (plain.status_code, plain.json()) == (503, {"message": "Service Unavailable"})
    assert (rest.status_code, rest.json()) == (500, {"message": "Internal server error"})
    assert later.status_code == 200


@pytest.mark.parametrize(
    ("reserved", "account", "limits"), [(None, 10, (10, 10)), (30, 200, (30, 170)), (0, 10, (0, 10))]
)
def test_reservations_reduce_the_concurrency_of_the_account(
    reserved: int | None, account: int, limits: tuple[int, int]
) -> None:
    stream = replace(read(SYSTEM / "template.yaml").functions["Scripted"], reserved_concurrency=reserved)
    plain = read(SYSTEM / "template.yaml").functions["Plain"]
    concurrency = allocate([stream, plain], account)
    assert (concurrency["Scripted"].limit, concurrency["Plain"].limit) == limits


def test_a_reservation_must_leave_100_unreserved() -> None:
    stream = replace(read(SYSTEM / "template.yaml").functions["Scripted"], reserved_concurrency=101)
    with pytest.raises(TemplateError, match="UnreservedConcurrentExecution below its minimum value"):
        allocate([stream], 200)


async def test_an_unknown_function_and_a_throttled_one_are_refused(system: EntryPoints) -> None:
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        await invoker(system, "Other")({})
    async with entry_points(reserved_concurrency=0) as empty:
        with pytest.raises(ClientError, match="TooManyRequestsException"):
            await invoker(empty)({})


async def test_a_function_that_does_not_start_returns_its_error(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("raise RuntimeError('no start')")
    async with entry_points(code=tmp_path) as system:
        for _ in range(2):
            answer, payload = await invoker(system)({})
            assert answer["FunctionError"] == "Unhandled"
            assert "no start" in json.loads(payload)["errorMessage"]
        assert system.pools["Plain"].environments == []


async def test_a_killed_environment_is_replaced(system: EntryPoints, tmp_path: Path) -> None:
    started = tmp_path / "started"
    call = invoker(system)
    assert system.pools["Plain"].kill_busy() is None
    running = asyncio.create_task(call({"touch": str(started), "sleep": 30}))
    await eventually(started.exists)
    assert system.pools["Plain"].kill_busy()
    answer, payload = await running
    assert "SIGKILL" in json.loads(payload)["errorMessage"]
    answer, _ = await call({})
    assert "FunctionError" not in answer
