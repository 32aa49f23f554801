"""A DynamoDB table in memory that answers at once. It stores what is written, and every condition holds.

It is no list of recorded responses, so that two trees may read and write in different ways. It knows the operations and
expressions that the functions use; another one is an error that names it.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from bench.servers.http import Connection, Message, Server

Item = dict[str, Any]

_BETWEEN = re.compile(r"(\w+) = (:\w+) AND (\w+) BETWEEN (:\w+) AND (:\w+)")
_CLAUSE = re.compile(r"\b(SET|ADD|DELETE|REMOVE)\b")
_SUM = re.compile(r"(#?\w+) \+ (:\w+)")
_HEADERS = "Content-Type: application/x-amz-json-1.0\r\n"


class TableServer(Server):
    """`calls` has the time and the name of each operation. `items` are the items by partition key and sort key."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, str]] = []
        self.items: dict[str, dict[str, Item]] = {}

    def receive(self, connection: Connection, request: Message) -> None:
        name = request.headers["x-amz-target"].partition(".")[2]
        self.calls.append((request.reads[-1][0], name))
        operation = getattr(self, f"_{name}", None)
        if operation is None:
            raise NotImplementedError(name)
        connection.reply("200 OK", json.dumps(operation(json.loads(request.body))).encode(), _HEADERS)

    def _GetItem(self, body: Any) -> Any:
        item = self._get(body["Key"])
        return {"Item": item} if item else {}

    def _BatchGetItem(self, body: Any) -> Any:
        found = {
            table: [item for key in keys["Keys"] if (item := self._get(key))]
            for table, keys in body["RequestItems"].items()
        }
        return {"Responses": found, "UnprocessedKeys": {}}

    def _Query(self, body: Any) -> Any:
        match = _BETWEEN.fullmatch(body["KeyConditionExpression"])
        if match is None:
            raise NotImplementedError(body["KeyConditionExpression"])
        values = body["ExpressionAttributeValues"]
        partition = self.items.get(values[match[2]]["S"], {})
        low, high = values[match[4]]["S"], values[match[5]]["S"]
        found = sorted(key for key in partition if low <= key <= high)
        if not body.get("ScanIndexForward", True):
            found.reverse()
        items = [partition[key] for key in found[: body.get("Limit")]]
        if "ProjectionExpression" in body:
            names = body["ExpressionAttributeNames"]
            wanted = [names.get(name, name) for name in body["ProjectionExpression"].split(", ")]
            items = [{name: item[name] for name in wanted if name in item} for item in items]
        return {"Items": items, "Count": len(items), "ScannedCount": len(items)}

    def _PutItem(self, body: Any) -> Any:
        item = body["Item"]
        self.items.setdefault(item["pk"]["S"], {})[item["sk"]["S"]] = item
        return {}

    def _UpdateItem(self, body: Any) -> Any:
        key = body["Key"]
        stored = self.items.setdefault(key["pk"]["S"], {}).setdefault(key["sk"]["S"], dict(key))
        _update(
            stored,
            body["UpdateExpression"],
            body.get("ExpressionAttributeValues", {}),
            body.get("ExpressionAttributeNames", {}),
        )
        return {"Attributes": stored} if body.get("ReturnValues") == "ALL_NEW" else {}

    def _DeleteItem(self, body: Any) -> Any:
        self.items.get(body["Key"]["pk"]["S"], {}).pop(body["Key"]["sk"]["S"], None)
        return {}

    def _TransactWriteItems(self, body: Any) -> Any:
        writes = {"Put": self._PutItem, "Update": self._UpdateItem, "Delete": self._DeleteItem}
        for part in body["TransactItems"]:
            ((kind, write),) = part.items()
            if kind != "ConditionCheck":
                writes[kind](write)
        return {}

    def _get(self, key: Any) -> Item | None:
        return self.items.get(key["pk"]["S"], {}).get(key["sk"]["S"])


def _update(item: Item, expression: str, values: Mapping[str, Any], names: Mapping[str, str]) -> None:
    _, *clauses = _CLAUSE.split(expression)
    for kind, text in zip(clauses[::2], clauses[1::2], strict=True):
        for action in text.split(","):
            if kind == "SET":
                name, _, value = (part.strip() for part in action.partition("="))
                item[names.get(name, name)] = _value(item, value, values, names)
            elif kind == "REMOVE":
                item.pop(names.get(action.strip(), action.strip()), None)
            else:
                name, value = action.split()
                _change(item, names.get(name, name), values[value], remove=kind == "DELETE")


def _value(item: Item, text: str, values: Mapping[str, Any], names: Mapping[str, str]) -> Any:
    if text in values:
        return values[text]
    match = _SUM.fullmatch(text)
    if match is None:
        raise NotImplementedError(text)
    return _sum(item[names.get(match[1], match[1])], values[match[2]])


def _change(item: Item, name: str, value: Any, *, remove: bool) -> None:
    """ADD and DELETE: of a number or a set. An empty set is no attribute."""
    if "N" in value:
        item[name] = _sum(item.get(name, {"N": "0"}), value)
        return
    ((kind, members),) = value.items()
    stored = set(item.get(name, {kind: []})[kind])
    changed = stored - set(members) if remove else stored | set(members)
    if changed:
        item[name] = {kind: sorted(changed)}
    else:
        item.pop(name, None)


def _sum(first: Any, second: Any) -> Any:
    return {"N": str(Decimal(first["N"]) + Decimal(second["N"]))}
