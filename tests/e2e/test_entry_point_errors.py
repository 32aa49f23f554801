"""Errors of the model and the table at every entry point: the response has our messages, and no internals."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from local_stack.bedrock.directives import HTTP_FAULTS, STREAM_FAULTS
from tests.e2e.chat import Person
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = pytest.mark.xdist_group("entry-point-errors")  # one stack for all tests

FAULTS = {f"{name} at=2": name for name in (*HTTP_FAULTS, *STREAM_FAULTS, "stall-headers")}
FAULTS |= {f"exception at=2 code={code}": code for code in ("validationException", "modelStreamErrorException")}
NO_ERROR = {"slow-first", "split"}
INTERNALS = re.compile(
    r"arn:aws|us\.amazon|amazon\.nova|anthropic\.|Exception|Traceback|botocore|boto3|urllib3|ClientError"
    r"|ChatTable|dynamodb|bedrock|You are|\.py|RequestId:",
    re.IGNORECASE,
)


def openai(stack: RunningStack, text: str) -> tuple[str, object]:
    body = {"model": "nova-lite", "messages": [{"role": "user", "content": text}]}
    return f"{stack.url}/v1/chat/completions", body


ENTRY_POINTS: dict[str, Callable[[RunningStack, str], tuple[str, object]]] = {
    "Function URL": lambda stack, text: (f"{stack.url}/chat", {"message": {"text": text}}),
    "buffered": lambda stack, text: (f"{stack.url}/chat?stream=false", {"message": {"text": text}}),
    "plain": lambda stack, text: (f"{stack.url}/chat?dialect=plain", {"message": {"text": text}}),
    "API Gateway": lambda stack, text: (f"{stack.gateway}/chat", {"message": {"text": text}}),
    "REST API": lambda stack, text: (f"{stack.rest}/chat", {"message": {"text": text}}),
    "OpenAI": openai,
}


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    running = start_stack("--parameter", "ModelIdleSeconds=1", "--prewarm", "4")
    yield running
    stop_stack(running)


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_no_model_fault_reveals_internals(stack: RunningStack, entry_point: str) -> None:
    def ask(fault: str) -> httpx.Response:
        url, body = ENTRY_POINTS[entry_point](stack, f"[[fault={fault}]] [[tokens=4 pace=1 first=1]]")
        with Person(stack) as person:
            return person.http.post(url, json=body)

    with ThreadPoolExecutor(4) as pool:
        answers = dict(zip(FAULTS, pool.map(ask, FAULTS), strict=True))
    revealed = {fault: INTERNALS.findall(answer.text) for fault, answer in answers.items()}
    assert {fault: words for fault, words in revealed.items() if words} == {}
    silent = [fault for fault, answer in answers.items() if "error" not in answer.text]
    assert {FAULTS[fault] for fault in silent} <= NO_ERROR


@pytest.mark.parametrize("entry_point", ENTRY_POINTS)
def test_no_table_fault_reveals_internals(stack: RunningStack, entry_point: str) -> None:
    stack.faults(table={"failForMs": 60_000})
    try:
        url, body = ENTRY_POINTS[entry_point](stack, "hello")
        with Person(stack) as person:
            answer = person.http.post(url, json=body)
    finally:
        stack.faults(table={"failForMs": 0})
    assert answer.status_code == 503
    assert "error" in answer.json()
    assert INTERNALS.findall(answer.text) == []
