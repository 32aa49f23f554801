"""Each dialect at each streaming entry point, and behaviour that only some dialects have."""

import json
from typing import Any

import httpx
import pytest

from tests.e2e.chat import Person, text_of

SHORT = "[[tokens=5 pace=1 first=1]]"
CHAT = "ai-chat-of-a-test"


def send_ai_sdk(
    person: Person, text: str, identity: str = "m1", entry_point: str | None = None, **body: Any
) -> httpx.Response:
    message = {"id": identity, "role": "user", "parts": [{"type": "text", "text": text}]}
    url = f"{entry_point or person.stack.url}/ai/chat"
    return person.http.post(url, json={"id": CHAT, "messages": [message], "trigger": "submit-message", **body})


def text_of_deltas(response: httpx.Response) -> str:
    lines = [line[6:] for line in response.text.splitlines() if line.startswith("data: {")]
    return "".join(json.loads(line).get("delta", "") for line in lines)


@pytest.mark.parametrize("entry_point", ["url", "rest", "host"])
def test_every_dialect_streams_at_every_entry_point(person: Person, entry_point: str) -> None:
    base = getattr(person.stack, entry_point)
    plain = person.http.post(f"{base}/chat?dialect=plain", json={"message": {"text": SHORT}})
    assert plain.text.endswith("data: [DONE]\n\n")
    answer = send_ai_sdk(person, SHORT, entry_point=base)
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert text_of_deltas(answer) == text_of(person.messages(CHAT)[-1])
    completion_request = {"model": "nova-lite", "stream": True, "messages": [{"role": "user", "content": SHORT}]}
    completion = person.http.post(f"{base}/v1/chat/completions", json=completion_request)
    assert completion.text.endswith("data: [DONE]\n\n")
    assert '"finish_reason":"stop"' in completion.text


def test_a_new_ai_sdk_message_cancels_the_running_generation(person: Person) -> None:
    """useChat's stop() only closes the connection, so the next message cancels the running generation."""
    message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": "[[tokens=400 pace=50 first=1]]"}]}
    body = {"id": CHAT, "messages": [message], "trigger": "submit-message"}
    with person.http.stream("POST", f"{person.stack.url}/ai/chat", json=body) as response:
        assert any("text-delta" in line for line in response.iter_lines())
    assert text_of_deltas(send_ai_sdk(person, SHORT, "m2"))
    stored = person.messages(CHAT)
    assert [message["role"] for message in stored] == ["user", "assistant"] * 2
    assert stored[1]["finishReason"] == "cancelled"
    assert text_of(stored[1])


def test_a_regeneration_with_an_edited_message_is_refused(person: Person) -> None:
    send_ai_sdk(person, SHORT)
    refused = send_ai_sdk(person, f"changed {SHORT}", trigger="regenerate-message")
    assert (refused.status_code, refused.json()["error"]["field"]) == (400, "messages")
    assert send_ai_sdk(person, SHORT, trigger="regenerate-message").status_code == 200


def test_a_follower_over_the_limit_gets_429(person: Person) -> None:
    body = {"message": {"text": "[[tokens=400 pace=50 first=1]]"}, "conversationId": "many-follow"}
    key = {"idempotency-key": "the-same"}
    url = f"{person.stack.url}/chat"
    streams = [person.http.stream("POST", url, json=body, headers=key) for _ in range(6)]
    opened = [stream.__enter__() for stream in streams]
    try:
        assert [response.status_code for response in opened] == [200] * 6
        refused = person.http.post(url, json=body, headers=key)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_followers")
        assert refused.headers["retry-after"] == "5"
    finally:
        person.cancel("many-follow")
        for stream in streams:
            stream.__exit__(None, None, None)


def test_an_early_cancellation_is_charged_for_the_input(person: Person) -> None:
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
    [("nova-micro", 128_001, True), ("claude-haiku-4-5", 200_001, True), ("nova-micro", 520_000, False)],
    ids=["refused by Nova", "refused by Claude", "not sent"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["buffered", "streamed"])
def test_a_conversation_over_the_context_window_is_a_client_error(
    person: Person, model: str, words: int, sent: bool, stream: bool
) -> None:
    requests_before = len(person.stack.requests())
    half = {"role": "user", "content": "a " * (words // 2 + 1)}
    body = {"model": model, "stream": stream, "messages": [half, half]}
    answer = person.http.post(f"{person.stack.url}/v1/chat/completions", json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"], error["code"]) == (
        400,
        "invalid_request_error",
        "context_length_exceeded",
    )
    assert (len(person.stack.requests()) > requests_before) == sent


def test_a_truncated_tool_call_ends_with_length(person: Person) -> None:
    schema = {"properties": {"city": {"type": "string"}}}  # the type "object" is added
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


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "buffered"])
def test_signed_reasoning_goes_back_to_bedrock_with_the_results_of_its_calls(person: Person, stream: bool) -> None:
    url = f"{person.stack.url}/v1/chat/completions"
    question = {"role": "user", "content": "Tell me about Lisbon [[tokens=3 tool=weather pace=1 first=1]]"}
    body = {
        "model": "claude-haiku",
        "messages": [question],
        "tools": [{"type": "function", "function": {"name": "weather"}}],
        "reasoning_effort": "low",
        "stream": stream,
    }
    message = message_of(person.http.post(url, json=body))
    [block] = message["reasoning_details"]
    assert block["text"] == message["reasoning_content"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "mild"}
    answer = message_of(person.http.post(url, json={**body, "messages": [question, message, result]}))
    assert answer["reasoning_content"]
    sent = person.stack.requests()[-1]["body"]["messages"][1]["content"][0]
    assert sent == {"reasoningContent": {"reasoningText": {"text": block["text"], "signature": block["signature"]}}}


def message_of(response: httpx.Response) -> dict[str, Any]:
    """The assistant's message of a completion, as a client joins it from the chunks of a stream."""
    assert response.status_code == 200, response.text
    if not response.headers["content-type"].startswith("text/event-stream"):
        whole: dict[str, Any] = response.json()["choices"][0]["message"]
        return whole
    message: dict[str, Any] = {}
    for line in response.text.splitlines():
        if line.startswith("data: {"):
            for name, value in json.loads(line[6:])["choices"][0]["delta"].items():
                message[name] = message[name] + value if name in message else value
    for call in message.get("tool_calls", []):
        del call["index"]
    return message
