"""Whose answers are handed over, by unmodified boto3 to something that speaks Lambda's Invoke API."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from converse_stream.auth import User
from converse_stream.aws import deadlines
from converse_stream.dispatch.learning import DISPATCH_SECONDS, Learning
from converse_stream.flags.feature_flags import FlagProvider, flags_of
from converse_stream.generation.generation import Generation
from converse_stream.protocol.events import (
    Complete,
    Error,
    Event,
    Timing,
    Usage,
)
from converse_stream.settings import Settings
from tests.contract.test_store import answer, new_head, user_message

ALICE = User("alice")
STORED = Complete("stop", user_message("hello"), answer(), Usage(), Timing(1, 1))
FAILED = Error("storage", "Not stored.", retryable=True, status=503, request_id="a-request", message_id=None)


class Lambda(ThreadingHTTPServer):
    """Takes every event, or refuses it with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.status = 202
        self.connections = 0
        self.events: list[dict[str, Any]] = []


class Door(BaseHTTPRequestHandler):
    server: Lambda
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        self.server.events.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(self.server.status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lambda]:
    with Lambda() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", f"http://127.0.0.1:{server.server_port}")
        server.daemon_threads = True
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def learning(aws: Lambda) -> Iterator[Learning]:
    client = deadlines.client("lambda", DISPATCH_SECONDS)
    yield Learning(client, "tasks", FlagProvider())
    client.close()


def turn(last: Event = STORED) -> Generation:
    """As much of one as is looked at when it has ended."""
    ended: Any = SimpleNamespace(generation_id="a-generation", wait=lambda *_: [SimpleNamespace(event=last)])
    return ended  # type: ignore[no-any-return]  # see above


def test_answers_in_a_row_share_a_connection(aws: Lambda, learning: Learning) -> None:
    for _ in range(3):
        learning.dispatch(ALICE, turn())
    assert aws.events == [{"task": "learn", "user": "alice", "generation": "a-generation"}] * 3
    assert aws.connections == 1


def test_an_answer_that_the_callers_own_key_paid_for_is_not_handed_over(aws: Lambda, learning: Learning) -> None:
    learning.dispatch(User("alice", bedrock_key=SecretStr("their-own")), turn())
    assert aws.events == []


@pytest.mark.parametrize("begun", [turn(FAILED), new_head("a-conversation")], ids=["failed", "seen"])
def test_only_who_stored_an_answer_hands_it_over(aws: Lambda, learning: Learning, begun: Any) -> None:
    learning.dispatch(ALICE, begun)
    assert aws.events == []


def test_who_is_switched_off_is_not_learned_from(aws: Lambda, tmp_path: Any) -> None:
    path = tmp_path / "flags.json"
    condition = {"action": "EQUALS", "key": "user", "value": "alice"}
    off = {"default": True, "rules": {"her": {"when_match": False, "conditions": [condition]}}}
    path.write_text(json.dumps({"learning": off}))
    settings = Settings(table_name="chat", auth_mode="dev", url_auth_type="AWS_IAM", flags_file=str(path))
    learning = Learning(deadlines.client("lambda", DISPATCH_SECONDS), "tasks", flags_of(settings))
    for user in ("alice", "bob"):
        learning.dispatch(User(user), turn())
    assert [event["user"] for event in aws.events] == ["bob"]


@pytest.mark.parametrize("status", [429, 500])
def test_what_cannot_be_handed_over_is_no_error_of_the_answer(aws: Lambda, learning: Learning, status: int) -> None:
    aws.status = status
    learning.dispatch(ALICE, turn())
    assert len(aws.events) == 1
