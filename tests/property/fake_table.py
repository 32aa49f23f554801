"""DynamoDB in memory, with every race and fault that DynamoDB allows. Moto cannot inject them.

`FakeDynamo` replaces boto3's client, so the real `Table` runs on it. It evaluates the store's expressions, and raises
Violation for a request that DynamoDB would refuse, because such a request is a bug. Before every call it calls its
`TableHooks`: they can run other actions, also between two items of one Query, and they return the fault of the call.
A call can fail before or after it takes effect, or be repeated as boto3 repeats it. A write can conflict with a
transaction, a transaction can be throttled, a batch can return unprocessed keys, and the index can lag
(`LaggingIndex`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, Protocol, TypeAlias, cast

from boto3.dynamodb.types import Binary, TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError, ReadTimeoutError
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

from converse_stream.store.table import Table

Item: TypeAlias = dict[str, Any]
Key: TypeAlias = tuple[str, str]
Fault: TypeAlias = Literal["none", "before", "after", "again", "late", "conflict", "throttled", "unprocessed"]

ITEM_BYTES = 400 * 1024
TRANSACTION_BYTES = 4 * 1024 * 1024
TRANSACTION_ITEMS = 100
PAGE_ITEMS = 3  # a small page, so that queries have several; DynamoDB's pages end at 1 MB
NO_NAMES: Mapping[str, str] = {}
RESERVED = frozenset(ReservedKeywords.get_reserved_keywords())

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


class Violation(AssertionError):
    """An invariant does not hold, or DynamoDB would have refused the request."""


@dataclass(frozen=True, slots=True)
class Change:
    """One item before and after a write."""

    key: Key
    old: Item | None
    new: Item | None


class TableHooks(Protocol):
    """Hooks of a test in the calls of FakeDynamo."""

    def before(self, operation: str, pks: Sequence[str], *, writes: bool) -> Fault:
        """Called before every call. Returns its fault. May run other actions first."""

    def between(self) -> None:
        """Called between two items of one Query."""

    def committed(self, changes: Sequence[Change]) -> None:
        """Called after every write, with all its changes."""

    def indexed(self, items: Mapping[Key, Item]) -> Mapping[Key, Item]:
        """Returns the items of the index."""


class NoFaults:
    """Hooks without faults and without other actions."""

    def before(self, operation: str, pks: Sequence[str], *, writes: bool) -> Fault:
        """See TableHooks."""
        return "none"

    def between(self) -> None:
        """See TableHooks."""

    def committed(self, changes: Sequence[Change]) -> None:
        """See TableHooks."""

    def indexed(self, items: Mapping[Key, Item]) -> Mapping[Key, Item]:
        """See TableHooks. The index does not lag."""
        return items


class LaggingIndex:
    """The items of an index that lags by `delay()` seconds. The writes to one item are applied in order.

    `clock` returns seconds. The hooks pass the committed changes to `note`.
    """

    def __init__(self, clock: Callable[[], float], delay: Callable[[], float]) -> None:
        self._clock = clock
        self._delay = delay
        self._items: dict[Key, Item] = {}
        self._due: list[tuple[float, Change]] = []
        self._last: dict[Key, float] = {}  # time at which the last write to each item is applied

    def note(self, changes: Sequence[Change]) -> None:
        """Schedules the changes for the index."""
        for change in changes:
            if any("gsi1pk" in (item or {}) for item in (change.old, change.new)):
                due = max(self._clock() + self._delay(), self._last.get(change.key, 0))
                self._last[change.key] = due
                self._due.append((due, change))

    def items(self) -> Mapping[Key, Item]:
        """Returns the items of the index now."""
        now = self._clock()
        for _, change in sorted((pair for pair in self._due if pair[0] <= now), key=lambda pair: pair[0]):
            self._items.pop(change.key, None)
            if change.new is not None:
                self._items[change.key] = change.new
        self._due = [pair for pair in self._due if pair[0] > now]
        return self._items


class _Refused(Exception):
    """A condition is false. `old` is the current item."""

    def __init__(self, old: Item | None) -> None:
        super().__init__()
        self.old = old


class FakeDynamo:
    """The calls of boto3's client that `Table` makes."""

    def __init__(self, hooks: TableHooks) -> None:
        self.items: dict[Key, Item] = {}
        self.late: list[Callable[[], None]] = []  # writes whose caller has timed out, and that are applied later
        self._hooks = hooks

    def table(self) -> Table:
        """Returns the real Table on this client."""
        return Table(cast(Any, self), "table")

    def partition(self, pk: str, prefix: str = "") -> list[Item]:
        """Returns the items of the partition in order, without a call."""
        return [self.items[key] for key in sorted(self.items) if key[0] == pk and key[1].startswith(prefix)]

    def expire(self, at: float, removed: Callable[[Key], bool] = lambda _: True) -> None:
        """Deletes expired items, as DynamoDB does by `ttl`: one by one, in any order and hours late.

        `removed` selects the expired items that are deleted now.
        """
        expired = [(key, item) for key, item in self.items.items() if "ttl" in item and int(item["ttl"]) < at]
        for key, item in expired:
            if not removed(key):
                continue
            del self.items[key]
            self._hooks.committed([Change(key, item, None)])

    def deliver(self) -> None:
        """Applies the late writes."""
        late, self.late = self.late, []
        for write in late:
            write()

    # The client's calls

    def get_item(self, *, TableName: str, Key: Any, ConsistentRead: bool) -> Any:
        key = _key(_from_wire(Key))
        if self._hooks.before("get", [key[0]], writes=False) != "none":
            raise _timeout()
        item = self.items.get(key)
        return {"Item": _to_wire(item)} if item is not None else {}

    def batch_get_item(self, *, RequestItems: Any) -> Any:
        ((name, request),) = RequestItems.items()
        requested = [_key(_from_wire(key)) for key in request["Keys"]]
        if not 0 < len(set(requested)) == len(requested) <= 100:
            raise Violation("a batch that is empty, too large or has a duplicate key")
        fault = self._hooks.before("batch", [key[0] for key in requested], writes=False)
        if fault not in ("none", "unprocessed"):
            raise _timeout()
        read = requested[: len(requested) // 2] if fault == "unprocessed" else requested
        unprocessed = {name: {"Keys": request["Keys"][len(read) :]}} if len(read) < len(requested) else {}
        items = [_to_wire(self.items[key]) for key in read if key in self.items]
        return {"Responses": {name: items}, "UnprocessedKeys": unprocessed}

    def put_item(self, **part: Any) -> Any:
        return self._write("put", [{"Put": part}], _nothing)

    def delete_item(self, **part: Any) -> Any:
        return self._write("delete", [{"Delete": part}], _nothing)

    def update_item(self, *, ReturnValues: str, ReturnValuesOnConditionCheckFailure: str, **part: Any) -> Any:
        def answer(changes: Sequence[Change]) -> Any:
            return {"Attributes": _to_wire(changes[0].new or {})}

        return self._write("update", [{"Update": part}], answer)

    def transact_write_items(self, *, TransactItems: Sequence[Any]) -> Any:
        return self._write("transact", TransactItems, _nothing)

    def query(
        self,
        *,
        TableName: str,
        KeyConditionExpression: str,
        ExpressionAttributeValues: Any,
        ScanIndexForward: bool,
        ConsistentRead: bool = False,
        IndexName: str | None = None,
        Limit: int | None = None,
        ExclusiveStartKey: Any = None,
        ProjectionExpression: str | None = None,
        ExpressionAttributeNames: Mapping[str, str] = NO_NAMES,
    ) -> Any:
        projection = [ExpressionAttributeNames[name] for name in (ProjectionExpression or "").split(", ") if name]
        expression = Expression(KeyConditionExpression, {}, _from_wire(ExpressionAttributeValues))
        condition = expression.condition()
        expression.check()
        pk_name, sk_name = ("pk", "sk") if IndexName is None else ("gsi1pk", "gsi1sk")
        pk = cast(str, expression.values[":pk"])
        if IndexName is None and ":low" in expression.values and expression.values[":low"] > expression.values[":high"]:
            raise Violation("BETWEEN: the upper bound is below the lower")
        if self._hooks.before("query", [pk], writes=False) != "none":
            raise _timeout()
        start = _from_wire(ExclusiveStartKey) if ExclusiveStartKey else None
        source = self.items if IndexName is None else self._hooks.indexed(self.items)
        page: list[Item] = []
        page_size = min(Limit or PAGE_ITEMS, PAGE_ITEMS)

        def order(item: Item) -> tuple[str, ...]:
            return (item[sk_name], item["pk"], item["sk"])

        last = order(start) if start else None
        while len(page) < page_size:
            if page:
                self._hooks.between()
            remaining = [
                item
                for item in source.values()
                if item.get(pk_name) == pk
                and sk_name in item
                and condition(item)
                and (last is None or (order(item) > last if ScanIndexForward else order(item) < last))
            ]
            if not remaining:
                return {"Items": [_to_wire(_only(item, projection)) for item in page]}
            item = (min if ScanIndexForward else max)(remaining, key=order)
            page.append(item)
            last = order(item)
        names = ("pk", "sk") if IndexName is None else ("pk", "sk", "gsi1pk", "gsi1sk")
        return {
            "Items": [_to_wire(_only(item, projection)) for item in page],
            "LastEvaluatedKey": _to_wire({name: page[-1][name] for name in names}),
        }

    # Writes

    def _write(self, operation: str, parts: Sequence[Any], answer: Callable[[Sequence[Change]], Any]) -> Any:
        writes = [_Write(part) for part in parts]
        if operation == "transact":
            _check_transaction(writes)
        fault = self._hooks.before(operation, [write.key[0] for write in writes], writes=True)
        if fault == "before":
            raise _timeout()
        if fault == "conflict":
            raise _conflict(operation, len(writes))
        if fault == "throttled":
            raise _throttled(operation, len(writes))
        if fault == "late":
            self.late.append(lambda: self._apply_late(writes))
            raise _timeout()
        try:
            changes = self._apply(writes)
            if fault == "again" and operation != "transact":  # a transaction has boto3's token, and is executed once
                changes = self._apply(writes)
        except _Failed as failed:
            if fault == "after":
                raise _timeout() from None
            raise failed.error(operation) from None
        if fault == "after":
            raise _timeout()
        return answer(changes)

    def _apply_late(self, writes: Sequence["_Write"]) -> None:
        try:
            self._apply(writes)
        except _Failed:
            return

    def _apply(self, writes: Sequence["_Write"]) -> Sequence[Change]:
        changes: list[Change] = []
        reasons: list[_Refused | None] = []
        for write in writes:
            old = self.items.get(write.key)
            try:
                new = write.apply(old)
                if write.kind != "ConditionCheck":
                    changes.append(Change(write.key, old, new))
                reasons.append(None)
            except _Refused as refused:
                reasons.append(refused)
        if any(reasons):
            raise _Failed(reasons)
        for change in changes:
            if change.new is None:
                self.items.pop(change.key, None)
            else:
                self.items[change.key] = change.new
        self._hooks.committed(changes)
        return changes


def _nothing(_: Sequence[Change]) -> Any:
    return {}


class _Failed(Exception):
    def __init__(self, reasons: Sequence[_Refused | None]) -> None:
        super().__init__()
        self.reasons = reasons

    def error(self, operation: str) -> ClientError:
        if operation == "transact":
            codes = [{"Code": "ConditionalCheckFailed" if reason else "None"} for reason in self.reasons]
            body: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": codes}
        else:
            body = {"Error": {"Code": "ConditionalCheckFailedException"}}
            if self.reasons[0] and self.reasons[0].old is not None:
                body["Item"] = _to_wire(self.reasons[0].old)
        return ClientError(body, operation)


class _Write:
    """One Put, Update, Delete or ConditionCheck. The constructor checks everything that does not depend on the item."""

    def __init__(self, part: Mapping[str, Any]) -> None:
        ((self.kind, request),) = part.items()
        self._new = _from_wire(request["Item"]) if self.kind == "Put" else {}
        self.key = _key(self._new or _from_wire(request["Key"]))
        values = request.get("ExpressionAttributeValues")
        if values is not None and not values:
            raise Violation("ExpressionAttributeValues must not be empty")
        expression = Expression("", request.get("ExpressionAttributeNames", {}), _from_wire(values or {}))
        text = request.get("ConditionExpression")
        self._condition = expression.read(text).condition() if text else None
        self._update = expression.read(request["UpdateExpression"]).update() if self.kind == "Update" else None
        expression.check()
        self.bytes = size(expression.values) + size(self._new)

    def apply(self, old: Item | None) -> Item | None:
        """Returns the item after the write. Raises _Refused."""
        if self._condition and not self._condition(old or {}):
            raise _Refused(old)
        if self.kind == "Delete":
            return None
        if self.kind == "ConditionCheck":
            return old
        new = dict(self._new) if self._update is None else self._update(old or dict(zip(("pk", "sk"), self.key)))  # noqa: B905  # two names and two values
        if (new["pk"], new["sk"]) != self.key:
            raise Violation("an update may not change a key")
        if size(new) > ITEM_BYTES:
            raise Violation(f"I11: {self.key[1][:2]} has {size(new)} bytes")
        for name in ("gsi1pk", "gsi1sk"):
            if name in new and not (isinstance(new[name], str) and new[name]):
                raise Violation(f"{name} must be a string that is not empty")
        return new


def _check_transaction(writes: Sequence[_Write]) -> None:
    if not 0 < len(writes) <= TRANSACTION_ITEMS:
        raise Violation(f"a transaction of {len(writes)} items")
    if len({write.key for write in writes}) != len(writes):
        raise Violation("a transaction may not contain an item twice")
    if sum(write.bytes for write in writes) > TRANSACTION_BYTES:
        raise Violation("I11: a transaction of more than 4 MB")


# Expressions

_TOKEN = re.compile(r"\s*(<>|<=|>=|[=<>(),+]|[:#]?\w+)")
Test: TypeAlias = Callable[[Item], bool]
Operand: TypeAlias = Callable[[Item], Any]
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": lambda one, other: one == other,
    "<": lambda one, other: one < other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    ">=": lambda one, other: one >= other,
}


class Expression:
    """Condition and update expressions that share their names and values."""

    def __init__(self, text: str, names: Mapping[str, str], values: Item) -> None:
        self.values = values
        self._names = names
        self._used: set[str] = set()
        self.read(text)

    def read(self, text: str) -> "Expression":
        """Parses another expression with the same names and values."""
        self._tokens: list[str] = []
        at = 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if not match:
                raise Violation(f"cannot read {text[at:]!r}")
            self._tokens.append(match[1])
            at = match.end()
        return self

    def check(self) -> None:
        """Raises Violation for unused names or values."""
        if unused := (self._names.keys() | self.values.keys()) - self._used:
            raise Violation(f"unused in expressions: {', '.join(sorted(unused))}")

    def condition(self) -> Test:
        """Parses all tokens as a condition."""
        test = self._or()
        if self._tokens:
            raise Violation(f"unexpected tokens: {self._tokens}")
        return test

    def update(self) -> Callable[[Item], Item]:
        """Parses all tokens as an update."""
        steps: list[Callable[[Item, Item], None]] = []
        seen: set[str] = set()
        paths: list[str] = []
        while self._tokens:
            clause = self._next().upper()
            if clause in seen:
                raise Violation(f"{clause} twice")
            seen.add(clause)
            while True:
                path = self._path(self._next())
                paths.append(path)
                steps.append(self._step(clause, path))
                if not self._accept(","):
                    break
        if len(set(paths)) != len(paths):
            raise Violation("two paths overlap")

        def apply(old: Item) -> Item:
            new = dict(old)
            for step in steps:
                step(old, new)
            return new

        return apply

    def _step(self, clause: str, path: str) -> Callable[[Item, Item], None]:
        if clause == "SET":
            self._expect("=")
            value = self._sum()

            def put(old: Item, new: Item) -> None:
                new[path] = value(old)

            return put
        if clause == "REMOVE":

            def remove(old: Item, new: Item) -> None:
                new.pop(path, None)

            return remove
        if clause == "ADD":
            added = self._operand(self._next())

            def add(old: Item, new: Item) -> None:
                value = added(old)
                current = old.get(path, type(value)())
                if isinstance(value, set) and isinstance(current, set):
                    new[path] = current | value
                elif isinstance(value, Decimal) and isinstance(current, Decimal):
                    new[path] = current + value
                else:
                    raise Violation(f"ADD {path}: neither numbers nor sets")

            return add
        if clause == "DELETE":
            removed = self._operand(self._next())

            def delete(old: Item, new: Item) -> None:
                if not isinstance(removed(old), set):
                    raise Violation(f"DELETE {path}: not a set")
                if remaining := old.get(path, set()) - removed(old):
                    new[path] = remaining
                else:
                    new.pop(path, None)

            return delete
        raise Violation(f"unknown clause {clause}")

    def _sum(self) -> Operand:
        first = self._operand(self._next())
        if not self._accept("+"):
            return first
        second = self._operand(self._next())

        def total(item: Item) -> Any:
            if not isinstance(first(item), Decimal):
                raise Violation("a sum with a value that is not a number")
            return first(item) + second(item)

        return total

    def _or(self) -> Test:
        tests = [self._and()]
        while self._accept("OR"):
            tests.append(self._and())
        return lambda item: any(test(item) for test in tests)

    def _and(self) -> Test:
        tests = [self._one()]
        while self._accept("AND"):
            tests.append(self._one())
        return lambda item: all(test(item) for test in tests)

    def _one(self) -> Test:
        if self._accept("NOT"):
            negated = self._one()
            return lambda item: not negated(item)
        if self._accept("("):
            inner = self._or()
            self._expect(")")
            return inner
        if self._accept("NOT"):
            negated = self._one()
            return lambda item: not negated(item)
        first = self._next()
        if first == "contains":
            return self._contains()
        if first in ("attribute_exists", "attribute_not_exists"):
            self._expect("(")
            path = self._path(self._next())
            self._expect(")")
            return lambda item: (path in item) == (first == "attribute_exists")
        if first == "contains":
            self._expect("(")
            holder = self._path(self._next())
            self._expect(",")
            member = self._operand(self._next())
            self._expect(")")
            return lambda item: holder in item and member(item) in item[holder]
        left, sign = self._operand(first), self._next()
        if sign.upper() == "BETWEEN":
            low = self._operand(self._next())
            self._expect("AND")
            high = self._operand(self._next())
            return lambda item: bool(low(item) <= left(item) <= high(item))
        right = self._operand(self._next())
        if sign == "<>":
            return lambda item: bool(left(item) != right(item))
        compare = _COMPARE[sign]

        def test(item: Item) -> bool:
            one, other = left(item), right(item)
            return one is not None and type(one) is type(other) and compare(one, other)

        return test

    def _contains(self) -> Test:
        self._expect("(")
        whole = self._path(self._next())
        self._expect(",")
        part = self._operand(self._next())
        self._expect(")")
        return lambda item: isinstance(item.get(whole), set) and part(item) in item[whole]

    def _operand(self, token: str) -> Operand:
        if token.startswith(":"):
            if token not in self.values:
                raise Violation(f"undefined value {token}")
            self._used.add(token)
            value = self.values[token]
            return lambda _: value
        if token == "size":
            self._expect("(")
            sized = self._path(self._next())
            self._expect(")")
            return lambda item: Decimal(len(item[sized])) if sized in item else None
        path = self._path(token)
        return lambda item: item.get(path)

    def _path(self, token: str) -> str:
        if token.startswith("#"):
            if token not in self._names:
                raise Violation(f"undefined name {token}")
            self._used.add(token)
            return self._names[token]
        if not token.isidentifier():
            raise Violation(f"not a path: {token!r}")
        if token.upper() in RESERVED:
            raise Violation(f"{token} is a reserved word")
        return token

    def _next(self) -> str:
        if not self._tokens:
            raise Violation("the expression is incomplete")
        return self._tokens.pop(0)

    def _accept(self, token: str) -> bool:
        if self._tokens and self._tokens[0].upper() == token:
            self._tokens.pop(0)
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._accept(token):
            raise Violation(f"{token} expected before {self._tokens[:3]}")


# Values


def size(value: Any) -> int:
    """Returns the size in bytes, as DynamoDB counts it."""
    match value:
        case str():
            return len(value.encode())
        case bytes() | bytearray() | Binary():
            return len(bytes(cast(Any, value)))
        case bool() | None:
            return 1
        case Decimal():
            return 2 + len(value.as_tuple().digits) // 2
        case Mapping():
            return sum(len(name.encode()) + size(inner) for name, inner in value.items()) + 3
        case Sequence() | set():
            return sum(map(size, value)) + 3
    raise Violation(f"no such type in DynamoDB: {type(value)}")


def _key(item: Item) -> Key:
    pk, sk = item["pk"], item["sk"]
    if not (isinstance(pk, str) and 0 < len(pk.encode()) <= 2048):
        raise Violation(f"not a partition key: {pk!r}")
    if not (isinstance(sk, str) and 0 < len(sk.encode()) <= 1024):
        raise Violation(f"not a sort key: {sk!r}")
    return pk, sk


def _timeout() -> ReadTimeoutError:
    return ReadTimeoutError(endpoint_url="http://table")


def _conflict(operation: str, parts: int) -> ClientError:
    """Returns the error of a write that conflicts with a transaction.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html
    """
    if operation != "transact":
        return ClientError({"Error": {"Code": "TransactionConflictException"}}, operation)
    return _cancelled(["TransactionConflict", *["None"] * (parts - 1)])


def _throttled(operation: str, parts: int) -> ClientError:
    """Returns the error of a write if the table, or the partition of its last part, has no capacity left.

    botocore retries a single write, but not a transaction (botocore.retries.standard.ThrottledRetryableChecker):
    https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
    """
    if operation != "transact":
        return ClientError({"Error": {"Code": "ThrottlingException"}}, operation)
    reason = "ThrottlingError" if parts % 2 else "ProvisionedThroughputExceeded"
    return _cancelled([*["None"] * (parts - 1), reason])


def _cancelled(codes: Sequence[str]) -> ClientError:
    reasons = [{"Code": code} for code in codes]
    body: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
    return ClientError(body, "TransactWriteItems")


def _from_wire(item: Mapping[str, Any]) -> Item:
    return {name: _plain_value(_deserialize(value)) for name, value in item.items()}


def _plain_value(value: Any) -> Any:
    return bytes(cast(Any, value)) if isinstance(value, Binary) else value


def _only(item: Item, names: Sequence[str]) -> Item:
    return {name: item[name] for name in names if name in item} if names else item


def _to_wire(item: Mapping[str, Any]) -> Any:
    return {name: _serialize(value) for name, value in item.items()}
