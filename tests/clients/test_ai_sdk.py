"""The AI SDK's chats of versions 5, 6 and 7 against the local stack, and the stream that they receive."""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from converse_stream import service
from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.dialects.ai_sdk.frames import AiSdk
from converse_stream.generation import follower
from converse_stream.generation.follower import Follower
from converse_stream.protocol.events import Chunk, Complete, Error, Event, Message, Rollback, Start, Timing, Usage
from converse_stream.protocol.log import Entry, PositionedEvent, end_of
from converse_stream.store.conversations import Conversation, Conversations
from converse_stream.store.generation_record import GenerationRecord, Status
from converse_stream.store.generations import Generations
from tests.clients.test_httpx_sse import ALPHABET
from tests.clients.test_web_client import node_test
from tests.clients.test_web_client import pytestmark as needs_node
from tests.e2e.chat import Person, text_of
from tests.stack import ROOT, RunningStack

HERE = ROOT / "tests" / "clients" / "ai"
QUICK = "[[tokens=5 pace=1 first=1]]"
SLOW = "[[tokens=400 pace=40 first=1]]"


@pytest.mark.clients
@needs_node
@pytest.mark.parametrize("version", ["ai5", "ai6", "ai7"])
def test_ai_sdk_chat_works_with_the_local_stack(stack: RunningStack, version: str) -> None:
    node_test([HERE / "live.test.js"], AI_SDK=version, STREAM_URL=stack.url, API_URL=stack.gateway)


@pytest.fixture(scope="module")
def megabyte(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a megabyte of text and the stream that contains it."""
    letters = random.Random(1)  # noqa: S311  # reproducible, not a secret
    pieces = ["".join(letters.choices(ALPHABET, k=letters.randint(1, 900))) for _ in range(1_800)]
    answer = Message("message-2", "assistant", (Chunk("".join(pieces)),), "2026-11-21T09:00:00.000Z")
    assert len(answer.text.encode()) > 1024 * 1024
    dialect, end = AiSdk(), Complete("stop", answer, answer, Usage(), Timing(1))
    events: list[Event] = [Start("conversation-1", "message-2", "generation-1", "nova-lite"), *map(Chunk, pieces), end]
    folder = tmp_path_factory.mktemp("megabyte")
    (folder / "sse").write_bytes("".join(dialect.encode(PositionedEvent(event, 0)) for event in events).encode())
    (folder / "text").write_bytes(answer.text.encode())
    return folder


@pytest.mark.clients
@needs_node
@pytest.mark.parametrize("version", ["ai5-first", "ai5", "ai6", "ai7"])
def test_ai_sdk_reads_the_fixtures_and_a_megabyte(megabyte: Path, version: str) -> None:
    node_test(
        [HERE / "stream.test.js"],
        AI_SDK=version,
        MEGABYTE_SSE=str(megabyte / "sse"),
        MEGABYTE_TEXT=str(megabyte / "text"),
    )


# The stream


@pytest.fixture
def person(stack: RunningStack) -> Iterator[Person]:
    with Person(stack) as chat_user:
        yield chat_user


def user_message(text: str, message: str = "client-message") -> dict[str, Any]:
    return {"id": message, "role": "user", "parts": [{"type": "text", "text": text}]}


def chat_request(text: str, **fields: Any) -> dict[str, Any]:
    return {"id": "client-chat", "messages": [user_message(text)], "trigger": "submit-message", **fields}


def post(person: Person, body: dict[str, Any]) -> httpx.Response:
    return person.http.post(f"{person.stack.url}/ai/chat", json=body)


def chunks(answer: httpx.Response) -> list[dict[str, Any]]:
    """Returns the chunks of a stream, without the final `[DONE]`."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    *lines, done = [line.removeprefix("data: ") for line in answer.text.split("\n") if line and line[0] != ":"]
    assert done == "[DONE]"
    return [json.loads(line) for line in lines]


def send_and_disconnect(person: Person, text: str, **fields: str) -> str:
    """Sends a message, disconnects after the first text, and returns the answer's message id."""
    with person.http.stream("POST", f"{person.stack.url}/ai/chat", json=chat_request(text, **fields)) as answer:
        for line in answer.iter_lines():
            if '"text-delta"' in line:
                break
            if '"start"' in line:
                started = json.loads(line.removeprefix("data: "))
    return str(started["messageId"])


def test_stream_has_only_data_lines_and_comments(person: Person) -> None:
    answer = post(person, chat_request(f"rivers {QUICK}"))
    assert {line.partition(":")[0] for line in answer.text.split("\n")} <= {"data", ""}
    assert answer.headers["content-type"] == "text/event-stream"
    kinds = [chunk["type"] for chunk in chunks(answer)]
    assert kinds[:3] == ["start", "start-step", "text-start"]
    assert kinds[-4:] == ["text-end", "finish-step", "message-metadata", "finish"]


BLANK = [{"type": "text", "text": " "}]
FILE = [{"type": "file", "url": "data:,a", "mediaType": "text/plain"}]
REJECTED: dict[str, tuple[dict[str, Any], str]] = {
    "a short id": ({"id": "chat"}, "id"),
    "no messages": ({"messages": []}, "messages"),
    "an answer last": (
        {"messages": [user_message("a"), {**user_message("b"), "role": "assistant"}]},
        "messages.1.role",
    ),
    "a system message": ({"messages": [{**user_message("a"), "role": "system"}]}, "messages.0.role"),
    "a file": ({"messages": [{**user_message("a"), "parts": FILE}]}, "messages.0.parts.0.type"),
    "blank text": ({"messages": [{**user_message("a"), "parts": BLANK}]}, "messages.0"),
    "no parts": ({"messages": [{**user_message("a"), "parts": []}]}, "messages.0"),
    "an edit": ({"messageId": "client-message"}, "messageId"),
    "an unknown trigger": ({"trigger": "resume-stream"}, "trigger"),
    "an unknown option": ({"options": {"heat": 1}}, "options.heat"),
    "an unknown answer": ({"trigger": "regenerate-message", "messageId": "an-answer"}, "messageId"),
}


@pytest.mark.parametrize("case", REJECTED)
def test_rejected_requests_name_the_field_and_store_nothing(person: Person, case: str) -> None:
    fields, field = REJECTED[case]
    rejected = post(person, chat_request("hello", **fields))
    assert (rejected.status_code, rejected.json()["error"]["field"]) == (400, field)
    assert person.conversations() == []


def test_long_client_history_is_accepted_and_only_the_last_message_stored(person: Person) -> None:
    history = [user_message("a" * 1000, f"message-{number}") for number in range(1000)]
    answer = post(person, chat_request("", messages=[*history, user_message(f"rivers {QUICK}")]))
    assert chunks(answer)[-1] == {"type": "finish"}
    assert len(person.messages("client-chat")) == 2


@pytest.mark.parametrize("entry_point", ["url", "gateway"])
def test_stop_closes_the_models_connection_and_leaves_no_part_open(person: Person, entry_point: str) -> None:
    message = send_and_disconnect(person, f"{entry_point} {SLOW}")
    stopped = person.http.post(f"{getattr(person.stack, entry_point)}/ai/chat/client-chat/stop", json={})
    assert stopped.status_code == 202
    repeated = post(person, chat_request(f"{entry_point} {SLOW}"))  # the same request gets the same answer
    replayed = chunks(repeated)
    assert replayed[0]["messageId"] == message
    assert [chunk["type"] for chunk in replayed[-4:]] == ["text-end", "finish-step", "message-metadata", "abort"]
    assert "".join(chunk.get("delta", "") for chunk in replayed) == text_of(person.messages("client-chat")[-1])
    requests = person.stack.requests()
    [request] = [each for each in requests if entry_point in json.dumps(each["body"]["messages"][-1])]
    assert request["state"] == "client-closed"


def test_regenerate_returns_the_running_answer_until_it_is_stopped(person: Person) -> None:
    regenerate = {"trigger": "regenerate-message"}
    first = send_and_disconnect(person, f"rivers {SLOW}")
    assert send_and_disconnect(person, f"rivers {SLOW}", **regenerate) == first
    person.http.post(f"{person.stack.url}/ai/chat/client-chat/stop", json={})
    after = post(person, chat_request(f"rivers {SLOW}", **regenerate))
    if after.status_code == 409:  # the cancellation has not arrived yet
        assert after.json()["error"]["code"] == "conversation_busy"
    else:
        assert chunks(after)[0]["messageId"] != first


def test_regenerate_sends_a_message_that_is_not_stored(person: Person) -> None:
    assert chunks(post(person, chat_request(f"rivers {QUICK}", trigger="regenerate-message")))[-1] == {"type": "finish"}
    assert len(person.messages("client-chat")) == 2


def test_resume_without_an_answer_returns_204(person: Person) -> None:
    assert person.http.get(f"{person.stack.url}/ai/chat/client-chat/stream").status_code == 204
    post(person, chat_request(f"rivers {QUICK}"))
    assert person.http.get(f"{person.stack.url}/ai/chat/client-chat/stream").status_code == 200
    person.http.delete(f"{person.stack.gateway}/conversations/client-chat")
    assert person.http.get(f"{person.stack.url}/ai/chat/client-chat/stream").status_code == 204


# A replay


@pytest.mark.parametrize(
    ("role", "age", "active", "deleted", "replayed"),
    [
        ("assistant", 300, None, False, "newest"),
        ("assistant", 601, None, False, None),
        ("user", 1, None, False, None),  # the answer could not be stored
        ("user", 601, "running", False, "running"),
        ("assistant", 1, "running", True, None),
    ],
)
def test_an_answer_is_replayed_for_ten_minutes(
    role: Any, age: int, active: str | None, deleted: bool, replayed: str | None
) -> None:
    at = (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
    newest = Message("message", role, (), at, generation_id="newest")
    known = Conversation("chat", 2, active=active, deleted=deleted)
    recent = SimpleNamespace(recent=lambda *_: (known, [newest]))
    app = SimpleNamespace(conversations=recent, generations=SimpleNamespace(get_or_reap=lambda _, gid: gid))
    record: Any = service.latest(cast("Container", app), User("alice"), "chat", within=600)
    assert record == replayed


class GrowingGeneration:
    """A table in which an answer grows by one piece per read, until its model fails."""

    def __init__(self, pieces: list[str]) -> None:
        self._records = [record(pieces[:number], "run") for number in range(len(pieces) + 1)]
        self._end = record(pieces, "error")
        self._marks: dict[str, str] = {}

    def observe(self, user: str, gid: str) -> tuple[GenerationRecord, dict[str, str]]:
        return (self._records.pop(0) if self._records else self._end), self._marks

    def add_follower(self, user: str, gid: str, client: str, mark: str) -> None:
        self._marks[client] = mark

    def remove_follower(self, user: str, gid: str, client: str, mark: str) -> None:
        del self._marks[client]

    def read(self, user: str, record: GenerationRecord, since: int) -> list[Entry]:
        return list(record.tail)

    def now(self) -> int:
        return 0

    def mark_followed(self, user: str, record: GenerationRecord, until: int) -> None:
        """A client follows the generation."""


def record(pieces: list[str], status: Status) -> GenerationRecord:
    tail = tuple(map(Chunk, pieces))
    reason = "model_failed" if status == "error" else None
    return GenerationRecord(
        "gid", status, "me", "", "chat", 2, "message", "m", end_of(tail), 0, tail, 0, 0, reason=reason
    )


def events_after(pieces: list[str], after: int | None) -> list[Event]:
    """Returns the events for a follower that has received `after` characters."""
    table, nothing = cast("Generations", GrowingGeneration(pieces)), cast("Conversations", None)
    source = Follower(
        table,
        nothing,
        "alice",
        record([], "run"),
        after=after,
        client=None,
        request_id="request",
        deadline=float("inf"),
    )
    events: list[PositionedEvent] = []
    with pytest.MonkeyPatch.context() as patched, source:
        patched.setattr(follower, "POLL_SECONDS", 0)
        while batch := source.wait(len(events), 5):
            events += batch
    return [item.event for item in events]


@given(st.lists(st.text(min_size=1, max_size=5), max_size=6), st.integers(0, 40))
def test_rollback_is_sent_only_to_a_follower_ahead_of_the_stored_text(pieces: list[str], received: int) -> None:
    start, *text_events, end = events_after(pieces, after=None)
    assert (type(start), type(end)) == (Start, Error)
    assert [type(each) for each in text_events] == [Chunk] * len(text_events)
    assert "".join(each.content for each in text_events if isinstance(each, Chunk)) == "".join(pieces)
    length = len("".join(pieces))
    assert (Rollback(length) in events_after(pieces, after=received)) == (received > length)
