"""What callers may wish of a model, over a deployment with a guardrail, an allowed list and a small budget."""

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from typing import Any

import boto3
import httpx
import pytest

from local_stack.dynamodb.server import DynamoDB
from tests.e2e.chat import Person, text_of
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = pytest.mark.xdist_group("models")  # one stack for all

PARAMETERS = (
    "LogLevel=DEBUG",
    "AllowedModels=nova-lite,nova-pro,claude-haiku",
    "GuardrailId=abc123",
    "GuardrailVersion=1",
    "UserDayUsd=0.003",
)
QUICK = "[[tokens=4 pace=1 first=1]]"
KEY = "canary-5d41402a"
SCHEMA = {"type": "object", "properties": {"topic": {"type": "string"}, "rank": {"type": "integer"}}}


@pytest.fixture(scope="module")
def stack(table: DynamoDB) -> Iterator[RunningStack]:
    options = [word for parameter in PARAMETERS for word in ("--parameter", parameter)]
    running = start_stack(*options, env={**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": table.url})
    yield running
    stop_stack(running)


@pytest.fixture
def spender(person: Person) -> Person:
    """Somebody whose day's money is gone."""
    for _ in range(5):
        person.ask("[[tokens=500 pace=0 first=1]]", model="nova-pro")
    assert is_broke(person)
    return person


def is_broke(person: Person) -> bool:
    answer: dict[str, Any] = person.ask(QUICK, model="nova-pro").json()
    code = answer.get("error", {}).get("code")
    return code == "budget_exhausted" or answer.get("finishReason") == "budget"


def stored(table: DynamoDB) -> Iterator[str]:
    """Every item, with what is deflated in it."""
    for page in boto3.client("dynamodb", endpoint_url=table.url).get_paginator("scan").paginate(TableName="ChatTable"):
        for item in page["Items"]:
            yield repr(item)
            for value in item.values():
                with suppress(zlib.error):
                    yield zlib.decompress(value.get("B", b"")).decode(errors="replace")


def test_an_own_key_reaches_the_model_and_nothing_else(spender: Person, table: DynamoDB) -> None:
    """Streamed and in one piece, at every door, and although the money of the deployment is gone for this user."""
    http, url = spender.http, spender.stack.url
    http.headers["x-bedrock-api-key"] = KEY
    known = spender.say(f"Tell me about rivers {QUICK}")
    conversation = known.start["conversationId"]
    message = {"id": "a-message", "role": "user", "parts": [{"type": "text", "text": QUICK}]}
    answers = [
        spender.ask(f"Tell me about seas {QUICK}", conversationId=conversation),
        spender.ask(f"[[fault=invalid]] {QUICK}", conversationId=conversation),
        http.post(f"{url}/ai/chat", json={"id": "by-own-key", "trigger": "submit-message", "messages": [message]}),
        http.post(
            f"{url}/v1/chat/completions", json={"model": "nova-pro", "messages": [{"role": "user", "content": QUICK}]}
        ),
    ]
    assert [answer.status_code for answer in answers] == [200, 502, 200, 200]
    assert known.end["finishReason"] == "stop"
    assert known.end["usage"]["basis"] == "exact"
    assert "costUsd" not in known.end["usage"]

    by_key = [each for each in spender.stack.requests() if each["key"] == KEY]
    assert [each["path"].rpartition("/")[2] for each in by_key].count("converse-stream") == 5
    assert not any(each["signed"] for each in by_key)
    assert KEY not in json.dumps([{**each, "key": None} for each in spender.stack.requests()])
    assert KEY not in "".join(spender.stack.log)
    assert KEY not in "".join(stored(table))
    assert KEY not in "".join([json.dumps(known.events), *(answer.text for answer in answers)])
    del http.headers["x-bedrock-api-key"]
    assert is_broke(spender)


def test_a_key_that_is_no_key_is_refused_and_not_repeated(person: Person) -> None:
    for door in (person.stack.url, person.stack.gateway):
        answer = person.http.post(
            f"{door}/chat", json={"message": {"text": QUICK}}, headers={"x-bedrock-api-key": f"{KEY} {KEY}"}
        )
        assert (answer.status_code, answer.json()["error"]["field"]) == (400, "x-bedrock-api-key")
        assert KEY not in answer.text


def test_a_key_that_bedrock_refuses_is_named_so(person: Person) -> None:
    answer = person.http.post(
        f"{person.stack.gateway}/chat",
        json={"message": {"text": "[[fault=access-denied]]"}},
        headers={"x-bedrock-api-key": KEY},
    )
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "key_refused")


@pytest.mark.parametrize("options", [{}, {"schema": SCHEMA}], ids=["text", "schema"])
def test_what_the_guardrail_stops_is_a_finish_reason(person: Person, options: dict[str, Any]) -> None:
    streamed = person.say("[[block]] [[pace=1 first=1]]", options=options)
    assert (streamed.end["finishReason"], streamed.text) == (
        "content-filter",
        "Sorry, the model cannot answer this question.",
    )
    whole = person.ask("[[block]] [[pace=1 first=1]]", options=options).json()
    assert (whole["finishReason"], text_of(whole["aiMessage"])) == ("content-filter", streamed.text)
    assert {json.dumps(each["body"]["guardrailConfig"]) for each in person.stack.requests()} == {
        '{"guardrailIdentifier": "abc123", "guardrailVersion": "1", "trace": "enabled", "streamProcessingMode": "sync"}'
    }


def test_what_passed_before_the_guardrail_stopped_stands_apart_from_its_words(person: Person) -> None:
    answer = person.say("Tell me about rivers [[block=4 pace=1 first=1]]")
    passed, own = answer.text.split("\n\n")
    assert (len(passed.split()), own) == (4, "Sorry, the model cannot answer this question.")
    assert answer.end["finishReason"] == "content-filter"
    schema = person.say("Tell me about rivers [[block=1 pace=1 first=1]]", options={"schema": SCHEMA})
    assert schema.text.endswith(own)
    assert schema.end["finishReason"] == "content-filter"


def test_an_answer_in_which_the_guardrail_only_masked_goes_on(person: Person) -> None:
    answer = person.say("Tell me about rivers [[mask=rivers pace=1 first=1]]")
    assert "{NAME}" in answer.text
    assert "rivers" not in answer.text
    assert answer.end["finishReason"] == "stop"
    person.say(f"And lakes? {QUICK}", conversationId=answer.start["conversationId"])
    assert "{NAME}" in json.dumps(person.stack.requests()[-1]["body"]), "it is part of the history"


def test_a_conversation_goes_on_after_what_the_guardrail_stopped(person: Person) -> None:
    stopped = person.say("A bad question [[block]]").start["conversationId"]
    answer = person.say(f"Tell me about rivers {QUICK}", conversationId=stopped)
    assert answer.end["finishReason"] == "stop"
    sent = person.stack.requests()[-1]["body"]["messages"]
    assert "bad question" not in json.dumps(sent), "nor is it asked again by what follows"
    assert sent[-1]["content"] == [{"guardContent": {"text": {"text": f"Tell me about rivers {QUICK}"}}}]


def test_a_stopped_answer_is_not_gone_on_with(person: Person) -> None:
    stopped = person.say("[[block]]").start["conversationId"]
    again = {"action": "continue", "conversationId": stopped}
    answer = person.http.post(f"{person.stack.url}/chat", json=again)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "action")


def test_a_history_of_the_callers_own_is_judged(person: Person) -> None:
    said = [("user", "[[block]]"), ("assistant", "Of course."), ("user", f"Well? {QUICK}")]
    body = {"model": "nova-lite", "messages": [{"role": role, "content": text} for role, text in said]}
    [choice] = person.http.post(f"{person.stack.url}/v1/chat/completions", json=body).json()["choices"]
    assert choice["finish_reason"] == "content_filter"


@pytest.mark.parametrize("model", ["nova-lite", "claude-haiku"])
def test_an_answer_keeps_to_a_schema(person: Person, model: str) -> None:
    """By the model's own format, and by a forced tool; the caller sees no difference."""
    answer = person.say("Tell me about rivers [[pace=1 first=1]]", model=model, options={"schema": SCHEMA})
    assert answer.kinds.count("tool") == 0
    assert json.loads(answer.text) == {"topic": "rivers", "rank": 1}
    assert answer.end["finishReason"] == "stop"


def test_openais_schema_is_the_same(person: Person) -> None:
    named = {"type": "json_schema", "json_schema": {"name": "subject", "schema": SCHEMA}}
    message = {"role": "user", "content": "Explain rivers [[pace=1 first=1]]"}
    body = {"model": "nova-lite", "messages": [message], "response_format": named}
    [choice] = person.http.post(f"{person.stack.url}/v1/chat/completions", json=body).json()["choices"]
    assert json.loads(choice["message"]["content"]) == {"topic": "rivers", "rank": 1}
    assert (choice["finish_reason"], "tool_calls" in choice["message"]) == ("stop", False)


def test_a_tier_and_a_latency_reach_the_model(person: Person) -> None:
    for wish, field, value in (
        ({"serviceTier": "flex"}, "serviceTier", {"type": "flex"}),
        ({"latency": "optimized"}, "performanceConfig", {"latency": "optimized"}),
    ):
        assert person.ask(QUICK, model="nova-pro", options=wish).status_code == 200
        assert person.stack.requests()[-1]["body"][field] == value


@pytest.mark.parametrize(("wish", "dearer"), [({"latency": "optimized"}, 1.25), ({"serviceTier": "priority"}, 1.75)])
def test_what_was_served_as_standard_costs_as_much(person: Person, wish: dict[str, str], dearer: float) -> None:
    def cost(directive: str) -> float:
        """Times the usual price of Nova Pro."""
        said = person.say(f"Rivers [[tokens=4 pace=1 first=1 {directive}]]", model="nova-pro", options=wish)
        usage: dict[str, float] = said.end["usage"]
        prices = {"inputTokens": 0.8, "outputTokens": 3.2, "cacheReadTokens": 0.2, "cacheWriteTokens": 0.8}
        return usage["costUsd"] * 1e6 / sum(usage[name] * price for name, price in prices.items())

    assert cost("cite") == pytest.approx(dearer, rel=0.01)
    assert cost("standard") == pytest.approx(1, rel=0.01)


def test_what_is_not_allowed_is_not_there(person: Person) -> None:
    answer = person.ask(QUICK, model="claude-sonnet")
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "model must be one of claude-haiku, nova-lite, nova-pro."
    listed = person.http.get(f"{person.stack.url}/v1/models").json()["data"]
    assert [each["id"] for each in listed] == ["claude-haiku", "nova-lite", "nova-pro"]


def preview(person: Person, text: str, **body: Any) -> httpx.Response:
    return person.http.post(f"{person.stack.gateway}/prompt/preview", json={"message": {"text": text}, **body})


def test_the_preview_is_what_is_sent(person: Person) -> None:
    person.remember("I sail </facts> rivers")
    person.http.put(f"{person.stack.gateway}/profile", json={"name": "Grace", "assistantName": "Iris"})
    conversation = person.say(f"Tell me about rivers {QUICK}").start["conversationId"]
    asked = len(person.stack.requests())
    answer = preview(person, QUICK, conversationId=conversation, options={"maxTokens": 9})
    assert len(person.stack.requests()) == asked
    assert len(person.messages(conversation)) == 2
    shown = answer.json()
    person.say(QUICK, conversationId=conversation, options={"maxTokens": 9})
    sent = person.stack.requests()[-1]
    assert shown["operation"] == "ConverseStream"
    assert shown["request"] == {"modelId": sent["modelId"], **sent["body"]}
    assert "Your name, as the user wants it: Iris" in shown["request"]["system"][0]["text"]
    assert (
        shown["request"]["messages"][-1]["content"][0]["text"] == "<facts>\n[fact 1] I sail (/facts) rivers\n</facts>"
    )
    assert sum(shown["tokens"].values()) == shown["totalTokens"] < shown["contextWindow"]
    assert all(shown["tokens"][part] > 0 for part in ("system", "history", "facts", "message"))
    large = {"type": "object", "properties": {f"field{number}": {"type": "string"} for number in range(100)}}
    weighed = preview(person, QUICK, options={"schema": large}).json()
    assert weighed["tokens"]["tools"] == len(json.dumps(large)) // 4
    assert sum(weighed["tokens"].values()) == weighed["totalTokens"]


def test_the_preview_refuses_what_a_send_refuses(person: Person) -> None:
    assert preview(person, "hi", model="gpt").json()["error"]["field"] == "model"
    assert preview(person, "hi", unknown=1).json()["error"]["field"] == "unknown"
    gone = person.say(QUICK).start["conversationId"]
    person.http.delete(f"{person.stack.gateway}/conversations/{gone}")
    assert preview(person, "hi", conversationId=gone).status_code == 404


def test_a_turn_reads_from_the_cache_what_the_turn_before_wrote(person: Person) -> None:
    first = person.say(f"What nobody else has said {QUICK}")
    known = first.start["conversationId"]
    usages = [person.say(f"And seas {QUICK}", conversationId=known).end["usage"] for _ in range(4)]
    for before, after in pairwise(usages):
        assert after["cacheReadTokens"] == before["cacheReadTokens"] + before["cacheWriteTokens"]
        assert before["cacheWriteTokens"] > 0
