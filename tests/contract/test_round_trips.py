"""Sequential requests to the table before the model call: at most three."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream import service
from converse_stream.auth import User
from converse_stream.aws.dynamodb import DynamoDB as DynamoDBClient
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


class RequestSpans:
    """Start and end times of requests."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []
        self._lock = threading.Lock()

    def note(self, started_at: float) -> None:
        with self._lock:
            self.spans.append((started_at, time.monotonic()))

    def longest_chain(self) -> int:
        """Returns the length of the longest chain of requests in which each starts after the previous one ended."""
        count, free = 0, 0.0
        for started_at, ended in sorted(self.spans, key=lambda span: span[1]):
            if started_at >= free:
                count, free = count + 1, ended
        return count


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch, moto: DynamoDB) -> Iterator[RequestSpans]:
    recorded, attempt = RequestSpans(), DynamoDBClient._attempt

    def timed(client: DynamoDBClient, operation: str, body: bytes) -> Any:
        started_at = time.monotonic()
        try:
            return attempt(client, operation, body)
        finally:
            recorded.note(started_at)

    monkeypatch.setattr(DynamoDBClient, "_attempt", timed)
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", moto.url)
    moto.set_faults(delay_ms=50)  # so that concurrent requests overlap
    yield recorded
    moto.set_faults()


def test_three_sequential_requests_before_the_model_call(spans: RequestSpans) -> None:
    settings = Settings(table_name="ChatTable", auth_mode="dev", url_auth_type="AWS_IAM", memory_milliseconds=5000)
    app = Container(settings)
    for _ in range(2):  # a new conversation, and one with a history
        spans.spans.clear()
        body = ChatRequest.model_validate({"message": {"text": "hi"}, "conversationId": CONVERSATION})
        service.start(app, User("user", "address"), body, Send(new_id(), "payload"), Context())
        # Concurrently: history, profile, an earlier send and the usage (two). Then user and address. Then one
        # transaction and, concurrently, the facts.
        assert len(spans.spans) == 5 + 2 + 2
        assert spans.longest_chain() == 3
        active = app.conversations.get("user", CONVERSATION).active
        record = app.generations.get("user", active or "")
        assert record is not None
        app.generations.reap("user", record)  # so that the next generation can start
