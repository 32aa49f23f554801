"""Cancellation of calls to Bedrock at any time: the connection is closed, and the reader ends immediately."""

import socket
import threading
from contextlib import ExitStack
from typing import Any

import pytest
import urllib3.connection
from botocore.exceptions import EventStreamError

from converse_stream.aws.cancellation import Cancelled
from converse_stream.model import transport
from converse_stream.model.transport import Bedrock, Call, bedrock_service
from converse_stream.protocol import errors
from local_stack.bedrock import BedrockServer
from tests.wire.bedrock_standin import converse_request, until


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
def test_a_cancellation_at_any_time_closes_the_connection(
    server: BedrockServer, bedrock: Bedrock, text: str, tokens: int, reused: bool
) -> None:
    if reused:
        list(bedrock.converse_stream(converse_request("[[tokens=2 pace=1 first=1]] warm"), Call()))
    call, received, ended = Call(), list[dict[str, Any]](), threading.Event()
    outcome: list[BaseException] = []

    def read() -> None:
        try:
            for event in bedrock.converse_stream(converse_request(text), call):
                received.append(event)
        except Cancelled as cancelled:
            outcome.append(cancelled)
        ended.set()

    requests_before = len(server.requests)
    thread = threading.Thread(target=read)
    thread.start()
    until(
        lambda: (
            len(server.requests) > requests_before and sum("contentBlockDelta" in event for event in received) >= tokens
        )
    )
    record = server.requests[-1]
    assert record.state == "open"
    call.cancel()
    assert ended.wait(2), "the reader did not end"
    thread.join()
    assert outcome
    until(lambda: record.state == "client-closed")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_cancellation_while_connecting_ends_the_call(scheme: str) -> None:
    """A listener with a full backlog does not accept; a silent one blocks the TLS handshake."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as connections:
        address = listener.getsockname()
        for _ in range(2 if scheme == "http" else 0):
            waiting = connections.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        service = bedrock_service(idle_seconds=20, url=f"{scheme}://127.0.0.1:{address[1]}")
        call, ended = Call(), threading.Event()

        def read() -> None:
            with pytest.raises(Cancelled):
                list(Bedrock(service).converse_stream(converse_request("never"), call))
            ended.set()

        thread = threading.Thread(target=read)
        thread.start()
        assert not ended.wait(0.3)
        call.cancel()
        assert ended.wait(1), "the reader did not end"
        thread.join()
        service.close()


def test_a_cancellation_during_name_resolution_opens_no_socket(
    bedrock: Bedrock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call does not connect, and closes its socket."""
    call, resolve, sockets = Call(), socket.getaddrinfo, list[socket.socket]()
    create = socket.socket.__init__

    def slow(*name: Any, **kwargs: Any) -> Any:
        call.cancel()
        monkeypatch.setattr(socket.socket, "__init__", recording_init)
        return resolve(*name, **kwargs)

    def recording_init(self: socket.socket, *args: Any, **kwargs: Any) -> None:
        create(self, *args, **kwargs)
        sockets.append(self)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(Cancelled):
        list(bedrock.converse_stream(converse_request("never"), call))
    assert [opened.fileno() for opened in sockets] == [-1]


def test_cancelling_a_finished_call_does_not_cancel_the_next_one(bedrock: Bedrock) -> None:
    first = Call()
    list(bedrock.converse_stream(converse_request("[[tokens=2 pace=1 first=1]]"), first))
    second = bedrock.converse_stream(converse_request("[[tokens=20 pace=5 first=1]]"), Call())
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
def test_validation_messages_are_mapped_to_their_errors(
    bedrock: Bedrock, operation: str, model: str, text: str, failure: type[errors.ModelError]
) -> None:
    with pytest.raises(errors.ModelError) as refused:
        list(getattr(bedrock, operation)(converse_request(text, model), Call()))
    assert type(refused.value) is failure


def test_a_validation_message_in_the_stream_is_mapped_to_its_error() -> None:
    """The message is from aws-samples/bedrock-chat, issue 95."""
    body: Any = {"Code": "validationException", "Message": "Input is too long for requested model."}
    error = EventStreamError({"Error": body}, "ConverseStream")
    assert type(transport._classified(error)) is errors.ContextLengthExceeded


def test_every_event_updates_the_time_of_the_last_event(bedrock: Bedrock) -> None:
    call = Call()
    before = call.last_received
    stream = bedrock.converse_stream(converse_request("[[tokens=3 pace=1 first=1]]"), call)
    assert "messageStart" in next(stream)
    assert call.last_received > before
    stream.close()


def test_a_cancellation_ends_a_converse_call(server: BedrockServer, bedrock: Bedrock) -> None:
    call = Call()
    threading.Timer(0.2, call.cancel).start()
    with pytest.raises(Cancelled):
        bedrock.converse(converse_request("[[first=60000]] slow"), call)
    until(lambda: server.requests[-1].state == "client-closed")


def test_a_call_cancelled_before_its_start_sends_no_request(server: BedrockServer, bedrock: Bedrock) -> None:
    requests_before, call = len(server.requests), Call()
    call.cancel()
    with pytest.raises(Cancelled):
        list(bedrock.converse_stream(converse_request("never"), call))
    assert len(server.requests) == requests_before


def test_closing_the_iterator_closes_the_connection(server: BedrockServer, bedrock: Bedrock) -> None:
    stream = bedrock.converse_stream(converse_request("[[tokens=5000 pace=5 first=1]]"), Call())
    next(stream)
    stream.close()
    until(lambda: server.requests[-1].state == "client-closed")


def test_a_finished_answer_returns_its_connection_to_the_pool(
    bedrock: Bedrock, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    connect = urllib3.connection.HTTPConnection.connect

    def counted(connection: urllib3.connection.HTTPConnection) -> None:
        opened.append(connection)
        connect(connection)

    monkeypatch.setattr(urllib3.connection.HTTPConnection, "connect", counted)
    for _ in range(3):
        list(bedrock.converse_stream(converse_request("[[tokens=2 pace=1 first=1]]"), Call()))
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("throttle", errors.ModelThrottled),
        ("unavailable", errors.ModelUnavailable),
        ("not-ready", errors.ModelNotReady),
        ("access-denied", errors.ModelAccessDenied),
        ("invalid", errors.ModelInvalidRequest),
        ("refuse-stream", errors.CapabilityRefused),
        ("reset at=2", errors.ModelConnectionLost),
        ("bad-crc at=2", errors.ModelCorrupt),
        ("exception at=2 code=throttlingException", errors.ModelThrottled),
        ("exception at=2 code=serviceUnavailableException", errors.ModelUnavailable),
        ("exception at=2 code=modelStreamErrorException", errors.ModelInternal),
        ("exception at=2 code=internalServerException", errors.ModelInternal),
        ("exception at=2 code=validationException", errors.ModelInvalidRequest),
    ],
)
def test_each_fault_is_mapped_to_its_error(bedrock: Bedrock, fault: str, error: type[errors.ModelError]) -> None:
    with pytest.raises(error) as failed:
        list(bedrock.converse_stream(converse_request(f"[[fault={fault}]] [[pace=1 first=1]]"), Call()))
    assert type(failed.value) is error


def test_a_model_silent_beyond_the_read_timeout_raises_model_timeout(server: BedrockServer) -> None:
    service = bedrock_service(idle_seconds=-4.5, url=server.url)
    with pytest.raises(errors.ModelTimeout):
        list(Bedrock(service).converse_stream(converse_request("[[fault=stall-headers]]"), Call()))
    with pytest.raises(errors.ModelTimeout):
        list(Bedrock(service).converse_stream(converse_request("[[fault=stall at=2]] [[pace=1 first=1]]"), Call()))
    service.close()


def test_a_refused_connection_raises_model_unavailable() -> None:
    service = bedrock_service(idle_seconds=5, url="http://127.0.0.1:9")
    with pytest.raises(errors.ModelUnavailable):
        list(Bedrock(service).converse_stream(converse_request("hello"), Call()))
