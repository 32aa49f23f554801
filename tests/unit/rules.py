"""The Rules of a template, evaluated as CloudFormation does: `Ref` to parameters, and the rule functions.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference-rules.html
"""

from collections.abc import Iterator, Mapping
from typing import Any

from local_stack.intrinsics import PSEUDO_PARAMETERS

Values = Mapping[str, str | list[str]]


class RuleError(Exception):
    """A rule holds something that CloudFormation does not support there; the message names it."""


def broken(document: Mapping[str, Any], parameters: Mapping[str, str], region: str = "us-east-1") -> list[str]:
    """The descriptions of the assertions that refuse these parameters; the other parameters have their defaults."""
    values: dict[str, str | list[str]] = {**PSEUDO_PARAMETERS, "AWS::Region": region}
    for name, declared in document["Parameters"].items():
        value = str(parameters.get(name, declared.get("Default")))
        is_list = declared["Type"] in {"CommaDelimitedList", "List<Number>"}
        values[name] = [part.strip() for part in value.split(",")] if is_list else value
    return list(_broken(document["Rules"], values))


def _broken(rules: Mapping[str, Any], values: Values) -> Iterator[str]:
    for rule in rules.values():
        applies = "RuleCondition" not in rule or truth(rule["RuleCondition"], values)
        for assertion in rule["Assertions"]:
            if not truth(assertion["Assert"], values) and applies:  # evaluated in any case: a fault is always seen
                yield assertion["AssertDescription"]


def truth(node: Any, values: Values) -> bool:
    """What a function that answers true or false answers. Raises RuleError for anything else."""
    match node:
        case {"Fn::And": [_, _, *_] as operands, **more} if not more and len(operands) <= 10:
            return False not in [truth(each, values) for each in operands]
        case {"Fn::Or": [_, _, *_] as operands, **more} if not more and len(operands) <= 10:
            return True in [truth(each, values) for each in operands]
        case {"Fn::Not": [operand], **more} if not more:
            return not truth(operand, values)
        case {"Fn::Equals": [left, right], **more} if not more:
            return text(left, values) == text(right, values)
        case {"Fn::Contains": [members, wanted], **more} if not more:
            return text(wanted, values) in texts(members, values)
        case {"Fn::EachMemberEquals": [members, wanted], **more} if not more:
            return all(member == text(wanted, values) for member in texts(members, values))
        case {"Fn::EachMemberIn": [members, allowed], **more} if not more:
            return set(texts(members, values)) <= set(texts(allowed, values))
    raise RuleError(f"not supported in Rules: {node!r}")


def text(node: Any, values: Values) -> str:
    """The string that `node` stands for."""
    value = _referenced(node, values)
    if not isinstance(value, str):
        raise RuleError(f"not a string in Rules: {node!r}")
    return value


def texts(node: Any, values: Values) -> list[str]:
    """The list of strings that `node` stands for."""
    value = _referenced(node, values)
    if not isinstance(value, list):
        raise RuleError(f"not a list in Rules: {node!r}")
    return [text(each, values) for each in value]


def _referenced(node: Any, values: Values) -> Any:
    match node:
        case {"Ref": str(name), **more} if not more and name in values:
            return values[name]
        case str() | list():
            return node
    raise RuleError(f"not supported in Rules: {node!r}")
