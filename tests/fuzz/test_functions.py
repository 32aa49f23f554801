"""Random events to the functions: every response is valid and below 500, and a rejected event stores nothing."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from awslambdaric.lambda_runtime_exception import FaultException
from hypothesis import HealthCheck, given, seed, settings

from converse_stream.http.request import HttpRequest
from converse_stream.openapi.document import document
from converse_stream.protocol.errors import BadRequest
from tests.fuzz.bodies import CONVERSATION, ROUTES
from tests.fuzz.events import Payload, payloads
from tests.fuzz.functions import Functions, Name, functions
from tests.openapi.description import Answer, Description

NAMES: list[Name] = ["stream", "converse"]
DESCRIPTION = Description(document())


def request(method: str, path: str, body: Any = None) -> bytes:
    sent = {"headers": {"content-type": "application/json"}, "body": json.dumps(body)}
    return json.dumps({"rawPath": path, "requestContext": {"http": {"method": method}}, **sent}).encode()


@pytest.fixture(scope="module")
def both() -> Iterator[Functions]:
    """Both functions, with one conversation in the table."""
    with functions() as pair:
        hello = request("POST", "/chat", {"message": {"text": "Hello"}, "conversationId": CONVERSATION})
        assert pair.invoke("stream", hello)["statusCode"] == 200
        pair.keep()
        yield pair


def test_every_described_route_is_fuzzed() -> None:
    described = {(name, re.sub("{.*?}", "{}", route)) for name, route, _, _ in DESCRIPTION.outcomes}
    assert described == {(name, route) for name in NAMES for route, _ in ROUTES[name]}


@pytest.mark.parametrize("name", NAMES)
def test_random_events_get_valid_responses(both: Functions, name: Name) -> None:
    invoke_many(both, name, number=350, start=1)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_many_random_events_get_valid_responses(both: Functions, name: Name) -> None:
    invoke_many(both, name, number=4_300, start=2)


def invoke_many(both: Functions, name: Name, *, number: int, start: int) -> None:
    @seed(start)
    @settings(max_examples=number, suppress_health_check=list(HealthCheck))
    @given(payloads(name, with_tasks=name == "converse"))
    def run(payload: Payload) -> None:
        both.reset()
        before = both.stored
        if rejected(both, name, payload):
            assert both.stored == before

    run()


def rejected(both: Functions, name: Name, payload: Payload) -> bool:
    """Returns whether the event was rejected. Fails if the error is a server error or does not name a field."""
    try:
        answer = both.invoke(name, payload.json.encode())
    except FaultException:
        return True  # no JSON; Lambda never sends it, and the runtime raises
    except BadRequest as error:
        if name == "stream":
            raise
        answer = {"statusCode": error.status, "body": json.dumps(error.body("request"))}  # of a task, not of HTTP
    status, body = answer.get("statusCode", 200), answer.get("body", "")
    assert status < 500, answer
    check(payload, answer)
    assert '"type":"error"' not in body, answer
    if status < 400:
        return False
    error_body = json.loads(body)["error"]
    if status in {400, 413, 415, 422} and error_body["message"] != "This is not an HTTP request.":
        assert error_body.get("field") or error_body.get("param"), answer
    return True


def check(payload: Payload, answer: Any) -> None:
    """Fails if openapi.json describes the route, but not this response."""
    try:
        request = HttpRequest.from_event(json.loads(payload.json))
    except (BadRequest, ValueError):
        return
    headers = {name.lower(): value for name, value in answer.get("headers", {}).items()}
    if "headers" in answer and DESCRIPTION.operation(request.method, request.path):
        DESCRIPTION.check(request.method, request.path, Answer(answer["statusCode"], headers, answer["body"].encode()))
