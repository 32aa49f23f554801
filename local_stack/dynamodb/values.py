"""Attribute values on the wire: their size, their order, and which of them DynamoDB refuses and moto takes.

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
    """DynamoDB's ValidationException, with its message."""


def check_value(value: Mapping[str, Any]) -> None:
    """Raises Invalid."""
    ((kind, held),) = value.items()
    if kind == "N":
        _check_number(held)
    elif kind == "L":
        for each in held:
            check_value(each)
    elif kind == "M":
        for each in held.values():
            check_value(each)
    elif kind in _SETS:
        if not held:
            raise Invalid(f"One or more parameter values were invalid: An {_SETS[kind]} set  may not be empty")
        if len(set(held)) < len(held):
            raise Invalid(
                f"One or more parameter values were invalid: Input collection [{', '.join(held)}] contains duplicates"
            )
        for each in held if kind == "NS" else ():
            _check_number(each)


def size_of(value: Mapping[str, Any]) -> int:
    """Bytes as DynamoDB counts them, with the names in a map:
    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    ((kind, held),) = value.items()
    match kind:
        case "S":
            return len(held.encode())
        case "B":
            return len(base64.b64decode(held))
        case "N":
            return 1 + (len(held.strip("-0.")) + 1) // 2
        case "L":
            return 3 + sum(1 + size_of(each) for each in held)
        case "M":
            return sum(len(name.encode()) + size_of(each) for name, each in held.items())
        case "SS" | "NS" | "BS":
            return sum(size_of({kind[0]: each}) for each in held)
    return 1


def ordered(low: Mapping[str, Any], high: Mapping[str, Any]) -> bool:
    """Whether the first is not above the second, in DynamoDB's order; True also where they have no order."""
    if low.keys() != high.keys():
        return True
    ((kind, one),), (other,) = low.items(), high.values()
    match kind:
        case "S":
            return bool(one.encode() <= other.encode())
        case "N":
            return Decimal(one) <= Decimal(other)
        case "B":
            return base64.b64decode(one) <= base64.b64decode(other)
    return True


def _check_number(text: str) -> None:
    try:
        number = Decimal(text)
    except InvalidOperation:  # moto says so
        return
    if not number.is_finite():
        return
    if len("".join(map(str, number.as_tuple().digits)).strip("0")) > DIGITS:
        raise Invalid(f"Attempting to store more than {DIGITS} significant digits in a Number")
    if number and number.adjusted() > LARGEST:
        raise Invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
    if number and number.adjusted() < SMALLEST:
        raise Invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
