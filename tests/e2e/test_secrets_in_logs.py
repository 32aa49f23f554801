"""The functions log no text of users or models, and no credentials."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from local_stack.bedrock.directives import HTTP_FAULTS, STREAM_FAULTS
from tests.e2e.chat import Person
from tests.e2e.tour import tour
from tests.stack import ROOT, RunningStack, start_stack, stop_stack

CANARY = "canary-7f3a9c"
KEYS = ("authorization", "x-authorization", "x-bedrock-api-key")
FAULTS = [*HTTP_FAULTS, *STREAM_FAULTS, "refuse-stream", "refuse-system", "stall-headers"]


# DEBUG includes the lines of INFO, so only DEBUG is among the quick tests.
LEVELS = [
    pytest.param("DEBUG", marks=pytest.mark.xdist_group("secrets-in-logs")),
    pytest.param("INFO", marks=pytest.mark.long),
]


@pytest.fixture(scope="module", params=LEVELS)
def toured(request: pytest.FixtureRequest) -> Iterator[tuple[RunningStack, list[str]]]:
    """Runs a tour with canaries. Yields the stack and the responses."""
    parameters = f"LogLevel={request.param}", "ModelIdleSeconds=1", "Learning=enabled", "EmbeddingModel=titan-embed-v2"
    stack = start_stack(
        "--documents", "docs", *(part for parameter in parameters for part in ("--parameter", parameter))
    )
    try:
        with Person(stack) as person:
            secrets = {name: f"{CANARY}-{name}" for name in KEYS}
            answers = [learn(person), *tour(person, CANARY, secrets)]
            answers += [fail(person, fault) for fault in FAULTS]
            answers += list(send_invalid_requests(person))
        yield stack, answers
    finally:
        stop_stack(stack)


def fail(person: Person, fault: str) -> str:
    text = f"{CANARY} [[fault={fault} at=2]] [[tokens=4 pace=1 first=1]]"
    return person.http.post(f"{person.stack.url}/chat", json={"message": {"text": text}}).text


def learn(person: Person) -> str:
    """Sends a message with the canary. Returns the learned facts."""
    person.send(f"My boat is called {CANARY} [[tokens=4 pace=1 first=1]]")
    facts, deadline = "", time.monotonic() + 20
    while CANARY not in facts and time.monotonic() < deadline:
        time.sleep(0.1)
        facts = person.http.get(f"{person.stack.gateway}/memory").text
    assert CANARY in facts
    person.http.patch(
        f"{person.stack.gateway}/profile", json={"learning": False}
    )  # the next requests would start many tasks
    return facts


def send_invalid_requests(person: Person) -> Iterator[str]:
    """Sends invalid requests whose values a parser could quote in its error. Yields the responses."""
    for entry_point in (person.stack.url, person.stack.gateway):
        for body in (f'{{"message": "{CANARY}', f'{{"{CANARY}": 1}}', f'["{CANARY}"]', f'{{"model": "{CANARY}"}}'):
            answer = person.http.post(f"{entry_point}/chat", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 400
            yield answer.text
        yield person.http.get(f"{entry_point}/{CANARY}/nowhere").text


def encodings(secret: str) -> Iterator[str]:
    """Yields the secret as plain text, and as base64 with each of the three offsets."""
    yield secret
    for before in range(3):
        encoded = base64.b64encode(b" " * before + secret.encode()).decode().rstrip("=")
        yield encoded[4:-4]


def test_no_log_line_has_a_canary(toured: tuple[RunningStack, list[str]]) -> None:
    stack, answers = toured
    log = "".join(stack.log)
    assert any(CANARY in answer for answer in answers), "the canary was sent"
    assert log.count("refused") >= 5
    assert [encoded for encoded in encodings(CANARY) if encoded in log] == []


def test_no_log_line_has_text_of_the_model(toured: tuple[RunningStack, list[str]]) -> None:
    stack, answers = toured
    log = "".join(stack.log)
    texts = [part["text"] for answer in answers for part in parts_of(answer) if len(part["text"]) > 12]
    assert len(texts) > 10
    assert [text for text in texts if text[:20] in log] == []


def parts_of(answer: str) -> list[dict[str, str]]:
    try:
        return [part for part in json.loads(answer)["aiMessage"]["parts"] if part["type"] == "text"]
    except (ValueError, KeyError, TypeError):
        return []


def test_a_refused_request_is_logged_with_user_and_conversation(toured: tuple[RunningStack, list[str]]) -> None:
    stack, _ = toured
    with Person(stack) as person:
        person.http.get(f"{stack.gateway}/conversations/no-such-conversation")
        person.http.get(f"{stack.url}/chat/no-such-conversation/stream")
        body = {"message": {"text": "hi"}, "conversationId": "no-such-conversation"}
        stack.faults(table={"failForMs": 20_000})
        person.http.post(f"{stack.url}/chat", json=body)
        stack.faults(table={"failForMs": 0})
    lines = [json.loads(line) for line in stack.log if line.startswith('{"level"')]
    refusals = [line for line in lines if line.get("conversation") == "no-such-conversation" and "code" in line]
    assert [line["code"] for line in refusals if line["message"] == "refused"] == ["not_found", "not_found", "storage"]
    assert len({line["user"] for line in refusals}) == 1
    assert all(line["function_request_id"] for line in refusals)


# Powertools variables that an operator may set.
LOGGING_VARIABLES = ("POWERTOOLS_LOGGER_LOG_EVENT", "POWERTOOLS_DEV", "POWERTOOLS_DEBUG")
INVOKE_BOTH = """
import json, sys
from tests.fuzz.functions import functions
with functions() as both:
    for name in ("stream", "converse"):
        assert both.invoke(name, sys.argv[1].encode())["statusCode"] == 200
"""


def test_no_powertools_variable_enables_logging_of_requests() -> None:
    headers = {name: f"Bearer {CANARY}" if "auth" in name else CANARY for name in KEYS}
    event = {
        "rawPath": "/chat",
        "requestContext": {"http": {"method": "POST"}},
        "headers": {"content-type": "application/json", **headers},
        "body": json.dumps({"message": {"text": CANARY}}),
    }
    environment = os.environ | dict.fromkeys(LOGGING_VARIABLES, "true") | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", INVOKE_BOTH, json.dumps(event)]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    assert "CloudWatchMetrics" in process.stdout
    assert CANARY not in process.stdout + process.stderr
