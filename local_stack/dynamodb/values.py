"""Attribute values: their size, their order, and checks that moto does not have.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
"""

import base64
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

DIGITS = 38  # of a number
SMALLEST, LARGEST = -130, 125  # exponent of a number
_SETS = {"SS": "string", "NS": "number", "BS": "binary"}


class Invalid(Exception):
    """A ValidationException of DynamoDB, with its message."""


def check_value(value: Mapping[str, Any]) -> None:
    """Raises Invalid for a number out of range, or for an empty set or one with duplicates."""
    ((kind, content),) = value.items()
    if kind == "N":
        _check_number(content)
    elif kind == "L":
        for member in content:
            check_value(member)
    elif kind == "M":
        for member in content.values():
            check_value(member)
    elif kind in _SETS:
        if not content:
            raise Invalid(f"One or more parameter values were invalid: An {_SETS[kind]} set  may not be empty")
        if len(set(content)) < len(content):
            raise Invalid(
                "One or more parameter values were invalid: "
                f"Input collection [{', '.join(content)}] contains duplicates"
            )
        for member in content if kind == "NS" else ():
            _check_number(member)


def size_of(value: Mapping[str, Any]) -> int:
    """Return the size in bytes, as DynamoDB counts it. For a map this includes the names.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    ((kind, content),) = value.items()
    match kind:
        case "S":
            return len(content.encode())
        case "B":
            return len(base64.b64decode(content))
        case "N":
            return 1 + (len(content.strip("-0.")) + 1) // 2
        case "L":
            return 3 + sum(1 + size_of(member) for member in content)
        case "M":
            return sum(len(name.encode()) + size_of(member) for name, member in content.items())
        case "SS" | "NS" | "BS":
            return sum(size_of({kind[0]: member}) for member in content)
    return 1


def in_order(low: Mapping[str, Any], high: Mapping[str, Any]) -> bool:
    """Return whether `low` is at most `high` in DynamoDB's order. True if the types have no order."""
    if low.keys() != high.keys():
        return True
    ((kind, first),), (second,) = low.items(), high.values()
    match kind:
        case "S":
            return bool(first.encode() <= second.encode())
        case "N":
            return Decimal(first) <= Decimal(second)
        case "B":
            return base64.b64decode(first) <= base64.b64decode(second)
    return True


def _check_number(text: str) -> None:
    try:
        number = Decimal(text)
    except InvalidOperation:  # moto reports this error
        return
    if not number.is_finite():
        return
    if len("".join(map(str, number.as_tuple().digits)).strip("0")) > DIGITS:
        raise Invalid(f"Attempting to store more than {DIGITS} significant digits in a Number")
    if number and number.adjusted() > LARGEST:
        raise Invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
    if number and number.adjusted() < SMALLEST:
        raise Invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
