"""Expressions of a request to DynamoDB, as far as moto does not judge them: size, placeholders and bounds.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-expression-parameters
"""

import re
from collections.abc import Mapping
from typing import Any

from local_stack.dynamodb.values import Invalid, ordered

EXPRESSION_BYTES = 4096
OPERATORS = 300
_EXPRESSIONS = (
    "KeyConditionExpression",
    "FilterExpression",
    "ProjectionExpression",
    "ConditionExpression",
    "UpdateExpression",
)
_OPERATOR = re.compile(r"<>|<=|>=|[=<>+]|\b(?:AND|OR|NOT|BETWEEN|IN)\b|\b[a-z_]+(?=\s*\()", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"[#:]\w+")
_BETWEEN = re.compile(r"([#:]?\w+)\s+BETWEEN\s+(:\w+)\s+AND\s+(:\w+)", re.IGNORECASE)
_NOT_DEFINED = {
    ":": "An expression attribute value used in expression is not defined; attribute value: ",
    "#": "An expression attribute name used in the document path is not defined; attribute name: ",
}


def check_expressions(request: Mapping[str, Any]) -> None:
    """Raises Invalid."""
    texts = {name: request[name] for name in _EXPRESSIONS if name in request}
    values, names = (request.get(f"ExpressionAttribute{each}") for each in ("Values", "Names"))
    given = {**(values or {}), **(names or {})}
    used = set()
    for name, text in texts.items():
        if not text:
            raise Invalid(f"Invalid {name}: The expression can not be empty;")
        if (size := len(text.encode())) > EXPRESSION_BYTES:
            raise Invalid(
                f"Invalid {name}: Expression size has exceeded the maximum allowed size; expression size: {size}"
            )
        if (count := len(_OPERATOR.findall(text))) > OPERATORS:
            raise Invalid(f"Invalid {name}: The expression contains too many operators; operator count: {count}")
        for placeholder in _PLACEHOLDER.findall(text):
            if placeholder not in given:
                raise Invalid(f"Invalid {name}: {_NOT_DEFINED[placeholder[0]]}{placeholder}")
            used.add(placeholder)
        for _, low, high in _BETWEEN.findall(text):
            if not ordered(given[low], given[high]):
                raise Invalid(
                    f"Invalid {name}: The BETWEEN operator requires upper bound to be greater than or equal to lower "
                    f"bound; lower bound operand: AttributeValue: {_shown(given[low])}, upper bound operand: "
                    f"AttributeValue: {_shown(given[high])}"
                )
    for each, placeholders in (("Values", values), ("Names", names)):
        if placeholders is None:
            continue
        if not texts:
            raise Invalid(f"ExpressionAttribute{each} can only be specified when using expressions")
        if not placeholders:
            raise Invalid(f"ExpressionAttribute{each} must not be empty")
        if unused := sorted(placeholders.keys() - used):
            raise Invalid(
                f"Value provided in ExpressionAttribute{each} unused in expressions: keys: {{{', '.join(unused)}}}"
            )


def operand_of(query: Mapping[str, Any], attribute: str) -> Any:
    """The value that a query wants this key attribute to have; None where that is not to be seen."""
    found = re.search(rf"(?<![\w#:]){re.escape(attribute)}\s*=\s*(:\w+)", query.get("KeyConditionExpression", ""))
    return query["ExpressionAttributeValues"][found[1]] if found else None


def is_between(query: Mapping[str, Any], attribute: str, value: Mapping[str, Any]) -> bool:
    """Whether the value is within the bounds that a query has for this key attribute, if it has any."""
    values = query.get("ExpressionAttributeValues", {})
    bounds = [
        (values[low], values[high])
        for name, low, high in _BETWEEN.findall(query.get("KeyConditionExpression", ""))
        if name == attribute
    ]
    return all(ordered(low, value) and ordered(value, high) for low, high in bounds)


def _shown(value: Mapping[str, Any]) -> str:
    ((kind, held),) = value.items()
    return f"{{{kind}:{held}}}"
