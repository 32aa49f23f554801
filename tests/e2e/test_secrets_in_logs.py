"""What users and models say, and what proves who somebody is, is in no line that the functions write."""

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


# What a deployment logs is among what DEBUG logs, so that it alone is among the quick tests.
LEVELS = [
    pytest.param("DEBUG", marks=pytest.mark.xdist_group("secrets-in-logs")),
    pytest.param("INFO", marks=pytest.mark.long),
]


@pytest.fixture(scope="module", params=LEVELS)
def toured(request: pytest.FixtureRequest) -> Iterator[tuple[RunningStack, list[str]]]:
    """A stack after a tour with canaries, and what was answered."""
    parameters = f"LogLevel={request.param}", "ModelIdleSeconds=1", "Learning=enabled", "EmbeddingModel=titan-embed-v2"
    stack = start_stack("--documents", "docs", *(part for each in parameters for part in ("--parameter", each)))
    try:
        with Person(stack) as person:
            secrets = {name: f"{CANARY}-{name}" for name in KEYS}
            answers = [learned(person), *tour(person, CANARY, secrets)]
            answers += [fail(person, fault) for fault in FAULTS]
            answers += list(refused(person))
        yield stack, answers
    finally:
        stop_stack(stack)


def fail(person: Person, fault: str) -> str:
    text = f"{CANARY} [[fault={fault} at=2]] [[tokens=4 pace=1 first=1]]"
    return person.http.post(f"{person.stack.url}/chat", json={"message": {"text": text}}).text


def learned(person: Person) -> str:
    """What was learned of a message with the canary in it."""
    person.say(f"My boat is called {CANARY} [[tokens=4 pace=1 first=1]]")
    facts, give_up = "", time.monotonic() + 20
    while CANARY not in facts and time.monotonic() < give_up:
        time.sleep(0.1)
        facts = person.http.get(f"{person.stack.gateway}/memory").text
    assert CANARY in facts
    person.http.patch(f"{person.stack.gateway}/profile", json={"learning": False})  # what follows is much at once
    return facts


def refused(person: Person) -> Iterator[str]:
    """Requests that are wrong in the places where a parser might quote them."""
    for door in (person.stack.url, person.stack.gateway):
        for body in (f'{{"message": "{CANARY}', f'{{"{CANARY}": 1}}', f'["{CANARY}"]', f'{{"model": "{CANARY}"}}'):
            answer = person.http.post(f"{door}/chat", content=body, headers={"content-type": "application/json"})
            assert answer.status_code == 400
            yield answer.text
        yield person.http.get(f"{door}/{CANARY}/nowhere").text


def disguises(secret: str) -> Iterator[str]:
    """As it is, and as base64 begun at any of three places."""
    yield secret
    for before in range(3):
        encoded = base64.b64encode(b" " * before + secret.encode()).decode().rstrip("=")
        yield encoded[4:-4]


def test_no_line_holds_a_canary(toured: tuple[RunningStack, list[str]]) -> None:
    stack, answers = toured
    log = "".join(stack.log)
    assert any(CANARY in answer for answer in answers), "it was heard"
    assert log.count("refused") >= 5
    assert [each for each in disguises(CANARY) if each in log] == []


def test_no_line_holds_what_the_model_said(toured: tuple[RunningStack, list[str]]) -> None:
    stack, answers = toured
    log = "".join(stack.log)
    said = [part["text"] for answer in answers for part in parts_of(answer) if len(part["text"]) > 12]
    assert len(said) > 10
    assert [text for text in said if text[:20] in log] == []


def parts_of(answer: str) -> list[dict[str, str]]:
    try:
        return [each for each in json.loads(answer)["aiMessage"]["parts"] if each["type"] == "text"]
    except (ValueError, KeyError, TypeError):
        return []


def test_a_refused_request_names_its_caller_and_conversation(toured: tuple[RunningStack, list[str]]) -> None:
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


# Whoever runs the functions may set these of Powertools'.
CURIOUS = ("POWERTOOLS_LOGGER_LOG_EVENT", "POWERTOOLS_DEV", "POWERTOOLS_DEBUG")
INVOKE_BOTH = """
import json, sys
from tests.fuzz.functions import functions
with functions() as both:
    for name in ("stream", "converse"):
        assert both.invoke(name, sys.argv[1].encode())["statusCode"] == 200
"""


def test_no_variable_of_powertools_has_a_request_logged() -> None:
    headers = {name: f"Bearer {CANARY}" if "auth" in name else CANARY for name in KEYS}
    event = {
        "rawPath": "/chat",
        "requestContext": {"http": {"method": "POST"}},
        "headers": {"content-type": "application/json", **headers},
        "body": json.dumps({"message": {"text": CANARY}}),
    }
    environment = os.environ | dict.fromkeys(CURIOUS, "true") | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "ignore", "-c", INVOKE_BOTH, json.dumps(event)]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "CloudWatchMetrics" in ran.stdout
    assert CANARY not in ran.stdout + ran.stderr
