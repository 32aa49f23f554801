"""The Bedrock stand-in, called by boto3 over real sockets: each fault as botocore reports it."""

import re
import time
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import pytest
from botocore.eventstream import ChecksumMismatch
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from local_stack.bedrock import BedrockServer
from local_stack.bedrock.directives import random_fault
from local_stack.bedrock.errors import MESSAGES, STREAMING_REFUSED, SYSTEM_REFUSED, TOOL_STREAMING_REFUSED
from tests.wire.bedrock_standin import QUICK, boto3_client, converse_request, last, standin, text_of, until

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

ClientError = botocore.exceptions.ClientError
SYSTEM: dict[str, Any] = {"system": [{"text": "Be kind."}]}
TOOLS: dict[str, Any] = {
    "toolConfig": {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}]}
}


@pytest.fixture
def client(server: BedrockServer) -> Iterator["BedrockRuntimeClient"]:
    with boto3_client(server, read_timeout=20) as unmodified:
        yield unmodified


def question(fault: str, tokens: int = 12) -> str:
    return f"Tell me about 🌊 rivers [[{QUICK} tokens={tokens} fault={fault}]]"


def read(client: "BedrockRuntimeClient", text: str, **fields: Any) -> tuple[list[Any], BaseException | None]:
    """Returns the received events, and the exception that ended the iteration, or None."""
    events: list[Any] = []
    stream = client.converse_stream(**converse_request(text, **fields))["stream"]
    try:
        events.extend(event for event in stream)
    except Exception as error:
        return events, error
    finally:
        stream.close()
    return events, None


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ("throttle", "ThrottlingException", 429),
        ("unavailable", "ServiceUnavailableException", 503),
        ("not-ready", "ModelNotReadyException", 429),
        ("access-denied", "AccessDeniedException", 403),
        ("invalid", "ValidationException", 400),
    ],
)
@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
def test_refusals(client: "BedrockRuntimeClient", operation: str, fault: str, code: str, status: int) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(client, operation)(**converse_request(question(fault)))
    assert isinstance(caught.value, getattr(client.exceptions, code))
    assert caught.value.response["Error"] == {"Code": code, "Message": MESSAGES[code]}
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize(
    ("fault", "fields", "message"),
    [
        pytest.param("refuse-stream", {}, STREAMING_REFUSED, id="streaming"),
        pytest.param("refuse-stream", TOOLS, TOOL_STREAMING_REFUSED, id="streaming with tools"),
        pytest.param("refuse-system", SYSTEM, SYSTEM_REFUSED, id="system prompt"),
    ],
)
def test_refusals_of_features_have_bedrocks_messages(
    client: "BedrockRuntimeClient", fault: str, fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(client.exceptions.ValidationException, match=re.escape(message)):
        client.converse_stream(**converse_request(question(fault), **fields))
    if fault == "refuse-stream":
        assert client.converse(**converse_request(question(fault), **fields))["stopReason"] == "end_turn"
    else:
        assert read(client, question(fault))[1] is None


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("truncate", ProtocolError),
        ("reset", ProtocolError),
        ("bad-crc", ChecksumMismatch),
        ("exception", botocore.exceptions.EventStreamError),
    ],
)
def test_a_broken_stream_raises_after_its_events(
    client: "BedrockRuntimeClient", fault: str, error: type[Exception]
) -> None:
    events, raised = read(client, question(f"{fault} at=4"))
    assert isinstance(raised, error)
    assert len(text_of(events).split()) == 4
    assert not any("messageStop" in event for event in events)


@pytest.mark.parametrize(
    "code",
    [
        "internalServerException",
        "modelStreamErrorException",
        "validationException",
        "throttlingException",
        "serviceUnavailableException",
    ],
)
def test_exceptions_in_the_stream_have_their_code_and_message(client: "BedrockRuntimeClient", code: str) -> None:
    _, raised = read(client, question(f"exception at=2 code={code}"))
    assert isinstance(raised, botocore.exceptions.EventStreamError)
    http_code = code[0].upper() + code[1:]
    assert raised.response["Error"] == {"Code": code, "Message": MESSAGES[http_code]}
    with pytest.raises(ClientError) as caught:
        client.converse(**converse_request(question(f"exception code={code}")))
    assert caught.value.response["Error"]["Code"] == http_code


@pytest.mark.parametrize(("fault", "words"), [("cut at=4", 4), ("cut at=0", 0), ("cut at=99", 12), ("no-stop", 12)])
def test_a_stream_that_ends_without_message_stop(client: "BedrockRuntimeClient", fault: str, words: int) -> None:
    events, raised = read(client, question(fault))
    assert raised is None
    assert len(text_of(events).split()) == words
    assert not any("messageStop" in event for event in events)
    assert any("metadata" in event for event in events) == (fault == "no-stop")


def test_a_broken_converse_response_is_empty_or_raises(client: "BedrockRuntimeClient") -> None:
    """botocore does not check the length of a body: a truncated response has no members, but is not an error."""
    with pytest.raises(botocore.exceptions.ConnectionClosedError):
        client.converse(**converse_request(question("reset")))
    for fault in ("cut", "truncate"):
        assert client.converse(**converse_request(question(fault))).keys() == {"ResponseMetadata"}


def test_split_characters_are_received_completely(client: "BedrockRuntimeClient") -> None:
    """Every byte of every frame is sent in its own chunk."""
    unsplit, _ = read(client, f"Tell me about 🌊 rivers [[{QUICK} tokens=12]]")
    split, raised = read(client, question("split"))
    assert raised is None
    assert "🌊" in text_of(split)
    assert text_of(split) == text_of(unsplit)


@pytest.mark.parametrize("fault", ["stall at=3", "slow-first", "stall-headers"])
def test_a_stall_ends_with_the_clients_timeout(server: BedrockServer, fault: str) -> None:
    with boto3_client(server, read_timeout=0.3) as client:
        if fault == "stall-headers":
            with pytest.raises(botocore.exceptions.ReadTimeoutError):
                client.converse_stream(**converse_request(question(fault)))
        else:
            events, raised = read(client, question(fault))
            assert isinstance(raised, ReadTimeoutError)
            assert len(text_of(events).split()) == (3 if fault == "stall at=3" else 0)
    until(lambda: last(server).state == "client-closed")


@pytest.mark.parametrize("fault", ["stall at=3 ms=300", "slow-first ms=300", "stall-headers ms=300"])
@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
def test_a_stall_shorter_than_the_timeout_only_delays_the_answer(
    client: "BedrockRuntimeClient", operation: str, fault: str
) -> None:
    started = time.monotonic()
    answer = getattr(client, operation)(**converse_request(question(fault)))
    words = text_of(list(answer["stream"])) if "stream" in answer else answer["output"]["message"]["content"][0]["text"]
    assert len(words.split()) == 12
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize("fault", ["stall at=3", "split"])
def test_a_closed_connection_is_noticed_during_stalls_and_output(
    server: BedrockServer, client: "BedrockRuntimeClient", fault: str
) -> None:
    """During a stall, and while the model generates."""
    stream = client.converse_stream(**converse_request(question(fault, tokens=100_000)))["stream"]
    deltas = (event for event in stream if "contentBlockDelta" in event)
    assert len(list(islice(deltas, 3))) == 3
    assert last(server).state == "open"
    stream.close()
    until(lambda: last(server).state == "client-closed", seconds=2)
    assert last(server).ended is not None
    assert last(server).tokens < 100_000


def test_a_fault_occurs_the_given_number_of_times_per_message(client: "BedrockRuntimeClient") -> None:
    for text in (question("throttle times=2"), question("throttle times=2") + " again"):
        for _ in range(2):
            with pytest.raises(client.exceptions.ThrottlingException):
                client.converse_stream(**converse_request(text))
        assert read(client, text)[1] is None


def test_an_unknown_fault_is_refused_by_name(client: "BedrockRuntimeClient") -> None:
    with pytest.raises(client.exceptions.ValidationException, match="has no fault 'thortle'"):
        client.converse(**converse_request(question("thortle")))


def test_random_faults_are_the_same_for_the_same_seed() -> None:
    # A seed without stalls, so that no timeout is part of the outcome.
    rate, seed, names = 0.6, 102, []
    for number in range(1, 13):
        fault = random_fault(rate, seed, number)
        names.append(fault.name if fault else "none")
    assert not {"stall", "stall-headers", "slow-first"} & set(names)

    def outcomes(client: "BedrockRuntimeClient") -> list[str]:
        outcomes_so_far = []
        for number in range(12):
            try:
                events, raised = read(client, f"Tell me about {number} [[{QUICK} tokens=2]]")
            except ClientError as error:
                events, raised = [], error
            outcomes_so_far.append(f"{type(raised).__name__} {len(events)}")
        return outcomes_so_far

    with standin(fault_rate=rate, seed=seed) as faulty, boto3_client(faulty) as client:
        first = outcomes(client)
        faulty.set_faults(rate, seed)
        assert outcomes(client) == first
        faulty.set_faults(0.0, seed)
        assert outcomes(client) == ["NoneType 6"] * 12
    healthy = [name in {"none", "split"} for name in names]
    assert [outcome == "NoneType 6" for outcome in first] == healthy
