"""Models that the catalog does not know, prices against the emulator's own bill, reasoning in rounds of tool calls."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.e2e.chat import Person
from tests.e2e.test_dialect_entry_points import message_of
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = pytest.mark.xdist_group("any-model")
SHORT = "[[tokens=3 pace=1 first=1]]"
UNKNOWN = [
    "anthropic.claude-sonnet-7-v1:0",
    "vendor.new-model-1",
    "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefgh1234",
]


@pytest.fixture(scope="module")
def open_stack() -> Iterator[RunningStack]:
    """A stack that allows every model, without budgets in dollars."""
    running = start_stack("--parameter", "AllowedModels=*")
    yield running
    stop_stack(running)


@pytest.fixture
def person(open_stack: RunningStack) -> Iterator[Person]:
    with Person(open_stack) as user:
        yield user


def post(person: Person, dialect: str, model: str, **options: Any) -> httpx.Response:
    """A request for this model in a dialect."""
    stack, chat = person.stack, {"message": {"text": SHORT}, "model": model, "options": options}
    message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": SHORT}]}
    id_of = f"any-{abs(hash((dialect, model)))}"
    url, body = {
        "native": (f"{stack.url}/chat", chat),
        "plain": (f"{stack.url}/chat?dialect=plain", chat),
        "in one piece": (f"{stack.gateway}/chat", chat),
        "ai-sdk": (f"{stack.url}/ai/chat", {"id": id_of, "messages": [message], "model": model}),
        "openai": (
            f"{stack.url}/v1/chat/completions",
            {"model": model, "messages": [{"role": "user", "content": SHORT}]},
        ),
    }[dialect]
    return person.http.post(url, json=body)


DIALECTS = ["native", "plain", "in one piece", "ai-sdk", "openai"]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("model", UNKNOWN)
def test_model_that_the_catalog_does_not_know_answers(person: Person, dialect: str, model: str) -> None:
    before = len(person.stack.requests())
    answer = post(person, dialect, model)
    assert answer.status_code == 200, answer.text
    assert '"error"' not in answer.text
    assert person.stack.requests()[before]["modelId"].endswith(model)


def test_usage_of_a_model_without_a_price_has_tokens_and_no_cost(person: Person) -> None:
    usage = post(person, "in one piece", "vendor.new-model-1").json()["usage"]
    assert usage["outputTokens"] > 0
    assert usage["costUsd"] is None


def test_adaptations_are_told_in_each_dialect(person: Person) -> None:
    options = {"temperature": 0.5, "reasoning": "minimal"}
    told = ["options.temperature", "options.reasoning=low"]
    whole = post(person, "in one piece", "claude-opus", **options).json()
    assert sorted(whole["adapted"]) == sorted(told)
    events = [json.loads(line[6:]) for line in post(person, "native", "claude-opus", **options).text.splitlines()
              if line.startswith("data: ")]  # fmt: skip
    assert sorted(event["detail"] for event in events if event.get("stage") == "adapted") == sorted(told)
    body = {"model": "claude-opus", "messages": [{"role": "user", "content": SHORT}]}
    for stream in (False, True):
        fields = {"temperature": 0.5, "reasoning_effort": "minimal", "stream": stream}
        answer = person.http.post(f"{person.stack.url}/v1/chat/completions", json=body | fields)
        assert set(answer.headers["x-adapted"].split(", ")) == {"temperature", "reasoning_effort=low"}


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("claude-haiku", "[[input=100000]]"),
        ("claude-haiku", "[[input=100001]]"),
        ("global.anthropic.claude-haiku-5-5", "[[input=100001]]"),
        ("claude-opus", "[[input=5000]]"),
        ("jp.anthropic.claude-sonnet-4-5-20250929-v1:0", ""),
        ("nova-lite", ""),
    ],
)
def test_cost_is_the_bill_of_the_emulator(person: Person, model: str, text: str) -> None:
    answer = person.send_buffered(f"rivers {text} {SHORT}", model=model)
    assert answer.status_code == 200, answer.text
    assert answer.json()["usage"]["costUsd"] == pytest.approx(person.stack.requests()[-1]["dollars"])


TOOLS = [{"type": "function", "function": {"name": "weather"}}]


@pytest.mark.parametrize("stream", [False, True], ids=["in-one-piece", "streamed"])
@pytest.mark.parametrize("model", ["claude-opus", "claude-haiku", "claude-haiku-4-5"])
def test_reasoning_of_two_rounds_of_tools_is_sent_back_and_later_turns_send_none(
    person: Person, model: str, stream: bool
) -> None:
    """The emulator compares the blocks with those that it made, byte for byte and in place."""

    def ask(messages: list[dict[str, Any]], name: str = model) -> tuple[dict[str, Any], int]:
        body = {"model": name, "messages": messages, "tools": TOOLS, "reasoning_effort": "high", "stream": stream}
        answer = message_of(person.http.post(f"{person.stack.url}/v1/chat/completions", json=body))
        sent = person.stack.requests()[-1]["body"]["messages"]
        return answer, sum("reasoningContent" in block for each in sent for block in each["content"])

    messages: list[dict[str, Any]] = [{"role": "user", "content": "Weather? [[tokens=3 tool=weather pace=1 first=1]]"}]
    for rounds in range(2):
        answer, blocks = ask(messages)
        assert blocks == rounds
        call = answer["tool_calls"][0]
        result = f"mild [[tokens=3 {'tool=weather ' if rounds == 0 else ''}pace=1 first=1]]"
        messages += [answer, {"role": "tool", "tool_call_id": call["id"], "content": result}]
    last, blocks = ask(messages)
    assert blocks == 2
    later = [*messages, last, {"role": "user", "content": f"And tomorrow? {SHORT}"}]
    assert ask(later)[1] == 0
    assert ask(messages, "claude-sonnet")[1] == 0
    assert ask(later, "nova-lite")[1] == 0


def test_day_budget_is_used_up_by_the_price_above_the_limit_of_input_tokens() -> None:
    """At the first price, 100,001 input tokens of Claude Haiku 5.5 cost a fifth of the budget."""
    stack = start_stack("--parameter", "UserDayUsd=0.05")
    try:
        with Person(stack) as user:
            first = user.send_buffered(f"rivers [[input=100001]] {SHORT}", model="claude-haiku")
            assert first.json()["usage"]["costUsd"] > 0.05
            second = user.send_buffered(SHORT, model="claude-haiku")
            assert (second.status_code, second.json()["error"]["code"]) == (429, "budget_exhausted")
        with Person(stack) as user:
            assert user.send_buffered(f"rivers [[input=99999]] {SHORT}", model="claude-haiku").status_code == 200
            assert user.send_buffered(SHORT, model="claude-haiku").status_code == 200
            unpriced = user.send_buffered(SHORT, model="openai.gpt-6-sol")
            assert unpriced.status_code == 404
            assert "claude-haiku, " in unpriced.json()["error"]["message"]
    finally:
        stop_stack(stack)
