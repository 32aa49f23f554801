"""Streaming from the client to Bedrock and back, through real entry points and real processes."""

import json
import subprocess
import time
from itertools import pairwise
from typing import Any

import httpx
import pytest

from converse_stream.openapi.answers import Answer, ConversationPage, Fact, FactList, MessagePage, Profile
from tests.e2e.chat import Person, text_of
from tests.stack import RunningStack


def test_curl_receives_the_answer_token_by_token(stack: RunningStack) -> None:
    command = ["curl", "-sN", "-X", "POST", f"{stack.url}/chat", "-H", "content-type: application/json"]
    command += ["-d", '{"message":{"text":"Tell me about rivers"}}']
    started_at = time.monotonic()
    events, times = [], []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as curl:
        assert curl.stdout is not None
        for line in curl.stdout:
            if line.startswith("data: "):
                events.append(json.loads(line[6:]))
                times.append(time.monotonic() - started_at)
    kinds = [event["type"] for event in events]
    assert kinds[0] == "start"
    assert kinds.count("chunk") >= 20
    assert kinds[-1] == "complete"
    assert events[-1]["usage"]["basis"] == "exact"
    assert events[-1]["usage"]["outputTokens"] > 20
    chunk_times = [time for kind, time in zip(kinds, times, strict=True) if kind == "chunk"]
    assert times[0] < chunk_times[0]
    assert chunk_times[-1] - chunk_times[0] > 0.5 * times[-1], "the chunks are spread over the duration of the answer"


def test_frames_paced_at_100_ms_are_received_separately(person: Person) -> None:
    answer = person.send("[[tokens=10 pace=100 first=100]] slowly, please")
    times = answer.times_of("chunk")
    assert len(times) == 10
    separate = [later - earlier > 0.03 for earlier, later in pairwise(times)]
    assert separate.count(True) >= 7, "on a busy machine, a few frames may be received together"


def test_the_prompt_has_the_history_and_the_facts(person: Person) -> None:
    first = person.send("Tell me about rivers [[pace=1 first=1]]")
    person.remember("my dog is called Rex")
    second = person.send("What about my dog? [[pace=1 first=1]]", conversationId=first.start["conversationId"])
    assert "Rex" in second.text
    assert "rivers" in second.text
    sent = person.stack.requests()[-1]["body"]
    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    assert sent["messages"][1]["content"][0]["text"] == first.text


def test_a_forgotten_fact_is_not_in_the_next_prompt(person: Person) -> None:
    fact = person.remember("my dog is called Rex")
    Fact.model_validate(fact)
    FactList.model_validate(person.http.get(f"{person.stack.gateway}/memory").json())
    assert person.http.delete(f"{person.stack.gateway}/memory/{fact['id']}").status_code == 204
    assert person.http.delete(f"{person.stack.gateway}/memory/{fact['id']}").status_code == 404
    assert "Rex" not in person.send("What about my dog? [[pace=1 first=1]]").text


def test_a_profile_patch_keeps_the_other_fields(person: Person) -> None:
    url = f"{person.stack.host}/profile"
    profile = {"name": "Grace", "assistantName": "Bob", "about": "sails"}
    person.http.put(url, json=profile).raise_for_status()
    changes: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"learning": False}, {**profile, "learning": False}),
        ({}, {**profile, "learning": False}),
        ({"assistantName": None, "about": "rows"}, {"name": "Grace", "about": "rows", "learning": False}),
        ({"learning": None, "name": "Ada"}, {"name": "Ada", "about": "rows", "learning": False}),
        ({"learning": True}, {"name": "Ada", "about": "rows", "learning": True}),
    ]
    for change, expected in changes:
        changed = person.http.patch(url, json=change)
        assert changed.json() == person.http.get(url).json() == expected
        Profile.model_validate(changed.json())
    refused = person.http.patch(url, json={"nickname": "Al"})
    assert (refused.status_code, refused.json()["error"]["field"]) == (400, "nickname")
    assert person.http.put(url, json={}).json() == {"learning": True}, "PUT replaces the profile"


def test_the_profile_is_in_the_system_prompt(person: Person) -> None:
    profile = {"name": "Grace", "assistantName": "Bob", "about": "sails"}
    saved = person.http.put(f"{person.stack.gateway}/profile", json=profile).json()
    assert saved == person.http.get(f"{person.stack.gateway}/profile").json() == {**profile, "learning": True}
    Profile.model_validate(saved)
    person.send("hello [[tokens=3 pace=1 first=1]]")
    system = person.stack.requests()[-1]["body"]["system"][0]["text"]
    assert "as the user wants it: Bob" in system
    assert "Grace" in system


def fold(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns the streamed events as a buffered answer."""
    start, end = events[0], events[-1]
    return {**start, **end, "text": "".join(event["content"] for event in events if event["type"] == "chunk")}


def test_a_buffered_answer_equals_the_streamed_one(person: Person, other: Person) -> None:
    streaming, buffered, stack = person, other, person.stack
    question = "Tell me about rivers [[pace=1 first=1]]"
    streamed = fold(streaming.send(question).events)
    buffered_answer = buffered.send_buffered(question).json()
    Answer.model_validate(buffered_answer)
    unstreamed = streaming.http.post(f"{stack.url}/chat?stream=false", json={"message": {"text": question}})
    assert unstreamed.headers["content-type"] == "application/json"
    for answer in (buffered_answer, unstreamed.json()):
        assert text_of(answer["aiMessage"]) == text_of(streamed["aiMessage"]) == streamed["text"]
        assert set(answer) == set(streamed) - {"type", "text"}
        assert (answer["finishReason"], answer["model"]) == (streamed["finishReason"], streamed["model"])
        assert answer["usage"]["outputTokens"] == streamed["usage"]["outputTokens"]
    assert MessagePage.model_validate(
        {"messages": buffered.messages(buffered_answer["conversationId"])}
    ) == MessagePage.model_validate({"messages": [buffered_answer["userMessage"], buffered_answer["aiMessage"]]})
    ConversationPage.model_validate(buffered.http.get(f"{stack.gateway}/conversations").json())


def test_the_rest_api_streams(person: Person) -> None:
    answer = person.send("[[tokens=5 pace=100 first=100]] slowly", entry_point=person.stack.rest)
    times = answer.times_of("chunk")
    assert answer.kinds[-1] == "complete"
    separate = [later - earlier > 0.03 for earlier, later in pairwise(times)]
    assert separate.count(True) >= 3, "on a busy machine, a few frames may be received together"


def test_a_model_without_streaming_works_at_both_entry_points(person: Person) -> None:
    question = "Tell me about rivers [[tokens=30 pace=1 first=1]]"
    streamed = person.send(question, model="nova-micro")
    buffered_answer = person.send_buffered(question, model="nova-micro").json()
    assert streamed.kinds == ["start", "chunk", "complete"]
    assert streamed.text == text_of(buffered_answer["aiMessage"])
    assert person.stack.requests()[-1]["path"].endswith("/converse")


def test_a_model_that_refuses_streaming_is_called_again_without_it(person: Person) -> None:
    answer = person.send("rivers [[fault=refuse-stream times=1]] [[tokens=5 pace=1 first=1]]", model="nova-pro")
    assert answer.kinds == ["start", "progress", "chunk", "complete"]
    assert (answer.events[1]["stage"], answer.events[1]["detail"]) == ("adapted", "stream")


def test_reasoning_and_citations_have_their_own_events(person: Person) -> None:
    options = {"reasoning": "low"}
    answer = person.send("[[cite]] [[pace=1 first=1]] rivers", model="claude-haiku", options=options)
    assert {"reasoning", "chunk", "citation"} <= set(answer.kinds)
    stored = person.messages(answer.start["conversationId"])[-1]
    assert {part["type"] for part in stored["parts"]} == {"reasoning", "text", "citation"}
    assert text_of(stored) == answer.text


def test_a_slow_answer_through_the_gateway_ends_after_25_seconds_and_is_stored(person: Person) -> None:
    started_at = time.monotonic()
    answer = person.send_buffered("[[tokens=400 pace=100 first=100]] this takes 40 seconds")
    seconds = time.monotonic() - started_at
    assert answer.status_code == 200
    assert answer.json()["finishReason"] == "deadline"
    assert 24 < seconds < 28
    stored = person.messages(answer.json()["conversationId"])[-1]
    assert (stored["status"], stored["finishReason"]) == ("partial", "deadline")
    assert 150 < len(text_of(stored).split()) < 270


FAULTS = {
    "throttle": ("model_throttled", True),
    "unavailable": ("model_unavailable", True),
    "not-ready": ("model_not_ready", True),
    "access-denied": ("model_access_denied", False),
    "invalid": ("model_invalid_request", False),
    "too-long": ("context_length_exceeded", False),
    "no-profile": ("inference_profile_needed", False),
    "cut at=5": ("model_truncated", True),
    "truncate at=5": ("model_connection_lost", True),
    "no-stop": ("model_truncated", True),
    "reset at=5": ("model_connection_lost", True),
    "bad-crc at=5": ("model_corrupt", True),
    "exception at=5 code=throttlingException": ("model_throttled", True),
    "exception at=5 code=modelStreamErrorException": ("model_internal", True),
    "exception at=5 code=internalServerException": ("model_internal", True),
    "exception at=5 code=serviceUnavailableException": ("model_unavailable", True),
    "exception at=5 code=validationException": ("model_invalid_request", False),
    "stall-headers": ("model_timeout", True),
    "stall at=5": ("model_timeout", True),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_has_its_error_and_keeps_the_received_text(person: Person, fault: str) -> None:
    code, retryable = FAULTS[fault]
    answer = person.send(f"rivers [[fault={fault}]] [[pace=1 first=1]]")
    assert (answer.end["type"], answer.end["code"], answer.end["retryable"]) == ("error", code, retryable)
    assert answer.kinds.count("error") == 1
    stored = person.messages(answer.start["conversationId"])
    assert [message["role"] for message in stored] == ["user", "assistant"]
    assert (stored[-1]["status"], stored[-1]["id"]) == ("failed", answer.end["messageId"])
    assert stored[-1]["error"] == {name: answer.end[name] for name in ("code", "message", "retryable")}
    assert text_of(stored[-1]) == answer.text
    if "at=5" in fault:
        assert len(answer.text.split()) >= 4
    assert person.send("and now? [[tokens=3 pace=1 first=1]]").kinds[-1] == "complete"


def test_a_throttled_model_is_retried_with_a_progress_event(person: Person) -> None:
    answer = person.send("rivers [[fault=throttle times=1]] [[tokens=3 pace=1 first=1]]")
    assert answer.kinds[:2] == ["start", "progress"]
    assert answer.events[1]["stage"] == "retry"
    assert answer.kinds[-1] == "complete"


def test_a_buffered_error_has_its_status_and_conversation(person: Person) -> None:
    answer = person.send_buffered("rivers [[fault=throttle]]")
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "model_throttled"
    assert person.messages(answer.json()["conversationId"])[-1]["status"] == "failed"


def wait_for_stored_answer(person: Person, conversation: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while True:
        messages = person.messages(conversation)
        if len(messages) == 2:
            return messages[-1]
        assert time.monotonic() < deadline, "the answer was not stored in time"
        time.sleep(0.1)


def test_an_answer_is_complete_after_the_client_disconnects(person: Person) -> None:
    body = {"message": {"text": "[[tokens=60 pace=20 first=1]] rivers"}, "conversationId": "disconnected"}
    with person.http.stream("POST", f"{person.stack.url}/chat", json=body) as response:
        next(response.iter_raw())
    answer = wait_for_stored_answer(person, "disconnected")
    assert answer["status"] == "complete"
    assert len(text_of(answer).split()) == 60


@pytest.mark.parametrize("seconds", [3, pytest.param(60, marks=[pytest.mark.long, pytest.mark.timeout(120)])])
def test_an_answer_is_complete_although_the_client_stops_reading(person: Person, seconds: float) -> None:
    body = {"message": {"text": "[[tokens=4000 pace=0 first=1]] rivers"}, "conversationId": "not-reading"}
    with person.http.stream("POST", f"{person.stack.url}/chat", json=body) as response:
        read = response.iter_raw(1)
        first = next(read)
        time.sleep(seconds)
        answer = wait_for_stored_answer(person, "not-reading")
        assert answer["status"] == "complete"
        rest = b"".join(read)
    assert len(text_of(answer).split()) == 4000
    assert b'"type":"complete"' in first + rest


def test_a_four_byte_character_split_at_every_byte_is_received_completely(person: Person) -> None:
    question = "Tell me about 🌊🛶河 [[fault=split]] [[tokens=40 pace=1 first=1]]"
    body = {"message": {"text": question}, "conversationId": "four-byte"}
    with person.http.stream("POST", f"{person.stack.url}/chat", json=body) as response:
        raw_chunks = list(response.iter_raw())
    for raw_chunk in raw_chunks:
        raw_chunk.decode()  # no chunk ends within a character
    events = [json.loads(line[6:]) for line in b"".join(raw_chunks).decode().split("\n") if line.startswith("data: ")]
    text = "".join(event["content"] for event in events if event["type"] == "chunk")
    assert "🌊🛶河" in text
    assert "\ufffd" not in text
    assert text == text_of(person.messages("four-byte")[-1])


BAD_BODIES = [
    (b"{", {}, 400, "body"),
    (b'[{"message":{"text":"hi"}}]', {}, 400, "body"),
    (b'{"message":{"text":"hi"},"colour":"red"}', {}, 400, "colour"),
    (b'{"message":{"text":7}}', {}, 400, "message.text"),
    (b'{"message":{"text":"  "}}', {}, 400, "message.text"),
    (b'{"message":{"text":"hi"},"model":"gpt"}', {}, 404, "model"),
    (b'{"message":{"text":"hi"},"options":{"maxTokens":-1}}', {}, 400, "options.maxTokens"),
    (b'{"message":{"text":"\\ud800"}}', {}, 400, "body"),
    (b'{"message":' + b"[" * 50_000, {}, 400, "body"),
    (json.dumps({"message": {"text": "x" * 32_001}}).encode(), {}, 413, "message.text"),
    (json.dumps({"message": {"text": "x" * 300_000}}).encode(), {}, 413, "body"),
    (b'{"message":{"text":"hi"}}', {"content-type": "text/plain"}, 415, "content-type"),
    (b'{"message":{"text":"hi"}}', {"content-type": "application/octet-stream"}, 415, "content-type"),
]


@pytest.mark.parametrize(("body", "headers", "status", "field"), BAD_BODIES)
@pytest.mark.parametrize("entry_point", ["url", "gateway", "rest"])
def test_an_invalid_body_is_refused_with_its_field_and_not_stored(
    person: Person, entry_point: str, body: bytes, headers: dict[str, str], status: int, field: str
) -> None:
    url = f"{getattr(person.stack, entry_point)}/chat"
    answer = person.http.post(url, content=body, headers={"content-type": "application/json", **headers})
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["field"] == field
    assert error["requestId"]
    assert set(error) == {"code", "message", "requestId", "retryable", "field"}
    assert answer.headers["x-request-id"] == error["requestId"]
    assert person.conversations() == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/chat", 405),
        ("POST", "/nothing", 404),
        ("GET", "/%2e%2e/etc/passwd", 404),
    ],
)
def test_unknown_paths_and_methods_have_their_status(person: Person, method: str, path: str, status: int) -> None:
    assert person.http.request(method, person.stack.url + path).status_code == status


def test_another_users_conversation_is_not_found(person: Person, other: Person) -> None:
    owner, other_user, stack = person, other, person.stack
    owner.send("secret [[tokens=3 pace=1 first=1]]", conversationId="the-owners")
    fact = owner.remember("the code is 1234")
    assert other_user.http.get(f"{stack.gateway}/conversations/the-owners/messages").status_code == 404
    assert other_user.http.delete(f"{stack.gateway}/memory/{fact['id']}").status_code == 404
    assert other_user.conversations() == []
    other_user.send("mine [[tokens=3 pace=1 first=1]]", conversationId="the-owners")
    assert "secret" not in json.dumps(stack.requests()[-1]["body"])
    assert len(owner.messages("the-owners")) == 2


def test_conversations_and_messages_are_paged(person: Person) -> None:
    gateway = person.stack.gateway
    for number in range(3):
        person.send_buffered(f"{number} [[tokens=1 pace=1 first=1]]", conversationId=f"conversation-{number}")
    listed, cursor = [], None
    while True:
        page = person.http.get(f"{gateway}/conversations", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        listed += [item["id"] for item in page.json()["conversations"]]
        cursor = page.json().get("cursor")
        if cursor is None:
            break
    assert listed == ["conversation-2", "conversation-1", "conversation-0"]
    latest = person.http.get(f"{gateway}/conversations/conversation-0/messages", params={"limit": 1}).json()
    older = person.http.get(
        f"{gateway}/conversations/conversation-0/messages", params={"limit": 1, "cursor": latest["cursor"]}
    ).json()
    assert [latest["messages"][0]["role"], older["messages"][0]["role"]] == ["assistant", "user"]
    for cursor in ("nonsense", "WyJhIl0", "/" * 40):
        refused = person.http.get(f"{gateway}/conversations", params={"cursor": cursor})
        assert (refused.status_code, refused.json()["error"]["field"]) == (400, "cursor")


def test_a_failing_table_refuses_before_the_model_call(person: Person) -> None:
    requests_before = len(person.stack.requests())
    person.stack.faults(table={"failForMs": 20_000})
    try:
        answer = person.http.post(f"{person.stack.url}/chat", json={"message": {"text": "hi"}})
    finally:
        person.stack.faults(table={"failForMs": 0})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "storage")
    assert len(person.stack.requests()) == requests_before


def test_a_throttled_table_only_delays_an_answer(person: Person) -> None:
    person.stack.faults(table={"throttle": 2})
    streamed = person.send("[[tokens=3 pace=1 first=1]] throttled", conversationId="throttled-table")
    assert streamed.kinds[-1] == "complete"
    assert [message["role"] for message in person.messages("throttled-table")] == ["user", "assistant"]


def test_a_killed_environment_is_replaced(person: Person) -> None:
    body = {"message": {"text": "[[tokens=100 pace=50 first=1]]"}}
    with person.http.stream("POST", f"{person.stack.url}/chat", json=body) as response:
        raw_chunks = response.iter_raw()
        next(raw_chunks)
        person.stack.kill("StreamFunction")
        with pytest.raises(httpx.HTTPError):
            list(raw_chunks)
    assert person.send("and now? [[tokens=3 pace=1 first=1]]").kinds[-1] == "complete"
