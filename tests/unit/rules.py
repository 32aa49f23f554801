"""Evaluates the Rules of a template as CloudFormation does: `Ref` to parameters, and the rule functions.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-rules.html
"""

from collections.abc import Iterator, Mapping
from typing import Any

from local_stack.intrinsics import PSEUDO_PARAMETERS

Values = Mapping[str, str | list[str]]


class RuleError(Exception):
    """A rule contains something that CloudFormation does not support in Rules; the message names it."""


def violated(document: Mapping[str, Any], parameters: Mapping[str, str], region: str = "us-east-1") -> list[str]:
    """The descriptions of the assertions that these parameters violate; other parameters have their defaults."""
    values: dict[str, str | list[str]] = {**PSEUDO_PARAMETERS, "AWS::Region": region}
    for name, declared in document["Parameters"].items():
        value = str(parameters.get(name, declared.get("Default")))
        is_list = declared["Type"] in {"CommaDelimitedList", "List<Number>"}
        values[name] = [part.strip() for part in value.split(",")] if is_list else value
    return list(_violated(document["Rules"], values))


def _violated(rules: Mapping[str, Any], values: Values) -> Iterator[str]:
    for rule in rules.values():
        applies = "RuleCondition" not in rule or truth(rule["RuleCondition"], values)
        for assertion in rule["Assertions"]:
            if (
                not truth(assertion["Assert"], values) and applies
            ):  # evaluated first, so that a RuleError is always raised
                yield assertion["AssertDescription"]


def truth(node: Any, values: Values) -> bool:
    """The result of a Boolean function. Raises RuleError for anything else."""
    match node:
        case {"Fn::And": [_, _, *_] as operands, **more} if not more and len(operands) <= 10:
            return False not in [truth(operand, values) for operand in operands]
        case {"Fn::Or": [_, _, *_] as operands, **more} if not more and len(operands) <= 10:
            return True in [truth(operand, values) for operand in operands]
        case {"Fn::Not": [operand], **more} if not more:
            return not truth(operand, values)
        case {"Fn::Equals": [left, right], **more} if not more:
            return text(left, values) == text(right, values)
        case {"Fn::Contains": [members, expected], **more} if not more:
            return text(expected, values) in texts(members, values)
        case {"Fn::EachMemberEquals": [members, expected], **more} if not more:
            return all(member == text(expected, values) for member in texts(members, values))
        case {"Fn::EachMemberIn": [members, allowed], **more} if not more:
            return set(texts(members, values)) <= set(texts(allowed, values))
    raise RuleError(f"not supported in Rules: {node!r}")


def text(node: Any, values: Values) -> str:
    """The string value of `node`. Raises RuleError for anything else."""
    value = _referenced(node, values)
    if not isinstance(value, str):
        raise RuleError(f"not a string in Rules: {node!r}")
    return value


def texts(node: Any, values: Values) -> list[str]:
    """The list of strings that is the value of `node`. Raises RuleError for anything else."""
    value = _referenced(node, values)
    if not isinstance(value, list):
        raise RuleError(f"not a list in Rules: {node!r}")
    return [text(item, values) for item in value]


def _referenced(node: Any, values: Values) -> Any:
    match node:
        case {"Ref": str(name), **more} if not more and name in values:
            return values[name]
        case str() | list():
            return node
    raise RuleError(f"not supported in Rules: {node!r}")
