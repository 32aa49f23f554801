"""Our client for DynamoDB: its requests equal those of botocore, and it repeats an attempt only if that may help."""

import hmac
import json
import socket
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from typing import Any
from unittest import mock

import botocore.session
import pytest
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import (
    ChecksumError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)
from botocore.serialize import create_serializer
from hypothesis import given
from hypothesis import strategies as st

from converse_stream.aws import dynamodb, service
from converse_stream.aws.dynamodb import DynamoDB
from converse_stream.aws.service import Service
from converse_stream.store.values import from_wire, to_wire
from tests.wire.scripted_server import Reply, serving

REGION = "eu-west-1"
KEY = {"pk": {"S": "p"}, "sk": {"S": "s"}}
MODEL: Any = botocore.session.get_session().get_service_model("dynamodb")
NAMES = st.text(min_size=1).map("a {}".format)  # none is the name of a type
VALUES = st.recursive(
    st.text()
    | st.booleans()
    | st.none()
    | st.binary()
    | st.integers(-(10**37), 10**37)
    | st.decimals(-(10**9), 10**9, places=4)
    | st.sets(st.text(), min_size=1),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=10,
)


THROTTLED = Reply(400, {"__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException"})
BROKEN = Reply(500, {"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError"})
CUT = Reply(0)


CREDENTIALS = Credentials("key", "secret", "token")


def client(url: str, *, attempts: int = 2, credentials: Any = CREDENTIALS, seconds: float = 5) -> DynamoDB:
    with mock.patch("converse_stream.aws.service.find_credentials", return_value=credentials):
        connected = Service("dynamodb", connect_seconds=seconds, read_seconds=seconds, url=url)
    return DynamoDB(connected, attempts)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setattr(dynamodb, "FIRST_PAUSE", 0)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_values_have_the_wire_format_of_boto3(values: dict[str, Any]) -> None:
    serialize = TypeSerializer().serialize
    ours = to_wire(values)
    assert normalized(ours) == normalized({name: serialize(value) for name, value in values.items()})


def normalized(typed: Any) -> Any:
    """Sets have no order, and boto3 writes numbers in another form."""
    if isinstance(typed, dict):
        return {
            name: sorted(value) if name == "SS" else Decimal(value) if name == "N" else normalized(value)
            for name, value in typed.items()
        }
    return [normalized(each) for each in typed] if isinstance(typed, list) else bytes_of(typed)


def bytes_of(value: Any) -> Any:
    return value if isinstance(value, (str, bytes, bool)) else bytes(value.value) if hasattr(value, "value") else value


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_values_are_read_as_they_were_written(values: dict[str, Any]) -> None:
    """From both forms of binary values, and equal to what boto3 reads."""
    typed = to_wire(values)
    assert from_wire(typed) == from_wire(json.loads(service.to_json(typed)))
    deserialize = TypeDeserializer().deserialize
    assert from_wire(typed) == {name: deserialize(value) for name, value in typed.items()}


@pytest.mark.parametrize(
    ("operation", "method", "request_"),
    [
        ("GetItem", "get_item", {"TableName": "T", "Key": KEY, "ConsistentRead": True}),
        ("BatchGetItem", "batch_get_item", {"RequestItems": {"T": {"Keys": [KEY]}}}),
        (
            "Query",
            "query",
            {
                "TableName": "T",
                "KeyConditionExpression": "pk = :pk",
                "ExpressionAttributeValues": {":pk": {"S": "Łódź 🌊"}},
                "Limit": 5,
                "ScanIndexForward": False,
            },
        ),
        ("PutItem", "put_item", {"TableName": "T", "Item": {**KEY, "b": {"B": b"\x00\xff"}, "n": {"N": "1.5"}}}),
        (
            "UpdateItem",
            "update_item",
            {
                "TableName": "T",
                "Key": KEY,
                "UpdateExpression": "SET a = :a",
                "ExpressionAttributeValues": {":a": {"M": {"x": {"L": [{"BOOL": True}]}}}},
                "ReturnValues": "ALL_NEW",
            },
        ),
        ("DeleteItem", "delete_item", {"TableName": "T", "Key": KEY}),
        (
            "TransactWriteItems",
            "transact_write_items",
            {"TransactItems": [{"Put": {"TableName": "T", "Item": KEY}}], "ClientRequestToken": "t" * 32},
        ),
    ],
)
def test_request_and_signature_equal_those_of_botocore(operation: str, method: str, request_: dict[str, Any]) -> None:
    with serving(Reply()) as server:
        getattr(client(server.url), method)(**request_)
    [(headers, body)] = server.requests
    expected = create_serializer("json").serialize_to_request(request_, MODEL.operation_model(operation))
    assert body == json.loads(expected["body"])
    assert headers["x-amz-target"] == expected["headers"]["X-Amz-Target"]
    assert headers["content-type"] == expected["headers"]["Content-Type"]
    signed = AWSRequest("POST", server.url + "/", data=json.dumps(body, separators=(",", ":")).encode())
    for name in ("content-type", "x-amz-target"):
        signed.headers[name] = headers[name]
    at = datetime.strptime(headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    with mock.patch("botocore.auth.get_current_datetime", return_value=at):
        SigV4Auth(Credentials("key", "secret", "token"), "dynamodb", REGION).add_auth(signed)
    assert headers["authorization"] == signed.headers["Authorization"]
    assert headers["x-amz-security-token"] == "token"


@pytest.mark.parametrize("reply", [BROKEN, THROTTLED, CUT, Reply(headers={"x-amz-crc32": "1"}), Reply(503, b"proxy")])
def test_attempt_is_repeated_after_a_temporary_failure(reply: Reply) -> None:
    with serving(reply, Reply(body={"Item": KEY})) as server:
        assert client(server.url).get_item(TableName="T", Key=KEY) == {"Item": KEY}
    assert len(server.requests) == 2


def test_repeated_transaction_has_the_same_token() -> None:
    """So DynamoDB does not write it twice."""
    with serving(BROKEN, Reply()) as server:
        connected = client(server.url)
        connected.transact_write_items(TransactItems=[])
        connected.transact_write_items(TransactItems=[])
    tokens = [body["ClientRequestToken"] for _, body in server.requests]
    assert tokens[0] == tokens[1] != tokens[2]


@pytest.mark.parametrize(
    ("reply", "error", "requests"),
    [
        (BROKEN, ClientError, 2),
        (THROTTLED, ClientError, 2),
        (CUT, ConnectionClosedError, 2),
        (Reply(seconds=0.5), ReadTimeoutError, 2),
        (Reply(headers={"x-amz-crc32": "1"}), ChecksumError, 2),
        (Reply(400, {"__type": "x#ValidationException", "message": "no"}), ClientError, 1),
        (Reply(400, {"__type": "x#TransactionConflictException"}), ClientError, 1),
        (Reply(403, b"<html>"), ClientError, 1),
    ],
    ids=["broken", "throttled", "cut", "silent", "checksum", "invalid", "conflict", "no-json"],
)
def test_failure_has_the_exception_of_boto3(reply: Reply, error: type[Exception], requests: int) -> None:
    with serving(reply) as server, pytest.raises(error):
        client(server.url, seconds=0.2).get_item(TableName="T", Key=KEY)
    assert len(server.requests) == requests


def test_error_has_the_fields_of_boto3() -> None:
    body = {
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled",
        "CancellationReasons": [{"Code": "None"}, {"Code": "ConditionalCheckFailed"}],
    }
    with serving(Reply(400, body)) as server, pytest.raises(ClientError) as raised:
        client(server.url).transact_write_items(TransactItems=[])
    response: Any = raised.value.response
    assert response["Error"] == {"Code": "TransactionCanceledException", "Message": "Transaction cancelled"}
    assert response["CancellationReasons"] == body["CancellationReasons"]


def test_server_that_does_not_listen_is_an_endpoint_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(EndpointConnectionError):
        client(url).get_item(TableName="T", Key=KEY)


def test_signature_has_the_time_of_the_server_after_a_refusal_for_a_wrong_clock() -> None:
    server_time = datetime.now(UTC) + timedelta(hours=2)
    date = {"date": format_datetime(server_time, usegmt=True)}
    refusal = Reply(400, {"__type": "x#InvalidSignatureException"}, headers=date)
    with serving(refusal, Reply(headers=date), Reply(headers=date)) as server:
        connected = client(server.url, attempts=1)
        for _ in range(2):
            connected.get_item(TableName="T", Key=KEY)
    times = [headers["x-amz-date"] for headers, _ in server.requests]
    assert times[0] < times[1] <= times[2]
    assert times[1][:11] == server_time.strftime("%Y%m%dT%H")


def test_credentials_are_renewed() -> None:
    """As botocore's container and instance providers renew them."""
    numbers = iter("12345")

    def renew() -> dict[str, str]:
        number = next(numbers)
        expiry = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()  # at once: each use renews them
        return {"access_key": f"key{number}", "secret_key": number, "token": number, "expiry_time": expiry}

    credentials = RefreshableCredentials.create_from_metadata(renew(), renew, "test")
    with serving(Reply()) as server:
        connected = client(server.url, credentials=credentials)
        for _ in range(2):
            connected.get_item(TableName="T", Key=KEY)
    tokens = [headers["x-amz-security-token"] for headers, _ in server.requests]
    assert tokens[0] != tokens[1]


def test_missing_credentials_are_an_error_of_botocore() -> None:
    with serving(Reply()) as server, pytest.raises(NoCredentialsError):
        client(server.url, credentials=None).get_item(TableName="T", Key=KEY)
    assert server.requests == []


def test_signing_key_is_derived_once_a_day() -> None:
    with serving(Reply()) as server, mock.patch("hmac.digest", wraps=hmac.digest) as digest:
        connected = client(server.url)
        for _ in range(3):
            connected.get_item(TableName="T", Key=KEY)
        assert digest.call_count == 4 + 3
        tomorrow = time.time() + 86_400
        with mock.patch("time.time", return_value=tomorrow):
            connected.get_item(TableName="T", Key=KEY)
        assert digest.call_count == 4 + 3 + 4 + 1
