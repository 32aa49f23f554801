"""The first request of an execution environment: open connections, and more time for its lookup."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from converse_stream import container as composition
from converse_stream import service
from converse_stream.auth import User
from converse_stream.aws import deadlines
from converse_stream.container import Container
from converse_stream.dialects import buffered
from converse_stream.generation.generation import Generation
from converse_stream.http.bodies import ChatRequest, Send
from converse_stream.protocol.ids import new_id
from converse_stream.settings import Settings
from local_stack.dynamodb.server import DynamoDB
from local_stack.identity.certificates import Authority
from tests.contract.test_recall import endpoints, message
from tests.contract.test_round_trips import Context
from tests.wire.bedrock_standin import standin
from tests.wire.slow_server import slow_server, threads_ended
from tests.wire.slow_tls import SlowTls, slow_tls

HANDSHAKE = 0.35  # seconds, longer than the connect timeout of a lookup's client
LONG_BUDGETS = {"memory_milliseconds": 3_000, "cold_memory_milliseconds": 8_000}


def settings(**more: Any) -> Settings:
    return Settings(table_name="ChatTable", auth_mode="dev", url_auth_type="AWS_IAM", **more)


@contextmanager
def behind_slow_tls(
    moto: DynamoDB, authority: Authority, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> Iterator[tuple[Container, SlowTls, SlowTls]]:
    """Yields an application, and the proxies with slow TLS handshakes of its table and its model."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    with ExitStack() as stack:
        table = stack.enter_context(slow_tls(moto.url, HANDSHAKE, authority.server_context()))
        bedrock = stack.enter_context(standin())
        model = stack.enter_context(slow_tls(bedrock.url, HANDSHAKE, authority.server_context()))
        stack.enter_context(endpoints(DYNAMODB=table.url, BEDROCK_RUNTIME=model.url))
        yield Container(settings(**more)), table, model


def answer_of(app: Container, **body: Any) -> dict[str, Any]:
    """Returns the buffered answer to a message."""
    body_model = ChatRequest.model_validate({"message": {"text": "hi [[tokens=3 pace=1 first=1]]"}, **body})
    turn = service.start(app, User("user", "address"), body_model, Send(new_id(), "payload"), Context())
    assert isinstance(turn, Generation)
    status, answer = buffered.answer(turn)
    assert status == 200
    return answer


def test_the_first_answer_has_its_history_and_opens_no_connection(
    moto: DynamoDB, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with behind_slow_tls(moto, authority, monkeypatch, **LONG_BUDGETS) as (app, table, model):
        opened = table.accepted, model.accepted
        assert (table.requests, model.requests) == (0, 0)
        answer = answer_of(app)
        assert "missing" not in answer
        assert (table.accepted, model.accepted) == opened == (5, 1)
        assert 0 < table.requests <= 5
        assert model.requests == 1


def test_a_buffered_answer_lists_the_missing_sources(
    moto: DynamoDB, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "open_connections", lambda *_: None)
    with behind_slow_tls(moto, authority, monkeypatch) as (app, _, _):
        assert answer_of(app)["missing"] == ["history", "profile", "facts"]


def test_a_cold_lookup_has_more_time_for_its_handshakes(
    moto: DynamoDB, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "open_connections", lambda *_: None)
    with behind_slow_tls(moto, authority, monkeypatch, **LONG_BUDGETS) as (app, table, _):
        assert "missing" not in answer_of(app)
        opened = table.accepted
        assert "missing" not in answer_of(app)
        assert table.accepted == opened
        # Also after a pause, as long as the server keeps the connections open.
        later = time.time() + 60
        monkeypatch.setattr(time, "time", lambda: later)
        assert "missing" not in answer_of(app)
        assert table.accepted == opened


def test_the_second_lookup_has_the_usual_time(moto: DynamoDB, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "open_connections", lambda *_: None)
    real_client = deadlines.client

    def hanging(service: str, seconds: float) -> Any:
        with endpoints(DYNAMODB=server.url):
            return real_client(service, seconds)

    with slow_server() as server, endpoints(DYNAMODB=moto.url):
        monkeypatch.setattr(deadlines, "client", hanging)
        app = Container(settings(cold_memory_milliseconds=1_500))
        times = []
        for _ in range(2):
            started_at = time.monotonic()
            assert service.preview(app, User("user", "address"), message("hi")).missing == (
                "history",
                "profile",
                "facts",
            )
            times.append(time.monotonic() - started_at)
        assert times[0] >= 1.5
        assert times[1] < 1


def test_an_endpoint_that_does_not_respond_only_delays_the_init_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
        closed.close()
        hanging, refusing = f"https://127.0.0.1:{silent.getsockname()[1]}", f"https://127.0.0.1:{port}"
        with endpoints(DYNAMODB=hanging, BEDROCK_RUNTIME=refusing):
            Container(settings())  # loads what is loaded once per process
            started_at = time.monotonic()
            Container(settings())
            assert 0.5 <= time.monotonic() - started_at < 3
        assert threads_ended("connect", 2)
