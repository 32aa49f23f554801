"""All calls to DynamoDB, with plain Python values. Every failure is raised as StorageError."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from converse_stream.protocol.errors import StorageError
from converse_stream.store.values import Item, from_wire, to_wire
from converse_stream.telemetry import logger

ATTEMPTS = 4  # of a write that conflicts with a transaction, or of a throttled transaction; clients do not retry these
READS = 5  # of a batch in succession that return no item
PAGE = 100  # items that are read for one round of deletions
FIRST_PAUSE = 0.05  # seconds, doubled for each further attempt, with full jitter
THROTTLED_PAUSE = 0.2  # the first pause if the table has no capacity left, in seconds

# Reasons of a cancelled transaction that may succeed if it is sent again:
# https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
_CONFLICTS = frozenset({"TransactionConflict"})
_THROTTLES = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded"})


class ConditionFailed(Exception):
    """The condition of a write does not hold.

    `item` is the stored item, for an `update`. `parts` has the indexes of the failed parts, for a transaction.
    """

    def __init__(self, item: Item | None = None, parts: Set[int] = frozenset()) -> None:
        super().__init__()
        self.item = item
        self.parts = parts


class _Retry(Exception):
    """Nothing was written, and the same write may succeed later. `pause` is the first pause, in seconds."""

    def __init__(self, pause: float) -> None:
        super().__init__()
        self.pause = pause


class Table:
    """One table. Reads are strongly consistent, except `get_many` and `query_index`.

    `client` is one of `converse_stream.aws.clients.client`.

    Methods whose names end in `_part` return a part of a transaction, for `transact`.
    """

    def __init__(self, client: Any, name: str, deadline: float = float("inf")) -> None:
        self._client = client
        self._name = name
        self._deadline = deadline

    def until(self, deadline: float) -> "Table":
        """The same table with a deadline: its reads and deletions raise StorageError after it.

        `deadline` is a time of the monotonic clock.
        """
        return Table(self._client, self._name, deadline)

    def get(self, pk: str, sk: str) -> Item | None:
        """The item, or None."""
        with _errors():
            response = self._client.get_item(TableName=self._name, Key=_key(pk, sk), ConsistentRead=True)
        return from_wire(response["Item"]) if "Item" in response else None

    def get_many(self, item_keys: Sequence[tuple[str, str]]) -> list[Item]:
        """The existing items of at most 100 keys, in any order.

        While the response has unprocessed keys, it reads again after a pause. The pause grows with each read that
        returns no item. Raises StorageError after `READS` such reads:
        https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_BatchGetItem.html
        """
        remaining: Any = {self._name: {"Keys": [_key(*each) for each in item_keys]}}
        items: list[Item] = []
        empty_reads = 0
        while True:
            self._check_deadline()
            with _errors():
                page = self._client.batch_get_item(RequestItems=remaining)
            items += map(from_wire, page["Responses"].get(self._name, []))
            before, remaining = remaining, page.get("UnprocessedKeys")
            if not remaining:
                return items
            empty_reads = empty_reads + 1 if _count(remaining) == _count(before) else 0
            pause = _pause(empty_reads)
            if empty_reads == READS or time.monotonic() + pause > self._deadline:
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

        `only` selects attributes, because each attribute costs time to read; empty selects all.
        """
        query: dict[str, Any] = {
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :low AND :high",
            "ExpressionAttributeValues": to_wire({":pk": pk, ":low": low, ":high": high}),
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
            items += map(from_wire, page["Items"])
            if "LastEvaluatedKey" not in page:
                break
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        return items

    def query_index(
        self, index: str, pk: str, *, limit: int, start: Item | None = None
    ) -> tuple[list[Item], Item | None]:
        """One page of an index, newest first, and the `start` of the next page; None after the last one."""
        more = {"ExclusiveStartKey": to_wire(start)} if start else {}
        self._check_deadline()
        with _errors():
            page = self._client.query(
                TableName=self._name,
                IndexName=index,
                KeyConditionExpression="gsi1pk = :pk",
                ExpressionAttributeValues=to_wire({":pk": pk}),
                ScanIndexForward=False,
                Limit=limit,
                **more,
            )
        last = page.get("LastEvaluatedKey")
        return [from_wire(item) for item in page["Items"]], from_wire(last) if last else None

    def put(self, item: Item, *, condition: str | None = None, values: Item | None = None) -> None:
        """Writes or replaces the item. Raises ConditionFailed if `condition` does not hold."""
        guard = _guard(condition, values)
        _repeated(lambda: self._client.put_item(TableName=self._name, Item=to_wire(item), **guard))

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
        """Updates one item and returns the new item. Raises ConditionFailed, with the stored item."""
        request = self.update_part(pk, sk, update, condition=condition, values=values, names=names)["Update"]
        more: Any = {"ReturnValues": "ALL_NEW", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        return from_wire(_repeated(lambda: self._client.update_item(**request, **more))["Attributes"])

    def delete(self, pk: str, sk: str, *, condition: str | None = None, values: Item | None = None) -> None:
        """Deletes the item, if it exists. Raises ConditionFailed if `condition` does not hold."""
        self._check_deadline()
        guard = _guard(condition, values)
        _repeated(lambda: self._client.delete_item(TableName=self._name, Key=_key(pk, sk), **guard))

    def delete_unchanged(self, item: Item, name: str) -> None:
        """Deletes the stored item, unless its attribute `name` differs from that of `item`: then it is another item."""
        self._check_deadline()
        guard: Any = {}
        if name in item:
            guard = {**_guard("#seen = :seen", {":seen": item[name]}), "ExpressionAttributeNames": {"#seen": name}}
        key = _key(item["pk"], item["sk"])
        with suppress(ConditionFailed):
            _repeated(lambda: self._client.delete_item(TableName=self._name, Key=key, **guard))

    def clear(self, pk: str, low: str, high: str, name: str) -> None:
        """Deletes the partition's items from `low` to `high` in pages, each with `delete_unchanged`.

        After a failure, it can be called again.
        """
        while items := self.query(pk, low, high, limit=PAGE, only=("pk", "sk", name)):
            for item in items:
                self.delete_unchanged(item, name)

    def transact(self, parts: Iterable[Any]) -> None:
        """Writes all parts or none. Raises ConditionFailed."""
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
        """For `transact`: checks `condition` on an item, which may be absent, without a write."""
        guard = _guard(condition, values) | ({"ExpressionAttributeNames": dict(names)} if names else {})
        return {"ConditionCheck": {"TableName": self._name, "Key": _key(pk, sk), **guard}}

    def put_part(self, item: Item) -> Any:
        """For `transact`: writes or replaces the item."""
        return {"Put": {"TableName": self._name, "Item": to_wire(item)}}

    def put_if_part(self, item: Item, condition: str, *, values: Item, names: Mapping[str, str]) -> Any:
        """For `transact`: writes or replaces the item, if `condition` holds."""
        guard = {**_guard(condition, values), "ExpressionAttributeNames": dict(names)}
        return {"Put": {"TableName": self._name, "Item": to_wire(item), **guard}}

    def put_new_part(self, item: Item) -> Any:
        """For `transact`: writes the item, if no item has its key."""
        return {
            "Put": {"TableName": self._name, "Item": to_wire(item), "ConditionExpression": "attribute_not_exists(pk)"}
        }

    def delete_part(self, pk: str, sk: str, *, condition: str, values: Item) -> Any:
        """For `transact`: deletes the item, if `condition` holds."""
        return {
            "Delete": {
                "TableName": self._name,
                "Key": _key(pk, sk),
                "ConditionExpression": condition,
                "ExpressionAttributeValues": to_wire(values),
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
            part["ExpressionAttributeValues"] = to_wire(values)
        if condition:
            part["ConditionExpression"] = condition
        if names:
            part["ExpressionAttributeNames"] = dict(names)
        return {"Update": part}

    def _check_deadline(self) -> None:
        if time.monotonic() > self._deadline:
            raise StorageError


def _repeated(write: Callable[[], Any]) -> Any:
    """The result of `write`. Retries it after a conflict with a transaction or a throttled one. Raises StorageError."""
    first = FIRST_PAUSE
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(_pause(attempt - 1, first))
        try:
            with _errors():
                return write()
        except _Retry as retry:
            first = retry.pause
    logger.warning("table call failed", extra={"cause": "retries exhausted", "attempts": ATTEMPTS})
    raise StorageError


def _is_retryable(reasons: Sequence[str]) -> bool:
    """Whether a transaction was cancelled only for temporary reasons."""
    causes = set(reasons) - {"None"}
    return bool(causes) and causes <= _CONFLICTS | _THROTTLES


def _pause(attempt: int, first: float = FIRST_PAUSE) -> float:
    return random.uniform(0, first * 2**attempt)  # noqa: S311  # jitter, not a secret


def _count(request: Any) -> int:
    return sum(len(each["Keys"]) for each in request.values())


def _key(pk: str, sk: str) -> Any:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _guard(condition: str | None, values: Item | None) -> Any:
    guard: Any = {} if condition is None else {"ConditionExpression": condition}
    return guard | ({"ExpressionAttributeValues": to_wire(values)} if values else {})


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
            stored: Any = error.response.get("Item")
            raise ConditionFailed(from_wire(stored) if stored else None) from None
        if code == "TransactionConflictException" or _is_retryable(reasons):
            raise _Retry(THROTTLED_PAUSE if _THROTTLES.intersection(reasons) else FIRST_PAUSE) from None
        logger.warning("table call failed", extra={"cause": code, "reasons": reasons})
        raise StorageError from error
    except BotoCoreError as error:
        logger.warning("table call failed", extra={"cause": type(error).__name__})
        raise StorageError from error
