"""Whatever event reaches a function, it answers: no failure of ours, and nothing stored by what is refused."""

import json
from collections.abc import Iterator

import pytest
from awslambdaric.lambda_runtime_exception import FaultException
from hypothesis import HealthCheck, given, seed, settings

from chat.errors import BadRequest
from tests.fuzz.functions import Functions, Name, functions
from tests.fuzz.strategies import MINE, Payload, payloads

NAMES: list[Name] = ["stream", "converse"]


@pytest.fixture(scope="module")
def both() -> Iterator[Functions]:
    """The functions, over a table with one conversation."""
    with functions() as made:
        body = json.dumps({"message": {"text": "Hello"}, "conversationId": MINE})
        event = {
            "rawPath": "/chat",
            "requestContext": {"http": {"method": "POST"}},
            "headers": {"content-type": "application/json"},
            "body": body,
        }
        assert made.invoke("stream", json.dumps(event).encode())["statusCode"] == 200
        made.keep()
        yield made


@pytest.mark.parametrize("name", NAMES)
def test_some_events(both: Functions, name: Name) -> None:
    invoke_many(both, name, number=300, start=1)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_many_events(both: Functions, name: Name) -> None:
    invoke_many(both, name, number=4_300, start=2)


def invoke_many(both: Functions, name: Name, *, number: int, start: int) -> None:
    @seed(start)
    @settings(max_examples=number, suppress_health_check=list(HealthCheck))
    @given(payloads(name))
    def run(payload: Payload) -> None:
        both.reset()
        before = both.stored
        if refused(both, name, payload):
            assert both.stored == before

    run()


def refused(both: Functions, name: Name, payload: Payload) -> bool:
    """Whether it was; by an error that is ours and says what was wrong."""
    try:
        answer = both.invoke(name, payload.json.encode())
    except FaultException:
        return True  # no JSON: Lambda never sends it, and the runtime says so
    except BadRequest as wrong:
        if name == "stream":
            raise
        answer = {"statusCode": wrong.status, "body": json.dumps(wrong.body("request"))}  # of a task, which is no HTTP
    status, body = answer.get("statusCode", 200), answer.get("body", "")
    assert status < 500, answer
    assert '"type":"error"' not in body, answer
    if status < 400:
        return False
    told = json.loads(body)["error"]
    if status in {400, 413, 415, 422} and told["message"] != "This is not an HTTP request.":
        assert told.get("field") or told.get("param"), answer
    return True
