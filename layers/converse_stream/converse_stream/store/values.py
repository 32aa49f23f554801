"""Values of DynamoDB's items in its wire format, and back. Pure.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
"""

from base64 import b64decode
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, TypeAlias

from converse_stream.protocol.text import well_formed

Item: TypeAlias = dict[str, Any]


def to_wire(values: Mapping[str, Any]) -> Any:
    """The values by name in the wire format: text, numbers, bytes, booleans, None, sets of text, lists and maps."""
    return {name: _typed(value) for name, value in values.items()}


def from_wire(values: Mapping[str, Any]) -> Item:
    """The values by name. Numbers are int or Decimal."""
    return {name: _plain(value) for name, value in values.items()}


def _typed(value: Any) -> Any:
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int() | Decimal():
            return {"N": str(value)}
        case bytes():
            return {"B": value}
        case None:
            return {"NULL": True}
        case Mapping():
            return {"M": to_wire(value)}
        case set() | frozenset():
            return {"SS": sorted(value)}
        case list() | tuple():
            return {"L": [_typed(each) for each in value]}
    raise TypeError(type(value).__name__)


def _plain(typed: Mapping[str, Any]) -> Any:
    [(kind, value)] = typed.items()
    match kind:
        case "S":
            return well_formed(value)
        case "N":
            return Decimal(value) if "." in value or "E" in value else int(value)
        case "B":  # bytes from botocore, base64 from our own client
            return value if isinstance(value, bytes) else b64decode(value)
        case "M":
            return from_wire(value)
        case "L":
            return [_plain(each) for each in value]
        case "SS":
            return set(value)
        case "NULL":
            return None
        case _:
            return value
