"""The one place that speaks to DynamoDB: plain values in and out, and every failure a StorageError."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeAlias

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.text import well_formed
from converse_stream.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Item: TypeAlias = dict[str, Any]

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


ATTEMPTS = 4  # for a write that meets a transaction, or a throttled transaction; boto3 does not repeat those
READS = 5  # of a batch that bring nothing, one after the other
PAGE = 100  # items that are read at once to be deleted
FIRST_PAUSE = 0.05  # seconds; doubled for each further attempt, with full jitter
THROTTLED_PAUSE = 0.2  # the same where the table has no capacity left

# Why a transaction is cancelled that may succeed if it is sent again:
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
_CONFLICTS = frozenset({"TransactionConflict"})
_THROTTLES = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded"})


class ConditionFailed(Exception):
    """A conditional write found an item in another state.

    `item` is that item, where the write was of one item; `parts` are the indexes of a transaction's parts that failed.
    """

    def __init__(self, item: Item | None = None, parts: Set[int] = frozenset()) -> None:
        super().__init__()
        self.item = item
        self.parts = parts


class _Retry(Exception):
    """Nothing was written, and the same write may succeed later; `pause` is the first of the pauses, in seconds."""

    def __init__(self, pause: float) -> None:
        super().__init__()
        self.pause = pause


class Table:
    """One table through one client. Reads are consistent unless they go to the index or are of many items."""

    def __init__(self, client: "DynamoDBClient", name: str, deadline: float = float("inf")) -> None:
        self._client = client
        self._name = name
        self._deadline = deadline

    def until(self, deadline: float) -> "Table":
        """The same table for reads and deletions that nobody waits for after `deadline`, a time of the monotonic clock.

        Then they raise StorageError.
        """
        return Table(self._client, self._name, deadline)

    def get(self, pk: str, sk: str) -> Item | None:
        """The item, or None."""
        with _errors():
            found = self._client.get_item(TableName=self._name, Key=_key(pk, sk), ConsistentRead=True)
        return _plain(found["Item"]) if "Item" in found else None

    def get_many(self, wanted: Sequence[tuple[str, str]]) -> list[Item]:
        """Those of at most 100 items that there are, in any order. Raises StorageError when the table reads no more.

        Where keys are left, it pauses, longer each time that a read brings nothing:
        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
        """
        left: Any = {self._name: {"Keys": [_key(*each) for each in wanted]}}
        items: list[Item] = []
        fruitless = 0
        while True:
            self._check_deadline()
            with _errors():
                page = self._client.batch_get_item(RequestItems=left)
            items += map(_plain, page["Responses"].get(self._name, []))
            before, left = left, page.get("UnprocessedKeys")
            if not left:
                return items
            fruitless = fruitless + 1 if _count(left) == _count(before) else 0
            pause = _pause(fruitless)
            if fruitless == READS or time.monotonic() + pause > self._deadline:
                raise StorageError
            time.sleep(pause)

    def query(
        self,
        pk: str,
        low: str,
        high: str,
        *,
        descending: bool = False,
        limit: int | None = None,
        only: Sequence[str] = (),
    ) -> list[Item]:
        """The partition's items with sort keys from `low` to `high`, both included; at most `limit`.

        `only` names the attributes that are wanted, where it is not all of them: each costs time to read.
        """
        query: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :low AND :high",
            "ExpressionAttributeValues": _wire({":pk": pk, ":low": low, ":high": high}),
            "ScanIndexForward": not descending,
        }
        if only:
            query["ExpressionAttributeNames"] = {f"#{name}": name for name in only}
            query["ProjectionExpression"] = ", ".join(query["ExpressionAttributeNames"])
        items: list[Item] = []
        while limit is None or len(items) < limit:
            self._check_deadline()
            if limit is not None:
                query["Limit"] = limit - len(items)
            with _errors():
                page = self._client.query(TableName=self._name, ConsistentRead=True, **query)
            items += map(_plain, page["Items"])
            if "LastEvaluatedKey" not in page:
                break
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return items

    def query_index(
        self, index: str, pk: str, *, limit: int, start: Item | None = None
    ) -> tuple[list[Item], Item | None]:
        """One page of an index, newest first, and where the next begins."""
        more = {"ExclusiveStartKey": _wire(start)} if start else {}
        self._check_deadline()
        with _errors():
            page = self._client.query(
                TableName=self._name,
                IndexName=index,
                KeyConditionExpression="gsi1pk = :pk",
                ExpressionAttributeValues=_wire({":pk": pk}),
                ScanIndexForward=False,
                Limit=limit,
                **more,
            )
        last = page.get("LastEvaluatedKey")
        return [_plain(item) for item in page["Items"]], _plain(last) if last else None

    def put(self, item: Item, *, condition: str | None = None, values: Item | None = None) -> None:
        """Writes the item, whatever was there; raises ConditionFailed where `condition` does not hold."""
        guard = _guard(condition, values)
        _repeated(lambda: self._client.put_item(TableName=self._name, Item=_wire(item), **guard))

    def update(
        self,
        pk: str,
        sk: str,
        update: str,
        *,
        values: Item,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Item:
        """Updates one item and returns it as it is then. Raises ConditionFailed with the item as it was."""
        request = self.update_part(pk, sk, update, condition=condition, values=values, names=names)["Update"]
        more: Any = {"ReturnValues": "ALL_NEW", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        return _plain(_repeated(lambda: self._client.update_item(**request, **more))["Attributes"])

    def delete(self, pk: str, sk: str, *, condition: str | None = None, values: Item | None = None) -> None:
        """Deletes the item, if it is there; raises ConditionFailed where `condition` does not hold."""
        self._check_deadline()
        guard = _guard(condition, values)
        _repeated(lambda: self._client.delete_item(TableName=self._name, Key=_key(pk, sk), **guard))

    def delete_unchanged(self, item: Item, name: str) -> None:
        """Deletes the item whose attribute `name` is as it was seen, if it has one: another one in its place stays."""
        self._check_deadline()
        guard: Any = {}
        if name in item:
            guard = {**_guard("#seen = :seen", {":seen": item[name]}), "ExpressionAttributeNames": {"#seen": name}}
        key = _key(item["pk"], item["sk"])
        with suppress(ConditionFailed):
            _repeated(lambda: self._client.delete_item(TableName=self._name, Key=key, **guard))

    def clear(self, pk: str, low: str, high: str, name: str) -> None:
        """Deletes the partition's items from `low` to `high`, in pages, as `delete_unchanged` does.

        Broken off, it can be done again.
        """
        while items := self.query(pk, low, high, limit=PAGE, only=("pk", "sk", name)):
            for item in items:
                self.delete_unchanged(item, name)

    def transact(self, parts: Iterable[Any]) -> None:
        """All of the parts or none. Raises ConditionFailed."""
        items = list(parts)
        _repeated(lambda: self._client.transact_write_items(TransactItems=items))

    def check_part(
        self,
        pk: str,
        sk: str,
        *,
        condition: str,
        values: Item | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Any:
        """For `transact`: nothing is written unless the item, or that there is none, meets `condition`."""
        guard = _guard(condition, values) | ({"ExpressionAttributeNames": dict(names)} if names else {})
        return {"ConditionCheck": {"TableName": self._name, "Key": _key(pk, sk), **guard}}

    def put_part(self, item: Item) -> Any:
        """For `transact`: puts the item, whatever was there."""
        return {"Put": {"TableName": self._name, "Item": _wire(item)}}

    def put_if_part(self, item: Item, condition: str, *, values: Item, names: Mapping[str, str]) -> Any:
        """For `transact`: puts the item if what is there meets `condition`."""
        guard = {**_guard(condition, values), "ExpressionAttributeNames": dict(names)}
        return {"Put": {"TableName": self._name, "Item": _wire(item), **guard}}

    def put_new_part(self, item: Item) -> Any:
        """For `transact`: puts the item if nothing has its key."""
        return {
            "Put": {"TableName": self._name, "Item": _wire(item), "ConditionExpression": "attribute_not_exists(pk)"}
        }

    def delete_part(self, pk: str, sk: str, *, condition: str, values: Item) -> Any:
        """For `transact`: deletes the item if `condition` holds."""
        return {
            "Delete": {
                "TableName": self._name,
                "Key": _key(pk, sk),
                "ConditionExpression": condition,
                "ExpressionAttributeValues": _wire(values),
            }
        }

    def update_part(
        self,
        pk: str,
        sk: str,
        update: str,
        *,
        values: Item,
        condition: str | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Any:
        """For `transact`: updates the item, if `condition` holds."""
        part: dict[str, Any] = {
            "TableName": self._name,
            "Key": _key(pk, sk),
            "UpdateExpression": update,
        }
        if values:
            part["ExpressionAttributeValues"] = _wire(values)
        if condition:
            part["ConditionExpression"] = condition
        if names:
            part["ExpressionAttributeNames"] = dict(names)
        return {"Update": part}

    def _check_deadline(self) -> None:
        if time.monotonic() > self._deadline:
            raise StorageError


def _repeated(write: Callable[[], Any]) -> Any:
    """The write's answer; where it meets a transaction or is throttled, of a later attempt. Raises StorageError."""
    first = FIRST_PAUSE
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(_pause(attempt - 1, first))
        try:
            with _errors():
                return write()
        except _Retry as retry:
            first = retry.pause
    logger.warning("table call failed", extra={"cause": "no attempt succeeded", "attempts": ATTEMPTS})
    raise StorageError


def _may_pass(reasons: Sequence[str]) -> bool:
    """Whether a transaction was cancelled only for what another attempt may not meet."""
    given = set(reasons) - {"None"}
    return bool(given) and given <= _CONFLICTS | _THROTTLES


def _pause(attempt: int, first: float = FIRST_PAUSE) -> float:
    return random.uniform(0, first * 2**attempt)  # noqa: S311  # jitter, not a secret


def _count(request: Any) -> int:
    return sum(len(each["Keys"]) for each in request.values())


def _key(pk: str, sk: str) -> Any:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _guard(condition: str | None, values: Item | None) -> Any:
    guard: Any = {} if condition is None else {"ConditionExpression": condition}
    return guard | ({"ExpressionAttributeValues": _wire(values)} if values else {})


def _wire(values: Mapping[str, Any]) -> Any:
    return {name: _serialize(value) for name, value in values.items()}


def _plain(item: Mapping[str, Any]) -> Item:
    return {name: _read(_deserialize(value)) for name, value in item.items()}


def _read(value: Any) -> Any:
    return well_formed(value) if isinstance(value, str) else value


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        reasons = [reason.get("Code", "None") for reason in error.response.get("CancellationReasons", [])]
        if failed := {part for part, reason in enumerate(reasons) if reason == "ConditionalCheckFailed"}:
            raise ConditionFailed(parts=failed) from None
        if code == "ConditionalCheckFailedException":
            old: Any = error.response.get("Item")
            raise ConditionFailed(_plain(old) if old else None) from None
        if code == "TransactionConflictException" or _may_pass(reasons):
            raise _Retry(THROTTLED_PAUSE if _THROTTLES.intersection(reasons) else FIRST_PAUSE) from None
        logger.warning("table call failed", extra={"cause": code, "reasons": reasons})
        raise StorageError from error
    except BotoCoreError as error:
        logger.warning("table call failed", extra={"cause": type(error).__name__})
        raise StorageError from error
