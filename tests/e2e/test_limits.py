"""Limits in HTTP responses: a stack with small limits, and a table with the operator's kill switch."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import boto3
import httpx
import pytest

from local_stack.dynamodb.server import DynamoDB
from tests.e2e.chat import Person, text_of
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = pytest.mark.xdist_group("limits")  # one stack for all tests

BURST, INTERVAL = 6, 30.0  # the burst in requests, and the seconds per additional request
LIMITS = ("UserRequestsPerMinute=2", f"UserBurst={BURST}", "UserGenerations=3", "UserDayTokens=600")
SHORT = "[[tokens=2 pace=1 first=1]]"


@pytest.fixture(scope="module")
def stack(table: DynamoDB) -> Iterator[RunningStack]:
    options = [word for parameter in LIMITS for word in ("--parameter", parameter)]
    running = start_stack("--prewarm", "6", *options, env={**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": table.url})
    yield running
    stop_stack(running)


def ask(person: Person, text: str = SHORT, **headers: str) -> httpx.Response:
    body = {"message": {"text": text}}
    return person.http.post(f"{person.stack.url}/chat?stream=false", json=body, headers=headers)


def test_a_user_over_the_rate_gets_retry_after_and_others_are_not_limited(person: Person, other: Person) -> None:
    """A few requests only, because each needs a process; tests/contract sends fifty concurrently."""
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda number: ask(other if number % 4 == 0 else person), range(12)))
    other_answers, own = answers[::4], [answer for number, answer in enumerate(answers) if number % 4]
    assert [answer.status_code for answer in other_answers] == [200] * len(other_answers)
    admitted = [answer for answer in own if answer.status_code == 200]
    seconds = max(answer.elapsed.total_seconds() for answer in answers)
    assert 1 <= len(admitted) <= 1 + (BURST - 1) + seconds / INTERVAL
    for refused in (answer for answer in own if answer.status_code != 200):
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] in ("too_many_requests", "too_many_generations")
        assert int(refused.headers["retry-after"]) >= 1
    assert len(person.conversations()) == len(admitted), "a refused message is not stored"


def test_a_repeated_send_is_not_charged(person: Person) -> None:
    first = ask(person, **{"idempotency-key": "one"})
    again = [ask(person, **{"idempotency-key": "one"}) for _ in range(2 * BURST)]
    assert {answer.json()["messageId"] for answer in again} == {first.json()["messageId"]}
    assert [ask(person).status_code for _ in range(BURST - 1)] == [200] * (BURST - 1)
    assert ask(person).status_code == 429


def test_concurrent_answers_are_counted_until_they_end(person: Person) -> None:
    running = [person.send_and_disconnect("[[tokens=150 pace=100 first=1]]", 2) for _ in range(3)]
    refused = ask(person)
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "too_many_generations"
    preview = person.http.post(f"{person.stack.gateway}/prompt/preview", json={"message": {"text": SHORT}})
    assert preview.status_code == 200, "a preview generates no answer"
    conversation = running[0].start["conversationId"]
    person.cancel(conversation)
    assert person.resume(conversation).end["finishReason"] == "cancelled"
    assert ask(person).status_code == 200


def test_a_budget_used_up_during_an_answer_ends_it_and_refuses_the_next(person: Person) -> None:
    answer = person.send("Tell me about rivers [[tokens=2000 pace=1 first=1]]")
    assert answer.end["finishReason"] == "budget"
    assert answer.end["usage"]["costUsd"] > 0
    stored = person.messages(answer.start["conversationId"])[-1]
    assert (stored["status"], stored["finishReason"]) == ("partial", "budget")
    assert text_of(stored) == answer.text != ""
    refused = ask(person)
    assert refused.status_code == 429
    error = refused.json()["error"]
    assert error["code"] == "budget_exhausted"
    reset = datetime.fromisoformat(error["message"].split()[-1].rstrip("."))
    seconds = int(refused.headers["retry-after"])
    assert abs(reset.timestamp() - (datetime.now(reset.tzinfo).timestamp() + seconds)) < 5


def test_the_openai_route_has_the_same_limits(person: Person) -> None:
    body = {"model": "nova-lite", "messages": [{"role": "user", "content": SHORT}]}
    url = f"{person.stack.url}/v1/chat/completions"
    answers = [person.http.post(url, json=body) for _ in range(BURST + 1)]
    assert [answer.status_code for answer in answers] == [200] * BURST + [429]
    assert answers[-1].json()["error"]["code"] == "too_many_requests"
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_a_preview_searches_and_counts_as_a_request(person: Person) -> None:
    url, body = f"{person.stack.gateway}/prompt/preview", {"message": {"text": SHORT}}
    answers = [person.http.post(url, json=body) for _ in range(BURST + 1)]
    assert [answer.status_code for answer in answers] == [200] * BURST + [429]
    assert ask(person).json()["error"]["code"] == "too_many_requests"


def test_a_prompt_over_the_budget_including_its_tools_is_refused(person: Person) -> None:
    tool = {"type": "function", "function": {"name": "a", "description": "x" * 4_000, "parameters": {}}}
    body = {"model": "nova-lite", "messages": [{"role": "user", "content": SHORT}]}
    url = f"{person.stack.url}/v1/chat/completions"
    refused = person.http.post(url, json={**body, "tools": [tool]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exhausted")
    assert person.http.post(url, json=body).status_code == 200


def test_the_kill_switch_refuses_new_messages_at_every_entry_point(person: Person, table: DynamoDB) -> None:
    client = boto3.client("dynamodb", endpoint_url=table.url)
    [name] = client.list_tables()["TableNames"]
    switch: Any = {"pk": {"S": "R#all"}, "sk": {"S": "paused"}}
    conversation = person.send(SHORT).start["conversationId"]
    client.put_item(TableName=name, Item=switch)
    try:
        openai = {"model": "nova-lite", "messages": [{"role": "user", "content": SHORT}]}
        entry_points: tuple[tuple[str, Any], ...] = (
            (f"{person.stack.url}/chat", {"message": {"text": SHORT}}),
            (f"{person.stack.gateway}/chat", {"message": {"text": SHORT}}),
            (f"{person.stack.url}/v1/chat/completions", openai),
        )
        for url, body in entry_points:
            refused = person.http.post(url, json=body)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "paused")
        assert person.messages(conversation), "stored messages can be read"
    finally:
        client.delete_item(TableName=name, Key=switch)
        client.close()
    assert ask(person).status_code == 200
