"""Each dialect at each streaming door, and what its clients may do that the native one's do not."""

import json
from typing import Any

import httpx
import pytest

from tests.e2e.chat import Person, text_of

QUICK = "[[tokens=5 pace=1 first=1]]"
CHAT = "ai-chat-of-a-test"


def ai(person: Person, text: str, identity: str = "m1", door: str | None = None, **body: Any) -> httpx.Response:
    message = {"id": identity, "role": "user", "parts": [{"type": "text", "text": text}]}
    url = f"{door or person.stack.url}/ai/chat"
    return person.http.post(url, json={"id": CHAT, "messages": [message], "trigger": "submit-message", **body})


def spoken(response: httpx.Response) -> str:
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
    return "".join(json.loads(line).get("delta", "") for line in lines)


@pytest.mark.parametrize("door", ["url", "rest", "host"])
def test_every_dialect_streams_at_every_door(person: Person, door: str) -> None:
    base = getattr(person.stack, door)
    plain = person.http.post(f"{base}/chat?dialect=plain", json={"message": {"text": QUICK}})
    assert plain.text.endswith("data: [DONE]\n\n")
    answer = ai(person, QUICK, door=base)
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert spoken(answer) == text_of(person.messages(CHAT)[-1])
    asked = {"model": "nova-lite", "stream": True, "messages": [{"role": "user", "content": QUICK}]}
    completion = person.http.post(f"{base}/v1/chat/completions", json=asked)
    assert completion.text.endswith("data: [DONE]\n\n")
    assert '"finish_reason":"stop"' in completion.text


def test_a_new_question_after_the_front_end_hung_up_is_answered(person: Person) -> None:
    """useChat's stop() only hangs up; what was being made is then stopped by the next question."""
    message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "[[tokens=400 pace=50 first=1]]"}]}
    body = {"id": CHAT, "messages": [message], "trigger": "submit-message"}
    with person.http.stream("POST", f"{person.stack.url}/ai/chat", json=body) as response:
        assert any("text-delta" in line for line in response.iter_lines())
    assert spoken(ai(person, QUICK, "m2"))
    stored = person.messages(CHAT)
    assert [each["role"] for each in stored] == ["user", "assistant"] * 2
    assert stored[1]["finishReason"] == "cancelled"
    assert text_of(stored[1])


def test_an_edited_question_is_not_answered_as_the_old_one(person: Person) -> None:
    ai(person, QUICK)
    refused = ai(person, f"changed {QUICK}", trigger="regenerate-message")
    assert (refused.status_code, refused.json()["error"]["field"]) == (400, "messages")
    assert ai(person, QUICK, trigger="regenerate-message").status_code == 200


def test_one_follower_too_many_is_told_so_before_the_stream(person: Person) -> None:
    body = {"message": {"text": "[[tokens=400 pace=50 first=1]]"}, "conversationId": "many-follow"}
    key = {"idempotency-key": "the-same"}
    url = f"{person.stack.url}/chat"
    streams = [person.http.stream("POST", url, json=body, headers=key) for _ in range(6)]
    opened = [stream.__enter__() for stream in streams]
    try:
        assert [each.status_code for each in opened] == [200] * 6
        refused = person.http.post(url, json=body, headers=key)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_followers")
        assert refused.headers["retry-after"] == "5"
    finally:
        person.cancel("many-follow")
        for stream in streams:
            stream.__exit__(None, None, None)


def test_an_early_stop_is_charged_for_what_the_model_had_read(person: Person) -> None:
    text = f"[[first=5000 tokens=5]] {'word ' * 400}"
    body = {"message": {"text": text}, "conversationId": "early-stop"}
    with person.http.stream("POST", f"{person.stack.url}/chat", json=body) as response:
        lines = response.iter_lines()
        assert any('"start"' in line for line in lines)
        assert person.cancel("early-stop").status_code == 202
        end = json.loads(next(line for line in lines if '"complete"' in line).removeprefix("data: "))
    assert end["finishReason"] == "cancelled"
    assert end["usage"]["basis"] == "estimated"
    assert end["usage"]["inputTokens"] > 400
    assert end["usage"]["costUsd"] > 0


@pytest.mark.parametrize(
    ("model", "words", "sent"),
    [("nova-micro", 128_001, True), ("claude-haiku", 200_001, True), ("nova-micro", 520_000, False)],
    ids=["refused by Nova", "refused by Claude", "not sent at all"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["one piece", "streamed"])
def test_a_conversation_above_the_window_is_the_callers_error(
    person: Person, model: str, words: int, sent: bool, stream: bool
) -> None:
    asked = len(person.stack.requests())
    half = {"role": "user", "content": "a " * (words // 2 + 1)}
    body = {"model": model, "stream": stream, "messages": [half, half]}
    answer = person.http.post(f"{person.stack.url}/v1/chat/completions", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (
        400,
        "invalid_request_error",
        "context_length_exceeded",
    )
    assert (len(person.stack.requests()) > asked) == sent


def test_a_tool_call_that_the_limit_cuts_ends_with_length(person: Person) -> None:
    schema = {"properties": {"city": {"type": "string"}}}  # its type is added
    body = {
        "model": "nova-lite",
        "messages": [{"role": "user", "content": "Tell me about Lisbon [[tokens=3 tool=weather pace=1 first=1]]"}],
        "tools": [{"type": "function", "function": {"name": "weather", "parameters": schema}}],
        "max_completion_tokens": 4,
    }
    answer = person.http.post(f"{person.stack.url}/v1/chat/completions", json=body).json()
    [choice] = answer["choices"]
    assert (choice["finish_reason"], "tool_calls" in choice["message"]) == ("length", False)
    assert answer["usage"]["completion_tokens"] == 4
    assert person.stack.requests()[-1]["body"]["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"] == {
        "json": {"type": "object", **schema}
    }
