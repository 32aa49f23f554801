"""How often a waiting user waits for the table: at most three times in a row before the model is asked."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.httpsession import URLLib3Session

from converse_stream import service
from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.http.bodies import ChatRequest, Send
from converse_stream.protocol.ids import new_id
from converse_stream.settings import Settings
from local_stack.dynamodb.server import DynamoDB

CONVERSATION = "round-trips"


class Context(LambdaContext):
    _aws_request_id = "request"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 60_000


class Waits:
    """Requests by when they began and ended."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []
        self._lock = threading.Lock()

    def note(self, begun: float) -> None:
        with self._lock:
            self.spans.append((begun, time.monotonic()))

    def in_a_row(self) -> int:
        """The longest chain of requests, each of which began after the one before had ended."""
        count, free = 0, 0.0
        for begun, ended in sorted(self.spans, key=lambda span: span[1]):
            if begun >= free:
                count, free = count + 1, ended
        return count


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch, moto: DynamoDB) -> Iterator[Waits]:
    seen, send = Waits(), URLLib3Session.send

    def timed(session: URLLib3Session, request: Any) -> Any:
        begun = time.monotonic()
        try:
            return send(session, request)
        finally:
            seen.note(begun)

    monkeypatch.setattr(URLLib3Session, "send", timed)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", moto.url)
    moto.set_faults(delay_ms=50)  # so that what runs side by side is seen to
    yield seen
    moto.set_faults()


def test_three_waits_before_the_model_is_asked(waits: Waits) -> None:
    settings = Settings(table_name="ChatTable", auth_mode="dev", url_auth_type="AWS_IAM", memory_milliseconds=5000)
    app = Container(settings)
    for _ in range(2):  # a new conversation, and one with a history
        waits.spans.clear()
        body = ChatRequest.model_validate({"message": {"text": "hi"}, "conversationId": CONVERSATION})
        service.start(app, User("somebody", "address"), body, Send(new_id(), "payload"), Context())
        # History, profile, an earlier send and what was used (two) side by side; user and address; one transaction
        # and beside it the facts.
        assert len(waits.spans) == 5 + 2 + 2
        assert waits.in_a_row() == 3
        active = app.conversations.get("somebody", CONVERSATION).active
        record = app.generations.get("somebody", active or "")
        assert record is not None
        app.generations.reap("somebody", record)  # so that the next one may begin
