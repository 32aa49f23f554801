"""Loads CloudFormation templates and evaluates the intrinsic functions that our template uses.

https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/intrinsic-function-reference.html
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

PSEUDO_PARAMETERS = {
    "AWS::AccountId": "000000000000",
    "AWS::Partition": "aws",
    "AWS::Region": "us-east-1",
    "AWS::StackId": "arn:aws:cloudformation:us-east-1:000000000000:stack/local/0",
    "AWS::StackName": "local",
    "AWS::URLSuffix": "amazonaws.com",
}
NO_VALUE = object()  # the value of `!Ref AWS::NoValue`; a key or item with this value is removed
PLACEHOLDER = re.compile(r"\$\{(!?)([^}]*)\}")


class TemplateError(Exception):
    """The template uses a feature that the local stack does not support. The message names the resource."""


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's tags. `!Sub x` becomes `{"Fn::Sub": "x"}`, as in a template in JSON."""


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)  # noqa: S101 - YAML has no fourth kind of node
        value = loader.construct_mapping(node, deep=True)
    if suffix == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _tagged)


def load(path: Path) -> dict[str, Any]:
    """Return the template with its tags in JSON form. Raises TemplateError if the file is not a template."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader, see above
    except (OSError, yaml.YAMLError) as error:
        raise TemplateError(f"{path}: {error}") from error
    if not isinstance(document, dict) or "Resources" not in document:
        raise TemplateError(f"{path}: not a template, it has no Resources")
    return document


class Resolver:
    """Evaluates intrinsic functions.

    `overrides`: values of the template's parameters. `reference(logical id)` and `attribute(logical id, name)`: return
    the value of Ref and GetAtt for a resource, or None if it is unknown.
    """

    def __init__(
        self,
        document: Mapping[str, Any],
        overrides: Mapping[str, str],
        reference: Callable[[str], str | None],
        attribute: Callable[[str, str], str | None],
        pseudo_parameters: Mapping[str, str] = PSEUDO_PARAMETERS,
    ) -> None:
        declared = document.get("Parameters", {})
        if unknown := overrides.keys() - declared.keys():
            raise TemplateError(f"the template has no parameter {', '.join(sorted(unknown))}")
        defaults = {name: body["Default"] for name, body in declared.items() if "Default" in body}
        self._types = {name: body["Type"] for name, body in declared.items()}
        self._parameters = {**pseudo_parameters, **defaults, **overrides}
        self._conditions = document.get("Conditions", {})
        self._mappings = document.get("Mappings", {})
        self._reference = reference
        self._attribute = attribute

    def condition(self, name: str) -> bool:
        """Return whether the named condition is true."""
        if name not in self._conditions:
            raise TemplateError(f"unknown condition {name}")
        return bool(self.resolve(self._conditions[name], f"condition {name}"))

    def resolve(self, value: Any, where: str) -> Any:
        """Return `value` with all intrinsic functions evaluated. `where` names the resource in error messages."""
        if isinstance(value, list):
            items = (self.resolve(item, where) for item in value)
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            [(name, argument)] = value.items()
            if name in {"Ref", "Condition"} or name.startswith("Fn::"):
                return self._call(name, argument, where)
        pairs = ((key, self.resolve(item, where)) for key, item in value.items())
        return {key: item for key, item in pairs if item is not NO_VALUE}

    def _call(self, name: str, argument: Any, where: str) -> Any:
        match name, argument:
            case "Ref", str():
                return self._ref(argument, where)
            case "Condition", str():
                return self.condition(argument)
            case "Fn::If", [str(condition), then, otherwise]:
                return self.resolve(then if self.condition(condition) else otherwise, where)
            case "Fn::GetAtt", [str(logical_id), attribute]:
                return self._get_att(logical_id, self.resolve(attribute, where), where)
            case "Fn::Sub", str():
                return self._substitute(argument, {}, where)
            case "Fn::Sub", [str(text), dict(variables)]:
                return self._substitute(text, self.resolve(variables, where), where)
        resolved = self.resolve(argument, where)
        match name, resolved:
            case "Fn::Equals", [left, right]:
                return _string(left) == _string(right)
            case "Fn::Contains", [[*strings], string]:
                return _string(string) in map(_string, strings)
            case "Fn::Not", [operand]:
                return not operand
            case "Fn::And", [*operands]:
                return all(operands)
            case "Fn::Or", [*operands]:
                return any(operands)
            case "Fn::Join", [str(separator), [*parts]]:
                return separator.join(map(_string, parts))
            case "Fn::Split", [str(separator), str(text)]:
                return text.split(separator)
            case "Fn::Select", [index, [*choices]]:
                return choices[int(index)]
            case "Fn::FindInMap", [table, first, second]:
                return self._mappings[table][first][second]
        raise TemplateError(f"{where}: {name} in this form is not supported by the local stack: {argument!r}")

    def _ref(self, name: str, where: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        if name in self._parameters:
            value = self._parameters[name]
            is_list = self._types.get(name) in {"CommaDelimitedList", "List<Number>"}
            return [part.strip() for part in str(value).split(",")] if is_list else value
        if name in self._types:
            raise TemplateError(f"{where}: parameter {name} has no default and was given no value")
        value = self._reference(name)
        if value is None:
            raise TemplateError(f"{where}: !Ref {name} is not known to the local stack")
        return value

    def _get_att(self, logical_id: str, attribute: str, where: str) -> str:
        value = self._attribute(logical_id, attribute)
        if value is None:
            raise TemplateError(f"{where}: !GetAtt {logical_id}.{attribute} is not known to the local stack")
        return value

    def _substitute(self, text: str, variables: Mapping[str, Any], where: str) -> str:
        def value_of(match: re.Match[str]) -> str:
            literal, name = match[1], match[2].strip()
            if literal:
                return "${" + match[2] + "}"
            if name in variables:
                return _string(variables[name])
            if "." in name:
                logical_id, attribute = name.split(".", 1)
                return self._get_att(logical_id, attribute, where)
            return _string(self._ref(name, where))

        return PLACEHOLDER.sub(value_of, text)


def _string(value: Any) -> str:
    """Return a scalar as text, as CloudFormation writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
