"""Refuses requests that DynamoDB refuses and moto accepts.

The rules are those of these pages. DynamoDB Local has most of them, and the tests compare with it (tests/contract):
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ExpressionAttributeNames.html
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from local_stack.dynamodb.expressions import check_expressions, is_between, operand_of
from local_stack.dynamodb.values import Invalid, check_value, size_of

TRANSACTION_BYTES = 4 * 1024 * 1024
HASH_BYTES, RANGE_BYTES = 2048, 1024
_OF_ITEMS = frozenset({"GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"})


@dataclass(frozen=True, slots=True)
class Schema:
    """The key attributes of a table and of its indexes (partition key first), and the types of these attributes."""

    key: tuple[str, ...]
    indexes: Mapping[str, tuple[str, ...]]
    types: Mapping[str, str]

    @classmethod
    def of(cls, properties: Mapping[str, Any]) -> Self:
        """Return the schema of a table from the parameters of CreateTable."""
        indexes = [*properties.get("GlobalSecondaryIndexes", ()), *properties.get("LocalSecondaryIndexes", ())]
        return cls(
            _names(properties["KeySchema"]),
            {index["IndexName"]: _names(index["KeySchema"]) for index in indexes},
            {each["AttributeName"]: each["AttributeType"] for each in properties["AttributeDefinitions"]},
        )


def check(operation: str, request: Mapping[str, Any], schemas: Mapping[str, Schema]) -> None:
    """Raises Invalid if DynamoDB refuses the request and moto does not."""
    if operation in _OF_ITEMS:
        _check_part(request, schemas)
    elif operation == "BatchGetItem":
        for name, part in request["RequestItems"].items():
            check_expressions(part)
            for key in part["Keys"]:
                _check_key(key, schemas.get(name))
    elif operation == "TransactWriteItems":
        parts = [part for item in request["TransactItems"] for part in item.values()]
        for part in parts:
            _check_part(part, schemas)
        if (size := sum(map(_size_of_part, parts))) > TRANSACTION_BYTES:
            raise Invalid(f"Transaction payload size cannot exceed 4MB. Payload Size: {size}")


def _check_part(part: Mapping[str, Any], schemas: Mapping[str, Schema]) -> None:
    schema = schemas.get(part["TableName"])
    for values in (part.get("Item", {}), part.get("ExpressionAttributeValues") or {}):
        for value in values.values():
            check_value(value)
    check_expressions(part)
    if "Key" in part:
        _check_key(part["Key"], schema)
    if schema and "Item" in part:
        _check_index_keys(part["Item"], schema)
    if schema and "ExclusiveStartKey" in part:
        _check_start(part, schema)


def _check_key(key: Mapping[str, Any], schema: Schema | None) -> None:
    if schema is None:  # moto reports that the table does not exist
        return
    if key.keys() != set(schema.key):
        raise Invalid("The provided key element does not match the schema")
    for name, limit in zip(schema.key, (HASH_BYTES, RANGE_BYTES), strict=False):
        if key[name].keys() != {schema.types[name]}:
            raise Invalid(f"One or more parameter values were invalid: Type mismatch for key {name}")
        if not (size := size_of(key[name])):
            raise Invalid(
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an "
                f"empty string value. Key: {name}"
            )
        if size > limit:
            raise Invalid(f"One or more parameter values were invalid: Size of {name} has exceeded {limit} bytes")


def _check_index_keys(item: Mapping[str, Any], schema: Schema) -> None:
    for index, names in schema.indexes.items():
        for name in names:
            if name in item and item[name].keys() != {schema.types[name]}:
                raise Invalid(
                    f"One or more parameter values were invalid: Type mismatch for Index Key {name} Expected: "
                    f"{schema.types[name]} Actual: {next(iter(item[name]))} IndexName: {index}"
                )


def _check_start(query: Mapping[str, Any], schema: Schema) -> None:
    """Check that the start key of a page is one that the query can find."""
    start, names = query["ExclusiveStartKey"], schema.indexes.get(query.get("IndexName", ""), schema.key)
    if start.keys() != {*schema.key, *names}:
        raise Invalid("The provided starting key is invalid")
    if operand_of(query, names[0]) not in (None, start[names[0]]) or not is_between(query, names[-1], start[names[-1]]):
        raise Invalid("The provided starting key is outside query boundaries based on provided conditions")


def _size_of_part(part: Mapping[str, Any]) -> int:
    """Return the bytes of a part of a transaction."""
    texts = sum(len(part.get(name, "").encode()) for name in ("UpdateExpression", "ConditionExpression"))
    attributes: Iterable[Mapping[str, Any]] = (
        part.get("Item", {}),
        part.get("Key", {}),
        part.get("ExpressionAttributeValues") or {},
    )
    return texts + sum(size_of({"M": values}) for values in attributes)


def _names(schema: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
    return tuple(each["AttributeName"] for each in sorted(schema, key=lambda each: each["KeyType"]))
