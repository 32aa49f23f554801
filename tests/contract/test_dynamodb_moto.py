"""The local stack's table behaves like DynamoDB with concurrent clients: real boto3, real sockets, threads."""

import gc
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from moto.dynamodb.models.dynamo_type import Item

from local_stack.dynamodb.server import DynamoDB

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE = "chat"
PROPERTIES: dict[str, Any] = {
    "TableName": TABLE,
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [
        {"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk", "gsi1pk", "gsi1sk")
    ],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by-update",
            "KeySchema": [
                {"AttributeName": "gsi1pk", "KeyType": "HASH"},
                {"AttributeName": "gsi1sk", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
    "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": True},
    "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
}
ROUNDS = 60
RACERS = 5


@pytest.fixture
def dynamodb() -> Iterator[DynamoDB]:
    server = DynamoDB()
    server.start()
    server.create_table(PROPERTIES)
    yield server
    server.stop()


@pytest.fixture
def frequent_thread_switches() -> Iterator[None]:
    """Makes threads switch very often, so that a missing lock shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


NO_RETRIES = Config(retries={"total_max_attempts": 1})


def client_of(url: str, config: Config = NO_RETRIES) -> "DynamoDBClient":
    """Returns a client with its own connections, without retries by default."""
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    return session.client("dynamodb", endpoint_url=url, config=config)


def key(pk: str, sk: str = "~") -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def put_if_absent(client: "DynamoDBClient", pk: str, owner: str) -> bool:
    """Creates an item by a transaction. Returns whether it succeeded."""
    put: Any = {
        "TableName": TABLE,
        "Item": key(pk) | {"owner": {"S": owner}},
        "ConditionExpression": "attribute_not_exists(pk)",
    }
    try:
        client.transact_write_items(TransactItems=[{"Put": put}])
    except client.exceptions.TransactionCanceledException:
        return False
    return True


def race(url: str) -> list[int]:
    """In each round, five clients create the same item by transaction. Returns how many succeeded, per round."""
    clients = [client_of(url) for _ in range(RACERS)]
    barrier = threading.Barrier(RACERS)

    def create(number: int, racer: int) -> bool:
        barrier.wait(timeout=30)
        return put_if_absent(clients[racer], f"race-{number}", str(racer))

    with ThreadPoolExecutor(RACERS) as pool:
        return [sum(pool.map(create, [number] * RACERS, range(RACERS))) for number in range(ROUNDS)]


def write_during_cancelled_transactions(url: str) -> tuple[set[str], set[str]]:
    """Writes while transactions of other clients are cancelled. Returns the acknowledged items and the stored items."""
    put_if_absent(client_of(url), "taken", "first")
    written: set[str] = set()
    done = threading.Event()

    def cancel() -> None:
        client = client_of(url)
        while not done.is_set():
            assert not put_if_absent(client, "taken", "second")

    def write(prefix: str) -> None:
        client = client_of(url)
        for number in range(150):
            client.put_item(TableName=TABLE, Item=key("log", f"{prefix}{number}"))
            written.add(f"{prefix}{number}")

    with ThreadPoolExecutor(4) as pool:
        cancellers = [pool.submit(cancel) for _ in range(2)]
        try:
            for writer in [pool.submit(write, prefix) for prefix in "ab"]:
                writer.result()
        finally:
            done.set()
        for canceller in cancellers:
            canceller.result()
    pages = (
        client_of(url)
        .get_paginator("query")
        .paginate(TableName=TABLE, KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": {"S": "log"}})
    )
    return written, {item["sk"]["S"] for page in pages for item in page["Items"]}


@pytest.mark.usefixtures("frequent_thread_switches")
def test_of_five_racing_transactions_one_succeeds(dynamodb: DynamoDB) -> None:
    assert race(dynamodb.url) == [1] * ROUNDS


@pytest.mark.usefixtures("frequent_thread_switches")
def test_a_cancelled_transaction_loses_no_other_write(dynamodb: DynamoDB) -> None:
    written, stored = write_during_cancelled_transactions(dynamodb.url)
    assert len(written) == 300
    assert stored == written


def test_a_cancelled_transaction_changes_no_item(dynamodb: DynamoDB) -> None:
    client = client_of(dynamodb.url)
    for pk in ("changed", "deleted", "replaced", "checked"):
        client.put_item(TableName=TABLE, Item=key(pk) | {"tags": {"L": [{"S": "old"}]}, "count": {"N": "1"}})
    before = client.scan(TableName=TABLE)["Items"]
    one, tags = {":one": {"N": "1"}}, {":tags": {"L": [{"S": "new"}]}}
    change = "SET tags = list_append(tags, :tags) ADD #count :one"
    parts: Any = [
        {"Update": {"Key": key("changed"), "UpdateExpression": change, "ExpressionAttributeValues": one | tags}
         | {"ExpressionAttributeNames": {"#count": "count"}}},
        {"Update": {"Key": key("created"), "UpdateExpression": "SET x = :one", "ExpressionAttributeValues": one}},
        {"Delete": {"Key": key("deleted")}},
        {"Put": {"Item": key("replaced") | {"count": {"N": "2"}}}},
        {"ConditionCheck": {"Key": key("checked"), "ConditionExpression": "attribute_not_exists(pk)"}},
    ]  # fmt: skip
    for part in parts:
        next(iter(part.values()))["TableName"] = TABLE
    with pytest.raises(client.exceptions.TransactionCanceledException):
        client.transact_write_items(TransactItems=parts)
    assert client.scan(TableName=TABLE)["Items"] == before
    client.transact_write_items(TransactItems=parts[:-1])
    after = {item["pk"]["S"]: item for item in client.scan(TableName=TABLE)["Items"]}
    assert after.keys() == {"changed", "created", "replaced", "checked"}
    assert after["changed"]["tags"] == {"L": [{"S": "old"}, {"S": "new"}]}
    assert after["changed"]["count"] == after["replaced"]["count"] == {"N": "2"}


def test_a_transaction_copies_only_the_items_it_changes_and_leaks_no_copies(
    dynamodb: DynamoDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unpatched moto copies all items for each transaction and keeps the copies."""
    client, copies, copy = client_of(dynamodb.url), count(), Item.__deepcopy__
    for number in range(50):
        client.put_item(TableName=TABLE, Item=key("log", f"{number}"))
    monkeypatch.setattr(Item, "__deepcopy__", lambda item, memo: (next(copies), copy(item, memo))[1])
    gc.collect()
    items = sum(isinstance(value, Item) for value in gc.get_objects())
    for number in range(50):
        assert put_if_absent(client, f"head-{number}", "first")
        assert not put_if_absent(client, f"head-{number}", "second")
    gc.collect()
    assert sum(isinstance(value, Item) for value in gc.get_objects()) == items + 50
    assert next(copies) < 50 * 8


def test_the_table_has_the_keys_index_and_ttl_of_its_properties(dynamodb: DynamoDB) -> None:
    client = client_of(dynamodb.url)
    table = client.describe_table(TableName=TABLE)["Table"]
    assert [element["AttributeName"] for element in table["KeySchema"]] == ["pk", "sk"]
    assert [index["IndexName"] for index in table["GlobalSecondaryIndexes"]] == ["by-update"]
    ttl = client.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"]
    assert ttl == {"AttributeName": "ttl", "TimeToLiveStatus": "ENABLED"}


def test_two_servers_have_separate_tables(dynamodb: DynamoDB) -> None:
    other = DynamoDB()
    other.start()
    try:
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            client_of(other.url).get_item(TableName=TABLE, Key=key("a"))
    finally:
        other.stop()


def test_an_existing_table_is_not_created_again(dynamodb: DynamoDB) -> None:
    with pytest.raises(ValueError, match=r"CreateTable: .*ResourceInUse"):
        dynamodb.create_table(PROPERTIES)


def test_a_failed_condition_returns_the_old_item_with_unchanged_text(dynamodb: DynamoDB) -> None:
    client = client_of(dynamodb.url)
    item = key("text") | {"text": {"S": "zażółć 🌊 \u2028"}}
    client.put_item(TableName=TABLE, Item=item)
    with pytest.raises(ClientError) as caught:
        client.put_item(
            TableName=TABLE,
            Item=key("text"),
            ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )
    assert caught.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert caught.value.response["Item"] == item  # type: ignore[typeddict-item]  # the stubs have only the common keys


def test_injected_delays_of_concurrent_requests_overlap(dynamodb: DynamoDB) -> None:
    """One after the other, ten delayed requests would time out."""
    dynamodb.set_faults(delay_ms=400)
    client = client_of(dynamodb.url, Config(retries={"total_max_attempts": 1}, read_timeout=2, max_pool_connections=10))
    with ThreadPoolExecutor(10) as pool:
        reads = [pool.submit(client.get_item, TableName=TABLE, Key=key(str(number))) for number in range(10)]
        assert all(read.result() for read in reads)


def test_a_failing_table_recovers(dynamodb: DynamoDB) -> None:
    client = client_of(dynamodb.url)
    dynamodb.set_faults(fail_for_ms=60_000)
    with pytest.raises(ClientError, match="InternalServerError"):
        client.get_item(TableName=TABLE, Key=key("a"))
    dynamodb.set_faults()
    client.get_item(TableName=TABLE, Key=key("a"))
    dynamodb.set_faults(fail_for_ms=1)
    for _ in count():
        try:
            client.get_item(TableName=TABLE, Key=key("a"))
        except ClientError:
            continue
        break
