"""Stopping a call to Bedrock at every moment: the stand-in sees its connection closed, the reader ends at once."""

import socket
import threading
from contextlib import ExitStack
from typing import Any

import boto3
import pytest
import urllib3.connection
from botocore.awsrequest import AWSHTTPConnection
from botocore.exceptions import EventStreamError

from converse_stream.aws.cancellation import Cancelled
from converse_stream.model import transport
from converse_stream.model.transport import Bedrock, Call, config
from converse_stream.protocol import errors
from local_stack.bedrock import BedrockServer
from tests.wire.bedrock_standin import ask, until


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("[[fault=stall-headers]] before the headers", 0),
        ("[[first=60000]] before the first token", 0),
        ("[[tokens=5000 pace=20 first=1]] in the middle", 3),
        ("[[fault=stall at=2 first=1 pace=1]] of a silent model", 2),
    ],
)
@pytest.mark.parametrize("reused", [False, True], ids=["new connection", "pooled connection"])
def test_stop_at_every_moment(server: BedrockServer, bedrock: Bedrock, text: str, tokens: int, reused: bool) -> None:
    if reused:
        list(bedrock.converse_stream(ask("[[tokens=2 pace=1 first=1]] warm"), Call()))
    call, seen, ended = Call(), list[dict[str, Any]](), threading.Event()
    outcome: list[BaseException] = []

    def read() -> None:
        try:
            for event in bedrock.converse_stream(ask(text), call):
                seen.append(event)
        except Cancelled as stopped:
            outcome.append(stopped)
        ended.set()

    asked = len(server.requests)
    thread = threading.Thread(target=read)
    thread.start()
    until(lambda: len(server.requests) > asked and sum("contentBlockDelta" in event for event in seen) >= tokens)
    record = server.requests[-1]
    assert record.state == "open"
    call.cancel()
    assert ended.wait(2), "the reader did not notice"
    thread.join()
    assert outcome
    until(lambda: record.state == "client-closed")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_stop_while_it_connects(scheme: str) -> None:
    """A listener with a full backlog never accepts; one that accepts and says nothing leaves TLS in its handshake."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as connections:
        address = listener.getsockname()
        for _ in range(2 if scheme == "http" else 0):
            waiting = connections.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        client = boto3.client(
            "bedrock-runtime", endpoint_url=f"{scheme}://127.0.0.1:{address[1]}", config=config(idle_seconds=20)
        )
        call, ended = Call(), threading.Event()

        def read() -> None:
            with pytest.raises(Cancelled):
                list(Bedrock(client).converse_stream(ask("never"), call))
            ended.set()

        thread = threading.Thread(target=read)
        thread.start()
        assert not ended.wait(0.3)
        call.cancel()
        assert ended.wait(1), "the reader did not notice"
        thread.join()
        client.close()


def test_stop_while_the_name_is_resolved(bedrock: Bedrock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is connected then, and no socket is left open."""
    call, resolve, made = Call(), socket.getaddrinfo, list[socket.socket]()
    create = socket.socket.__init__

    def slow(*name: Any, **kwargs: Any) -> Any:
        call.cancel()
        monkeypatch.setattr(socket.socket, "__init__", watched)
        return resolve(*name, **kwargs)

    def watched(self: socket.socket, *args: Any, **kwargs: Any) -> None:
        create(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(Cancelled):
        list(bedrock.converse_stream(ask("never"), call))
    assert [each.fileno() for each in made] == [-1]


def test_a_finished_call_cannot_stop_the_next_one(bedrock: Bedrock) -> None:
    first = Call()
    list(bedrock.converse_stream(ask("[[tokens=2 pace=1 first=1]]"), first))
    second = bedrock.converse_stream(ask("[[tokens=20 pace=5 first=1]]"), Call())
    next(second)
    first.cancel()
    assert sum("messageStop" in event for event in second) == 1


HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


@pytest.mark.parametrize(
    ("model", "text", "failure"),
    [
        ("us.amazon.nova-micro-v1:0", "a " * 128_001, errors.ContextLengthExceeded),
        (HAIKU, "a " * 200_001, errors.ContextLengthExceeded),
        (HAIKU.removeprefix("us."), "Hello", errors.InferenceProfileNeeded),
        (HAIKU.replace("us.", "eu."), "Hello", errors.ModelNotFound),
    ],
    ids=["too long", "too long for Claude", "no profile", "another region's profile"],
)
@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
def test_what_a_refusal_says_has_an_error_of_its_own(
    bedrock: Bedrock, operation: str, model: str, text: str, failure: type[errors.ModelError]
) -> None:
    with pytest.raises(errors.ModelError) as refused:
        list(getattr(bedrock, operation)(ask(text, model), Call()))
    assert type(refused.value) is failure


def test_a_refusal_inside_the_stream_is_read_in_the_same_way() -> None:
    """As it came to aws-samples/bedrock-chat (issue 95)."""
    told: Any = {"Code": "validationException", "Message": "Input is too long for requested model."}
    error = EventStreamError({"Error": told}, "ConverseStream")
    assert type(transport._classified(error)) is errors.ContextLengthExceeded


def test_every_event_counts_as_life(bedrock: Bedrock) -> None:
    call = Call()
    before = call.last_received
    stream = bedrock.converse_stream(ask("[[tokens=3 pace=1 first=1]]"), call)
    assert "messageStart" in next(stream)
    assert call.last_received > before
    stream.close()


def test_stop_reaches_an_answer_in_one_piece(server: BedrockServer, bedrock: Bedrock) -> None:
    call = Call()
    threading.Timer(0.2, call.cancel).start()
    with pytest.raises(Cancelled):
        bedrock.converse(ask("[[first=60000]] slow"), call)
    until(lambda: server.requests[-1].state == "client-closed")


def test_a_call_stopped_before_it_began_never_reaches_bedrock(server: BedrockServer, bedrock: Bedrock) -> None:
    asked, call = len(server.requests), Call()
    call.cancel()
    with pytest.raises(Cancelled):
        list(bedrock.converse_stream(ask("never"), call))
    assert len(server.requests) == asked


def test_an_iterator_that_is_closed_closes_the_connection(server: BedrockServer, bedrock: Bedrock) -> None:
    stream = bedrock.converse_stream(ask("[[tokens=5000 pace=5 first=1]]"), Call())
    next(stream)
    stream.close()
    until(lambda: server.requests[-1].state == "client-closed")


def test_a_finished_answer_leaves_its_connection_in_the_pool(bedrock: Bedrock, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    connect = urllib3.connection.HTTPConnection.connect

    def counted(connection: AWSHTTPConnection) -> None:
        opened.append(connection)
        connect(connection)

    monkeypatch.setattr(AWSHTTPConnection, "connect", counted, raising=False)
    for _ in range(3):
        list(bedrock.converse_stream(ask("[[tokens=2 pace=1 first=1]]"), Call()))
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("throttle", errors.ModelThrottled),
        ("unavailable", errors.ModelUnavailable),
        ("not-ready", errors.ModelNotReady),
        ("access-denied", errors.ModelAccessDenied),
        ("invalid", errors.ModelInvalidRequest),
        ("refuse-stream", errors.StreamingRefused),
        ("reset at=2", errors.ModelConnectionLost),
        ("bad-crc at=2", errors.ModelCorrupt),
        ("exception at=2 code=throttlingException", errors.ModelThrottled),
        ("exception at=2 code=serviceUnavailableException", errors.ModelUnavailable),
        ("exception at=2 code=modelStreamErrorException", errors.ModelInternal),
        ("exception at=2 code=internalServerException", errors.ModelInternal),
        ("exception at=2 code=validationException", errors.ModelInvalidRequest),
    ],
)
def test_each_fault_is_an_error_of_its_own(bedrock: Bedrock, fault: str, error: type[errors.ModelError]) -> None:
    with pytest.raises(error) as failed:
        list(bedrock.converse_stream(ask(f"[[fault={fault}]] [[pace=1 first=1]]"), Call()))
    assert type(failed.value) is error


def test_a_model_silent_for_longer_than_the_read_time_out(server: BedrockServer) -> None:
    client = boto3.client("bedrock-runtime", endpoint_url=server.url, config=config(idle_seconds=-4.5))
    with pytest.raises(errors.ModelTimeout):
        list(Bedrock(client).converse_stream(ask("[[fault=stall-headers]]"), Call()))
    with pytest.raises(errors.ModelTimeout):
        list(Bedrock(client).converse_stream(ask("[[fault=stall at=2]] [[pace=1 first=1]]"), Call()))
    client.close()


def test_nobody_listening_is_unavailable() -> None:
    client = boto3.client("bedrock-runtime", endpoint_url="http://127.0.0.1:9", config=config(idle_seconds=5))
    with pytest.raises(errors.ModelUnavailable):
        list(Bedrock(client).converse_stream(ask("hello"), Call()))
