"""Dispatch of the learn task, by unmodified boto3 to a server with Lambda's Invoke API."""

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
from converse_stream.protocol.events import Complete, Error, Event, Timing, Usage
from converse_stream.settings import Settings
from tests.contract.test_store import answer, new_head, user_message

ALICE = User("alice")
STORED = Complete("stop", user_message("hello"), answer(), Usage(), Timing(1, 1))
FAILED = Error("storage", "Not stored.", retryable=True, status=503, request_id="a-request", message_id=None)


class Lambda(ThreadingHTTPServer):
    """Responds to every event with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status = 202
        self.connections = 0
        self.events: list[dict[str, Any]] = []


class Handler(BaseHTTPRequestHandler):
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


def ended_generation(last: Event = STORED) -> Generation:
    """Returns a stand-in for an ended generation with this last event."""
    generation: Any = SimpleNamespace(generation_id="a-generation", wait=lambda *_: [SimpleNamespace(event=last)])
    return generation  # type: ignore[no-any-return]  # see above


def test_consecutive_dispatches_reuse_a_connection(aws: Lambda, learning: Learning) -> None:
    for _ in range(3):
        learning.dispatch(ALICE, ended_generation())
    assert aws.events == [{"task": "learn", "user": "alice", "generation": "a-generation"}] * 3
    assert aws.connections == 1


def test_an_answer_with_the_users_own_key_is_not_dispatched(aws: Lambda, learning: Learning) -> None:
    learning.dispatch(User("alice", bedrock_key=SecretStr("their-own")), ended_generation())
    assert aws.events == []


@pytest.mark.parametrize("result", [ended_generation(FAILED), new_head("a-conversation")], ids=["failed", "attached"])
def test_a_failed_or_attached_answer_is_not_dispatched(aws: Lambda, learning: Learning, result: Any) -> None:
    learning.dispatch(ALICE, result)
    assert aws.events == []


def test_a_user_with_the_learning_flag_off_is_not_dispatched(aws: Lambda, tmp_path: Any) -> None:
    path = tmp_path / "flags.json"
    condition = {"action": "EQUALS", "key": "user", "value": "alice"}
    off = {"default": True, "rules": {"her": {"when_match": False, "conditions": [condition]}}}
    path.write_text(json.dumps({"learning": off}))
    settings = Settings(table_name="chat", auth_mode="dev", url_auth_type="AWS_IAM", flags_file=str(path))
    learning = Learning(deadlines.client("lambda", DISPATCH_SECONDS), "tasks", flags_of(settings))
    for user in ("alice", "bob"):
        learning.dispatch(User(user), ended_generation())
    assert [event["user"] for event in aws.events] == ["bob"]


@pytest.mark.parametrize("status", [429, 500])
def test_a_failed_dispatch_does_not_raise(aws: Lambda, learning: Learning, status: int) -> None:
    aws.status = status
    learning.dispatch(ALICE, ended_generation())
    assert len(aws.events) == 1
