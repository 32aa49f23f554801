"""The first request of an execution environment: its connections are open, and its lookup has more time."""

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
from tests.contract.test_recall import at, message
from tests.contract.test_round_trips import Context
from tests.wire.bedrock_standin import standin
from tests.wire.slow_server import gone, slow_server
from tests.wire.slow_tls import SlowTls, slow_tls

HANDSHAKE = 0.35  # seconds; the client of a lookup waits less for a connection
AMPLE = {"memory_milliseconds": 3_000, "cold_memory_milliseconds": 8_000}


def settings(**more: Any) -> Settings:
    return Settings(table_name="ChatTable", auth_mode="dev", url_auth_type="AWS_IAM", **more)


@contextmanager
def behind_slow_tls(
    moto: DynamoDB, authority: Authority, monkeypatch: pytest.MonkeyPatch, **more: Any
) -> Iterator[tuple[Container, SlowTls, SlowTls]]:
    """An application whose table and model have slow handshakes."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    with ExitStack() as stack:
        table = stack.enter_context(slow_tls(moto.url, HANDSHAKE, authority.server_context()))
        bedrock = stack.enter_context(standin())
        model = stack.enter_context(slow_tls(bedrock.url, HANDSHAKE, authority.server_context()))
        stack.enter_context(at(DYNAMODB=table.url, BEDROCK_RUNTIME=model.url))
        yield Container(settings(**more)), table, model


def answered(app: Container, **body: Any) -> dict[str, Any]:
    """The answer in one piece."""
    asked = ChatRequest.model_validate({"message": {"text": "hi [[tokens=3 pace=1 first=1]]"}, **body})
    turn = service.start(app, User("somebody", "address"), asked, Send(new_id(), "payload"), Context())
    assert isinstance(turn, Generation)
    status, answer = buffered.answer(turn)
    assert status == 200
    return answer


def test_the_first_answer_knows_the_history_and_opens_no_connection(
    moto: DynamoDB, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with behind_slow_tls(moto, authority, monkeypatch, **AMPLE) as (app, table, model):
        opened = table.accepted, model.accepted
        assert (table.requests, model.requests) == (0, 0)
        answer = answered(app)
        assert "missing" not in answer
        assert (table.accepted, model.accepted) == opened == (5, 1)
        assert 0 < table.requests <= 5
        assert model.requests == 1


def test_an_answer_in_one_piece_names_what_was_left_out(
    moto: DynamoDB, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "open_connections", lambda *_: None)
    with behind_slow_tls(moto, authority, monkeypatch) as (app, _, _):
        assert answered(app)["missing"] == ["history", "profile", "facts"]


def test_a_lookup_may_take_longer_where_connections_must_be_opened(
    moto: DynamoDB, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composition, "open_connections", lambda *_: None)
    with behind_slow_tls(moto, authority, monkeypatch, **AMPLE) as (app, table, _):
        assert "missing" not in answered(app)
        opened = table.accepted
        assert "missing" not in answered(app)
        assert table.accepted == opened
        # After a pause too, as long as the other side keeps them.
        later = time.time() + 60
        monkeypatch.setattr(time, "time", lambda: later)
        assert "missing" not in answered(app)
        assert table.accepted == opened


def test_a_lookup_has_its_usual_time_again_afterwards(moto: DynamoDB, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "open_connections", lambda *_: None)
    real = deadlines.client

    def hanging(service: str, seconds: float) -> Any:
        with at(DYNAMODB=server.url):
            return real(service, seconds)

    with slow_server() as server, at(DYNAMODB=moto.url):
        monkeypatch.setattr(deadlines, "client", hanging)
        app = Container(settings(cold_memory_milliseconds=1_500))
        times = []
        for _ in range(2):
            begun = time.monotonic()
            assert service.preview(app, User("somebody", "address"), message("hi")).missing == (
                "history",
                "profile",
                "facts",
            )
            times.append(time.monotonic() - begun)
        assert times[0] >= 1.5
        assert times[1] < 1


def test_an_endpoint_that_does_not_answer_delays_the_start_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composition, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
        closed.close()
        hanging, refusing = f"https://127.0.0.1:{silent.getsockname()[1]}", f"https://127.0.0.1:{port}"
        with at(DYNAMODB=hanging, BEDROCK_RUNTIME=refusing):
            Container(settings())  # warm: what is loaded once
            begun = time.monotonic()
            Container(settings())
            assert 0.5 <= time.monotonic() - begun < 3
        assert gone("connect", 2)
