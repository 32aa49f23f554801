"""Checks the expressions of a request for rules that moto does not check: size, placeholders and bounds.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html#limits-expression-parameters
"""

import re
from collections.abc import Mapping
from typing import Any

from local_stack.dynamodb.values import Invalid, in_order

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
    """Raises Invalid if an expression or a placeholder of the request is not valid."""
    texts = {name: request[name] for name in _EXPRESSIONS if name in request}
    values, names = request.get("ExpressionAttributeValues"), request.get("ExpressionAttributeNames")
    defined = {**(values or {}), **(names or {})}
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
            if placeholder not in defined:
                raise Invalid(f"Invalid {name}: {_NOT_DEFINED[placeholder[0]]}{placeholder}")
            used.add(placeholder)
        for _, low, high in _BETWEEN.findall(text):
            if not in_order(defined[low], defined[high]):
                raise Invalid(
                    f"Invalid {name}: The BETWEEN operator requires upper bound to be greater than or equal to lower "
                    f"bound; lower bound operand: AttributeValue: {_text(defined[low])}, upper bound operand: "
                    f"AttributeValue: {_text(defined[high])}"
                )
    for kind, placeholders in (("Values", values), ("Names", names)):
        if placeholders is None:
            continue
        if not texts:
            raise Invalid(f"ExpressionAttribute{kind} can only be specified when using expressions")
        if not placeholders:
            raise Invalid(f"ExpressionAttribute{kind} must not be empty")
        if unused := sorted(placeholders.keys() - used):
            raise Invalid(
                f"Value provided in ExpressionAttribute{kind} unused in expressions: keys: {{{', '.join(unused)}}}"
            )


def operand_of(query: Mapping[str, Any], attribute: str) -> Any:
    """Return the value that the query requires for this key attribute, or None if the expression has no `=` for it."""
    match = re.search(rf"(?<![\w#:]){re.escape(attribute)}\s*=\s*(:\w+)", query.get("KeyConditionExpression", ""))
    return query["ExpressionAttributeValues"][match[1]] if match else None


def is_between(query: Mapping[str, Any], attribute: str, value: Mapping[str, Any]) -> bool:
    """Return whether the value is within the query's BETWEEN bounds for this key attribute, or there are none."""
    values = query.get("ExpressionAttributeValues", {})
    bounds = [
        (values[low], values[high])
        for name, low, high in _BETWEEN.findall(query.get("KeyConditionExpression", ""))
        if name == attribute
    ]
    return all(in_order(low, value) and in_order(value, high) for low, high in bounds)


def _text(value: Mapping[str, Any]) -> str:
    ((kind, content),) = value.items()
    return f"{{{kind}:{content}}}"
