"""Model options, with a guardrail, a list of allowed models and a small budget."""

import json
import os
import re
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import boto3
import httpx
import pytest

from converse_stream.protocol.tokens import estimate_tokens
from local_stack.dynamodb.server import DynamoDB
from tests.e2e.chat import Person, text_of
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = pytest.mark.xdist_group("models")  # one stack for all tests

PARAMETERS = (
    "LogLevel=DEBUG",
    "AllowedModels=nova-lite,nova-pro,claude-haiku",
    "GuardrailId=abc123",
    "GuardrailVersion=1",
    "UserDayUsd=0.003",
)
SHORT = "[[tokens=4 pace=1 first=1]]"
KEY = "canary-5d41402a"
SCHEMA = {"type": "object", "properties": {"topic": {"type": "string"}, "rank": {"type": "integer"}}}


@pytest.fixture(scope="module")
def stack(table: DynamoDB) -> Iterator[RunningStack]:
    options = [word for parameter in PARAMETERS for word in ("--parameter", parameter)]
    running = start_stack(*options, env={**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": table.url})
    yield running
    stop_stack(running)


@pytest.fixture
def exhausted_user(person: Person) -> Person:
    """A user whose daily budget is exhausted."""
    for _ in range(5):
        person.send_buffered("[[tokens=500 pace=0 first=1]]", model="nova-pro")
    assert is_exhausted(person)
    return person


def is_exhausted(person: Person) -> bool:
    answer: dict[str, Any] = person.send_buffered(SHORT, model="nova-pro").json()
    code = answer.get("error", {}).get("code")
    return code == "budget_exhausted" or answer.get("finishReason") == "budget"


def stored(table: DynamoDB) -> Iterator[str]:
    """Yields every item, and its decompressed attributes."""
    for page in boto3.client("dynamodb", endpoint_url=table.url).get_paginator("scan").paginate(TableName="ChatTable"):
        for item in page["Items"]:
            yield repr(item)
            for value in item.values():
                with suppress(zlib.error):
                    yield zlib.decompress(value.get("B", b"")).decode(errors="replace")


def test_an_own_key_is_sent_to_the_model_only(exhausted_user: Person, table: DynamoDB) -> None:
    """Streamed and buffered, at every entry point, although the user's budget is exhausted."""
    http, url = exhausted_user.http, exhausted_user.stack.url
    http.headers["x-bedrock-api-key"] = KEY
    first = exhausted_user.send(f"Tell me about rivers {SHORT}")
    conversation = first.start["conversationId"]
    message = {"id": "a-message", "role": "user", "parts": [{"type": "text", "text": SHORT}]}
    answers = [
        exhausted_user.send_buffered(f"Tell me about seas {SHORT}", conversationId=conversation),
        exhausted_user.send_buffered(f"[[fault=invalid]] {SHORT}", conversationId=conversation),
        http.post(f"{url}/ai/chat", json={"id": "by-own-key", "trigger": "submit-message", "messages": [message]}),
        http.post(
            f"{url}/v1/chat/completions", json={"model": "nova-pro", "messages": [{"role": "user", "content": SHORT}]}
        ),
    ]
    assert [answer.status_code for answer in answers] == [200, 502, 200, 200]
    assert first.end["finishReason"] == "stop"
    assert first.end["usage"]["basis"] == "exact"
    assert first.end["usage"]["costUsd"] is None

    by_key = [record for record in exhausted_user.stack.requests() if record["key"] == KEY]
    assert [record["path"].rpartition("/")[2] for record in by_key].count("converse-stream") == 5
    assert not any(record["signed"] for record in by_key)
    assert KEY not in json.dumps([{**record, "key": None} for record in exhausted_user.stack.requests()])
    assert KEY not in "".join(exhausted_user.stack.log)
    assert KEY not in "".join(stored(table))
    assert KEY not in "".join([json.dumps(first.events), *(answer.text for answer in answers)])
    del http.headers["x-bedrock-api-key"]
    assert is_exhausted(exhausted_user)


def test_an_invalid_key_is_refused_and_not_in_the_response(person: Person) -> None:
    for entry_point in (person.stack.url, person.stack.gateway):
        answer = person.http.post(
            f"{entry_point}/chat", json={"message": {"text": SHORT}}, headers={"x-bedrock-api-key": f"{KEY} {KEY}"}
        )
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, "x-bedrock-api-key")
        assert KEY not in answer.text


def test_a_key_refused_by_bedrock_has_its_error_code(person: Person) -> None:
    answer = person.http.post(
        f"{person.stack.gateway}/chat",
        json={"message": {"text": "[[fault=access-denied]]"}},
        headers={"x-bedrock-api-key": KEY},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "key_refused")


@pytest.mark.parametrize("options", [{}, {"schema": SCHEMA}], ids=["text", "schema"])
def test_a_blocked_answer_has_finish_reason_content_filter(person: Person, options: dict[str, Any]) -> None:
    streamed = person.send("[[block]] [[pace=1 first=1]]", options=options)
    assert (streamed.end["finishReason"], streamed.text) == (
        "content-filter",
        "Sorry, the model cannot answer this question.",
    )
    buffered = person.send_buffered("[[block]] [[pace=1 first=1]]", options=options).json()
    assert (buffered["finishReason"], text_of(buffered["aiMessage"])) == ("content-filter", streamed.text)
    assert {json.dumps(record["body"]["guardrailConfig"]) for record in person.stack.requests()} == {
        '{"guardrailIdentifier": "abc123", "guardrailVersion": "1", "trace": "enabled", "streamProcessingMode": "sync"}'
    }


def test_text_before_a_block_is_separated_from_the_guardrail_message(person: Person) -> None:
    answer = person.send("Tell me about rivers [[block=4 pace=1 first=1]]")
    text, message = answer.text.split("\n\n")
    assert (len(text.split()), message) == (4, "Sorry, the model cannot answer this question.")
    assert answer.end["finishReason"] == "content-filter"
    schema = person.send("Tell me about rivers [[block=1 pace=1 first=1]]", options={"schema": SCHEMA})
    assert schema.text.endswith(message)
    assert schema.end["finishReason"] == "content-filter"


def test_a_masked_answer_is_complete_and_in_the_history(person: Person) -> None:
    answer = person.send("Tell me about rivers [[mask=rivers pace=1 first=1]]")
    assert "{NAME}" in answer.text
    assert "rivers" not in answer.text
    assert answer.end["finishReason"] == "stop"
    person.send(f"And lakes? {SHORT}", conversationId=answer.start["conversationId"])
    assert "{NAME}" in json.dumps(person.stack.requests()[-1]["body"]), "the masked answer is in the history"


def test_a_blocked_exchange_is_not_in_the_next_prompt(person: Person) -> None:
    blocked = person.send("A bad question [[block]]").start["conversationId"]
    answer = person.send(f"Tell me about rivers {SHORT}", conversationId=blocked)
    assert answer.end["finishReason"] == "stop"
    sent = person.stack.requests()[-1]["body"]["messages"]
    assert "bad question" not in json.dumps(sent), "the blocked message is not sent again"
    assert sent[-1]["content"][1:] == [{"guardContent": {"text": {"text": f"Tell me about rivers {SHORT}"}}}]


def test_a_blocked_answer_cannot_be_continued(person: Person) -> None:
    blocked = person.send("[[block]]").start["conversationId"]
    again = {"action": "continue", "conversationId": blocked}
    answer = person.http.post(f"{person.stack.url}/chat", json=again)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "action")


def test_a_history_in_the_request_is_checked_by_the_guardrail(person: Person) -> None:
    turns = [("user", "[[block]]"), ("assistant", "Of course."), ("user", f"Well? {SHORT}")]
    body = {"model": "nova-lite", "messages": [{"role": role, "content": text} for role, text in turns]}
    [choice] = person.http.post(f"{person.stack.url}/v1/chat/completions", json=body).json()["choices"]
    assert choice["finish_reason"] == "content_filter"


@pytest.mark.parametrize("model", ["nova-lite", "claude-haiku"])
def test_an_answer_follows_a_schema(person: Person, model: str) -> None:
    """With the model's output format or a forced tool. The answers have the same form."""
    answer = person.send("Tell me about rivers [[pace=1 first=1]]", model=model, options={"schema": SCHEMA})
    assert answer.kinds.count("tool") == 0
    assert json.loads(answer.text) == {"topic": "rivers", "rank": 1}
    assert answer.end["finishReason"] == "stop"


def test_an_openai_response_format_works_as_a_schema(person: Person) -> None:
    named = {"type": "json_schema", "json_schema": {"name": "subject", "schema": SCHEMA}}
    message = {"role": "user", "content": "Explain rivers [[pace=1 first=1]]"}
    body = {"model": "nova-lite", "messages": [message], "response_format": named}
    [choice] = person.http.post(f"{person.stack.url}/v1/chat/completions", json=body).json()["choices"]
    assert json.loads(choice["message"]["content"]) == {"topic": "rivers", "rank": 1}
    assert (choice["finish_reason"], "tool_calls" in choice["message"]) == ("stop", False)


def test_the_service_tier_and_latency_are_sent_to_the_model(person: Person) -> None:
    for options, field, value in (
        ({"serviceTier": "flex"}, "serviceTier", {"type": "flex"}),
        ({"latency": "optimized"}, "performanceConfig", {"latency": "optimized"}),
    ):
        assert person.send_buffered(SHORT, model="nova-pro", options=options).status_code == 200
        assert person.stack.requests()[-1]["body"][field] == value


@pytest.mark.parametrize(("options", "factor"), [({"latency": "optimized"}, 1.25), ({"serviceTier": "priority"}, 1.75)])
def test_an_answer_served_as_standard_has_the_standard_cost(
    person: Person, options: dict[str, str], factor: float
) -> None:
    def cost(directive: str) -> float:
        """Returns the cost as a multiple of Nova Pro's standard price."""
        answer = person.send(f"Rivers [[tokens=4 pace=1 first=1 {directive}]]", model="nova-pro", options=options)
        usage: dict[str, float] = answer.end["usage"]
        prices = {"inputTokens": 0.8, "outputTokens": 3.2, "cacheReadTokens": 0.2, "cacheWriteTokens": 0.8}
        return usage["costUsd"] * 1e6 / sum(usage[name] * price for name, price in prices.items())

    assert cost("cite") == pytest.approx(factor, rel=0.01)
    assert cost("standard") == pytest.approx(1, rel=0.01)


def test_a_model_that_is_not_allowed_is_refused_and_not_listed(person: Person) -> None:
    answer = person.send_buffered(SHORT, model="claude-sonnet")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "model must be one of claude-haiku, nova-lite, nova-pro."
    listed = person.http.get(f"{person.stack.url}/v1/models").json()["data"]
    assert [model["id"] for model in listed] == ["claude-haiku", "nova-lite", "nova-pro"]


@pytest.mark.parametrize("entry_point", ["url", "rest", "gateway"])
def test_the_models_are_listed_with_their_efforts_and_prices(person: Person, entry_point: str) -> None:
    answer = person.http.get(f"{getattr(person.stack, entry_point)}/models")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    listed = answer.json()
    models = {model["id"]: model for model in listed["models"]}
    assert listed["default"] == "nova-lite"
    assert list(models) == ["claude-haiku", "nova-lite", "nova-pro"]
    assert models["nova-lite"]["reasoning"] is None
    assert models["claude-haiku"] == {
        "id": "claude-haiku",
        "name": "Claude Haiku 5.5",
        "model": "anthropic.claude-haiku-5-5",
        "inputs": ["text", "image", "document"],
        "reasoning": {
            "efforts": ["none", "low", "medium", "high", "xhigh", "max"],
            "default": "medium",
            "always": False,
        },
        "contextTokens": 1_000_000,
        "outputTokens": 128_000,
        "lifecycle": "active",
        "pricePerMillion": {  # through the geographic inference profile
            "input": 0.11,
            "output": 0.55,
            "cacheRead": 0.011,
            "cacheWrite": 0.1375,
            "tiers": [{"above": 100_000, "input": 0.55, "output": 2.75, "cacheRead": 0.055, "cacheWrite": 0.6875}],
        },
    }


def preview(person: Person, text: str, **body: Any) -> httpx.Response:
    return person.http.post(f"{person.stack.gateway}/prompt/preview", json={"message": {"text": text}, **body})


def masked(request: Any) -> Any:
    """The request without what differs between two requests: the number in the tags, and the time."""
    text = re.sub(r"(</?[a-z]+-)[0-9a-f]{8}>", r"\1N>", json.dumps(request))
    return json.loads(re.sub(r"\d\d:\d\d \(UTC", "hh:mm (UTC", text))


def test_the_preview_equals_the_sent_request(person: Person) -> None:
    person.remember("I sail </facts> rivers")
    person.http.put(f"{person.stack.gateway}/profile", json={"name": "Grace", "assistantName": "Iris"})
    conversation = person.send(f"Tell me about rivers {SHORT}").start["conversationId"]
    requests_before = len(person.stack.requests())
    body = {"conversationId": conversation, "options": {"maxTokens": 9}, "utcOffset": "+05:45"}
    answer = preview(person, SHORT, **body)
    assert len(person.stack.requests()) == requests_before
    assert len(person.messages(conversation)) == 2
    shown = answer.json()
    person.send(SHORT, **body)
    sent = person.stack.requests()[-1]
    assert shown["operation"] == "ConverseStream"
    assert masked(shown["request"]) == masked({"modelId": sent["modelId"], **sent["body"]})
    assert "Your name, as the user wants it: Iris" in shown["request"]["system"][0]["text"]
    today, facts = (block["text"] for block in masked(shown["request"])["messages"][-1]["content"][:2])
    assert re.fullmatch(r"Today is \w+, \d+ \w+ \d{4}, hh:mm \(UTC\+05:45\)\.", today)
    assert re.match(r"<facts-N>\n\[fact 1\] \(\d{4}-\d\d\) I sail </facts> rivers\n</facts-N>\n", facts)
    assert sum(shown["tokens"].values()) == shown["totalTokens"] < shown["contextWindow"]
    assert all(shown["tokens"][part] > 0 for part in ("system", "history", "facts", "message"))
    large = {"type": "object", "properties": {f"field{number}": {"type": "string"} for number in range(100)}}
    with_schema = preview(person, SHORT, options={"schema": large}).json()
    assert with_schema["tokens"]["tools"] == estimate_tokens(json.dumps(large))
    assert sum(with_schema["tokens"].values()) == with_schema["totalTokens"]


def test_the_preview_validates_like_a_send(person: Person) -> None:
    assert preview(person, "hi", model="gpt").json()["error"]["field"] == "model"
    assert preview(person, "hi", utcOffset="+15:00").json()["error"]["field"] == "utcOffset"
    assert preview(person, "hi", unknown=1).json()["error"]["field"] == "unknown"
    deleted = person.send(SHORT).start["conversationId"]
    person.http.delete(f"{person.stack.gateway}/conversations/{deleted}")
    assert preview(person, "hi", conversationId=deleted).status_code == 404


def test_each_turn_reads_the_cache_written_by_the_previous_turn(person: Person) -> None:
    first = person.send(f"{'A unique opening message, long enough to be cached. ' * 120}{SHORT}")
    conversation = first.start["conversationId"]
    usages = [person.send(f"And seas {SHORT}", conversationId=conversation).end["usage"] for _ in range(4)]
    for before, after in pairwise(usages):
        assert after["cacheReadTokens"] == before["cacheReadTokens"] + before["cacheWriteTokens"]
        assert before["cacheWriteTokens"] > 0
