"""The local stack's table refuses what DynamoDB refuses: the same cases run on DynamoDB Local.

The local stack's table also injects DynamoDB's occasional faults, and the store handles them.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.ids import new_id
from converse_stream.store.conversations import Conversations
from converse_stream.store.table import ATTEMPTS
from local_stack.dynamodb.idempotency_tokens import TOKEN_SECONDS, Mismatch, Tokens
from local_stack.dynamodb.server import DynamoDB
from tests.contract.dynamodb_local.server import Endpoint
from tests.contract.test_store import connect

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLE, INDEX = "ChatTable", "by-update"
KB = 1024
A, Z = {":a": {"S": "a"}}, {":a": {"S": "z"}, ":b": {"S": "a"}}
ONE = {":a": {"N": "1"}}
MANY = {f":v{number}": {"S": "v"} for number in range(500)}


def client_of(dynamodb: Endpoint) -> "DynamoDBClient":
    no_retries = Config(retries={"total_max_attempts": 1})
    return boto3.client("dynamodb", endpoint_url=dynamodb.url, config=no_retries)


def key(pk: str = "p", sk: str = "s") -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def text(kilobytes: int) -> dict[str, Any]:
    return {"S": "x" * kilobytes * KB}


def put(**item: Any) -> dict[str, Any]:
    return {"Put": {"Item": key() | item}}


def put_if(condition: str, values: Any = None, names: Any = None) -> dict[str, Any]:
    optional = {"ExpressionAttributeValues": values, "ExpressionAttributeNames": names}
    given = {name: value for name, value in optional.items() if value is not None}
    return {"Put": {"Item": key(), "ConditionExpression": condition, **given}}


def update(expression: str, values: Any = None, at: Any = None) -> dict[str, Any]:
    given = {} if values is None else {"ExpressionAttributeValues": values}
    return {"Update": {"Key": at or key(), "UpdateExpression": expression, **given}}


def delete(**item_key: Any) -> dict[str, Any]:
    return {"Delete": {"Key": item_key}}


# Writes that DynamoDB refuses, as a single write and in a transaction.
WRITES: Mapping[str, dict[str, Any]] = {
    "between": put_if("sk BETWEEN :a AND :b", Z),
    "39 digits": put(n={"N": "1" * 39}),
    "39 digits in a map": put(m={"M": {"n": {"N": "1." + "1" * 38}}}),
    "39 digits in a list": put(m={"L": [{"N": "1" * 39}]}),
    "39 digits in a set": put(m={"NS": ["1" * 39]}),
    "39 digits in an update": update("SET n = :n", {":n": {"N": "1" * 39}}),
    "too large a number": put(n={"N": "1E126"}),
    "too small a number": put(n={"N": "1E-131"}),
    "an item of more than 400 KB": put(x=text(400)),
    "an item of more than 400 KB by its names": put(**{"n" * 60 * KB: text(341)}),
    "an expression of more than 4 KB": put_if(" OR ".join(f"a = {name}" for name in MANY), MANY),
    "an update of more than 4 KB": update("SET " + ", ".join(f"a{number} = :a" for number in range(500)), A),
    "more than 300 operators": put_if(" OR ".join(["a=:a"] * 400), A),
    "an empty condition": put_if(""),
    "an empty sort key": {"Put": {"Item": key(sk="")}},
    "an empty partition key": {"Put": {"Item": key(pk="")}},
    "an empty key of an update": update("SET a = :a", A, key(sk="")),
    "an empty key of a delete": delete(**key(pk="")),
    "an empty key of the index": put(gsi1pk={"S": ""}, gsi1sk={"S": "x"}),
    "an empty key of the index in an update": update("SET gsi1sk = :a", {":a": {"S": ""}}),
    "a number for the index": put(gsi1pk={"N": "1"}),
    "a number for a key": delete(pk={"N": "1"}, sk={"S": "s"}),
    "an attribute beside the key": delete(**key(), a={"S": "a"}),
    "half a key": delete(pk={"S": "p"}),
    "an empty set": put(a={"SS": []}),
    "an empty set in an update": update("SET a = :a", {":a": {"SS": []}}),
    "a set with one value twice": put(a={"SS": ["x", "x"]}),
    "a reserved word in a condition": put_if("attribute_not_exists(ttl)"),
    "a reserved word in an update": update("SET ttl = :a", ONE),
    "a value that is not used": put_if("attribute_not_exists(pk)", A),
    "a name that is not used": put_if("attribute_not_exists(pk)", names={"#a": "a"}),
    "a value that is not used in an update": update("SET a = :a", {**A, ":b": {"S": "b"}}),
    "a value that is not given": put_if("a = :b"),
    "a name that is not given": update("SET #b = :a", A),
    "no values": update("REMOVE a", {}),
    "values without an expression": {"Put": {"Item": key(), "ExpressionAttributeValues": A}},
    "two paths that overlap": update("SET a = :a, a = :a", A),
}  # fmt: skip
# Transactions that DynamoDB refuses although each of their parts is valid.
TRANSACTIONS: Mapping[str, list[dict[str, Any]]] = {
    "more than 4 MB of items": [
        {"Put": {"Item": key("big", str(number)) | {"x": text(390)}}} for number in range(11)
    ],
    "more than 4 MB of updates": [update("SET x = :x", {":x": text(390)}, key("b", str(at))) for at in range(11)],
    "more than 100 parts": [{"Put": {"Item": key("n", str(number))}} for number in range(101)],
    "two parts for one item": [put(), delete(**key())],
    "an empty key of a check": [
        {"ConditionCheck": {"Key": key(pk=""), "ConditionExpression": "attribute_exists(pk)"}}
    ],
}  # fmt: skip
PARTITION: dict[str, Any] = {"KeyConditionExpression": "pk = :pk", "ExpressionAttributeValues": {":pk": {"S": "page"}}}
RANGE = "pk = :pk AND sk BETWEEN :low AND :high"
BOUNDS: dict[str, Any] = {":pk": {"S": "page"}, ":low": {"S": "1"}, ":high": {"S": "2"}}
NEWEST: dict[str, Any] = {
    "IndexName": INDEX,
    "KeyConditionExpression": "gsi1pk = :pk",
    "ExpressionAttributeValues": {":pk": {"S": "user"}},
    "ScanIndexForward": False,
}
QUERIES: Mapping[str, Any] = {
    "between": {"KeyConditionExpression": RANGE, "ExpressionAttributeValues": {**BOUNDS, ":low": {"S": "3"}}},
    "an empty partition key": PARTITION | {"ExpressionAttributeValues": {":pk": {"S": ""}}},
    "a reserved word": PARTITION | {"ProjectionExpression": "sk, text"},
    "a value that is not used": PARTITION | {"ExpressionAttributeValues": BOUNDS},
    "a start in another partition": PARTITION | {"ExclusiveStartKey": key("other")},
    "a start outside the range": {
        "KeyConditionExpression": RANGE,
        "ExpressionAttributeValues": BOUNDS,
        "ExclusiveStartKey": key("page", "9"),
    },
    "half a start": PARTITION | {"ExclusiveStartKey": {"pk": {"S": "page"}}},
    "a start without the index's keys": NEWEST | {"ExclusiveStartKey": key("page", "1")},
    "a consistent read of the index": NEWEST | {"ConsistentRead": True},
}  # fmt: skip
BATCHES: Mapping[str, list[Any]] = {
    "an empty key": [key(sk="")],
    "a key twice": [key(), key()],
    "more than 100 keys": [key("n", str(number)) for number in range(101)],
}


def of_table(parts: list[dict[str, Any]]) -> Any:
    return [{kind: {"TableName": TABLE, **part}} for item in parts for kind, part in item.items()]


def is_refused(call: Callable[[], Any]) -> bool:
    with pytest.raises(ClientError) as caught:
        call()
    response: Any = caught.value.response
    reasons = [reason["Code"] for reason in response.get("CancellationReasons", [])]
    return response["Error"]["Code"] == "ValidationException" or "ValidationError" in reasons


@pytest.mark.parametrize("name", WRITES)
def test_a_write_that_dynamodb_refuses_is_refused(dynamodb: Endpoint, name: str) -> None:
    client = client_of(dynamodb)
    ((kind, part),) = WRITES[name].items()
    calls: dict[str, Callable[..., Any]] = {
        "Put": client.put_item,
        "Update": client.update_item,
        "Delete": client.delete_item,
    }
    assert is_refused(lambda: calls[kind](TableName=TABLE, **part))
    assert is_refused(lambda: client.transact_write_items(TransactItems=of_table([WRITES[name]])))


@pytest.mark.parametrize("name", TRANSACTIONS)
def test_a_transaction_that_dynamodb_refuses_is_refused(dynamodb: Endpoint, name: str) -> None:
    client = client_of(dynamodb)
    assert is_refused(lambda: client.transact_write_items(TransactItems=of_table(TRANSACTIONS[name])))
    assert "Item" not in client.get_item(TableName=TABLE, Key=key("big", "0"))


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_that_dynamodb_refuses_is_refused(dynamodb: Endpoint, name: str) -> None:
    client = client_of(dynamodb)
    assert is_refused(lambda: client.query(TableName=TABLE, **QUERIES[name]))


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_that_dynamodb_refuses_is_refused(dynamodb: Endpoint, name: str) -> None:
    client = client_of(dynamodb)
    assert is_refused(lambda: client.batch_get_item(RequestItems={TABLE: {"Keys": BATCHES[name]}}))


def test_writes_just_within_the_limits_are_accepted(dynamodb: Endpoint) -> None:
    client, large = client_of(dynamodb), {":pk": {"S": "large"}}
    client.put_item(TableName=TABLE, Item=key("limits") | {"n": {"N": "1" * 38}, "x": text(390)})
    client.put_item(TableName=TABLE, Item=key("limits", "zeros") | {"n": {"N": "-1" + "0" * 60}})
    parts = [{"Put": {"Item": key("large", str(number)) | {"x": text(390)}}} for number in range(10)]
    client.transact_write_items(TransactItems=of_table(parts))
    page = client.query(TableName=TABLE, **PARTITION | {"ExpressionAttributeValues": large})
    assert 0 < len(page["Items"]) < 4, "a page ends at 1 MB"


def test_a_page_that_ends_at_its_limit_has_a_last_key_although_no_item_follows(dynamodb: Endpoint) -> None:
    client = client_of(dynamodb)
    for number in "123":
        item = key("page", number) | {"gsi1pk": {"S": "user"}, "gsi1sk": {"S": number}, "more": text(1)}
        client.put_item(TableName=TABLE, Item=item)
    page: Any = client.query(TableName=TABLE, **PARTITION, Limit=3, ProjectionExpression="sk")
    assert page["Items"] == [{"sk": {"S": number}} for number in "123"]
    assert page["LastEvaluatedKey"] == key("page", "3")
    newest: Any = client.query(TableName=TABLE, **NEWEST, Limit=3)
    assert newest["LastEvaluatedKey"] == key("page", "1") | {"gsi1pk": {"S": "user"}, "gsi1sk": {"S": "1"}}
    rest = client.query(TableName=TABLE, **NEWEST, Limit=3, ExclusiveStartKey=newest["LastEvaluatedKey"])
    assert rest["Items"] == []
    assert "LastEvaluatedKey" not in rest
    assert "LastEvaluatedKey" not in client.query(TableName=TABLE, **PARTITION, Limit=4)


@pytest.mark.parametrize("conversations", [2, 3, 4])
def test_no_cursor_returns_an_empty_page(dynamodb: Endpoint, conversations: int) -> None:
    store, user = Conversations(connect(dynamodb)), new_id()
    for _ in range(conversations):
        store.create(user, new_id(), None)
    sizes, before = [], None
    while True:
        page, before = store.page(user, limit=2, before=before)
        sizes.append(len(page))
        if before is None:
            break
    assert sizes == [2] * (conversations // 2) + [1] * (conversations % 2)


def test_an_expired_item_is_read_until_it_is_removed(dynamodb: Endpoint) -> None:
    client = client_of(dynamodb)
    client.put_item(TableName=TABLE, Item=key("over") | {"ttl": {"N": "1"}})
    assert "Item" in client.get_item(TableName=TABLE, Key=key("over"))


def test_a_batch_of_more_than_16_mb_returns_unprocessed_keys(dynamodb: Endpoint) -> None:
    client = client_of(dynamodb)
    keys = [key("batch", str(number)) for number in range(43)]
    for item_key in keys:
        client.put_item(TableName=TABLE, Item=item_key | {"x": text(390)})
    page = client.batch_get_item(RequestItems={TABLE: {"Keys": keys}})
    assert len(page["Responses"][TABLE]) + len(page["UnprocessedKeys"][TABLE]["Keys"]) == len(keys)
    assert len(connect(dynamodb).get_many([("batch", str(number)) for number in range(43)])) == len(keys)


# Client request tokens


def test_a_transaction_repeated_with_its_token_is_executed_once(dynamodb: Endpoint) -> None:
    client, token, pk = client_of(dynamodb), new_id(), new_id()
    parts = of_table([update("ADD n :a", ONE, key(pk))])
    for _ in range(2):
        client.transact_write_items(TransactItems=parts, ClientRequestToken=token)
    assert client.get_item(TableName=TABLE, Key=key(pk))["Item"]["n"] == {"N": "1"}
    with pytest.raises(client.exceptions.IdempotentParameterMismatchException):
        client.transact_write_items(TransactItems=of_table([put()]), ClientRequestToken=token)


def test_a_failed_transaction_can_be_repeated_with_its_token(dynamodb: Endpoint) -> None:
    client, token, pk = client_of(dynamodb), new_id(), new_id()
    client.put_item(TableName=TABLE, Item=key(pk))
    parts = of_table([{"Put": {"Item": key(pk), "ConditionExpression": "attribute_not_exists(pk)"}}])
    with pytest.raises(client.exceptions.TransactionCanceledException):
        client.transact_write_items(TransactItems=parts, ClientRequestToken=token)
    client.delete_item(TableName=TABLE, Key=key(pk))
    client.transact_write_items(TransactItems=parts, ClientRequestToken=token)
    assert "Item" in client.get_item(TableName=TABLE, Key=key(pk))


def test_a_token_expires_after_ten_minutes() -> None:
    clock = [0.0]
    tokens, request, other = Tokens(lambda: clock[0]), {"ClientRequestToken": "t"}, {"ClientRequestToken": "t", "x": 1}
    tokens.record(request)
    clock[0] = TOKEN_SECONDS
    assert tokens.is_repeated(request)
    with pytest.raises(Mismatch):
        tokens.is_repeated(other)
    clock[0] = TOKEN_SECONDS + 1
    assert not tokens.is_repeated(other)


# Injected faults


def test_botocore_does_not_retry_a_throttled_transaction(moto: DynamoDB) -> None:
    """So the store retries it. See botocore.retries.standard and botocore/data/_retry.json."""
    five_attempts = Config(retries={"mode": "standard", "total_max_attempts": 5})
    moto.set_faults(throttle=2)
    codes = []
    for _ in range(2):
        client = boto3.client("dynamodb", endpoint_url=moto.url, config=five_attempts)
        with pytest.raises(client.exceptions.TransactionCanceledException) as caught:
            client.transact_write_items(TransactItems=of_table([put(), delete(**key("other"))]))
        response: Any = caught.value.response
        codes += [reason["Code"] for reason in response["CancellationReasons"]]
        assert response["ResponseMetadata"]["RetryAttempts"] == 0
    assert sorted(codes) == ["None", "None", "ProvisionedThroughputExceeded", "ThrottlingError"]
    client.transact_write_items(TransactItems=of_table([put()]))


@pytest.mark.parametrize("fault", ["throttle", "conflict"])
def test_the_store_retries_a_transaction_until_the_table_accepts_it(moto: DynamoDB, fault: str) -> None:
    store, user, conversation = Conversations(connect(moto)), new_id(), new_id()
    moto.set_faults(**{fault: ATTEMPTS - 1})
    created = store.create(user, conversation, "title")
    moto.set_faults(**{fault: ATTEMPTS})
    with pytest.raises(StorageError):
        store.create(user, new_id(), None)
    assert store.page(user, limit=5)[0] == [created]


def test_an_injected_conflict_fails_a_single_write(moto: DynamoDB) -> None:
    moto.set_faults(conflict=1)
    connect(moto).put({"pk": "conflicting", "sk": "s"})
    assert connect(moto).get("conflicting", "s")
    moto.set_faults(conflict=1)
    client = client_of(moto)
    with pytest.raises(client.exceptions.TransactionConflictException):
        client.put_item(TableName=TABLE, Item=key())


def test_an_injected_partial_batch_is_completed_by_the_store(moto: DynamoDB) -> None:
    table, keys = connect(moto), [("part", str(number)) for number in range(5)]
    for pk, sk in keys:
        table.put({"pk": pk, "sk": sk})
    moto.set_faults(unprocessed=1)
    page = client_of(moto).batch_get_item(RequestItems={TABLE: {"Keys": [key(*pair) for pair in keys]}})
    assert len(page["Responses"][TABLE]) == 3
    assert len(page["UnprocessedKeys"][TABLE]["Keys"]) == 2
    moto.set_faults(unprocessed=3)
    assert len(table.get_many(keys)) == 5
