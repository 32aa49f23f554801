"""template.yaml for the reference: parameters in their groups, rules, outputs, variables and entry points."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from local_stack.intrinsics import load
from local_stack.template import Template, read

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "template.yaml"
OTHERS = "Other parameters"  # those that Metadata puts into no group


@cache
def source() -> Mapping[str, Any]:
    """The document, with CloudFormation's functions in JSON form."""
    return load(PATH)


@cache
def resolved() -> Template:
    """The resources, with the one host in front and otherwise the default parameters."""
    return read(PATH, {"WebHost": "enabled"})


def parameters() -> Mapping[str, Mapping[str, Any]]:
    """All parameters by name."""
    declared: Mapping[str, Mapping[str, Any]] = source()["Parameters"]
    return declared


def default(parameter: str) -> Any:
    """The default of a parameter."""
    return parameters()[parameter]["Default"]


def groups() -> Iterator[tuple[str, list[str]]]:
    """Each group's label and its parameters; at the end those without a group."""
    left = dict.fromkeys(parameters())
    for group in source()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]:
        for name in group["Parameters"]:
            del left[name]
        yield group["Label"]["default"], group["Parameters"]
    if left:
        yield OTHERS, list(left)


def rules() -> list[str]:
    """What CloudFormation says when parameters do not fit together."""
    checked = source()["Rules"].values()
    return [each["AssertDescription"] for rule in checked for each in rule["Assertions"]]


def outputs() -> Mapping[str, Mapping[str, Any]]:
    """The stack's outputs by name."""
    declared: Mapping[str, Mapping[str, Any]] = source()["Outputs"]
    return declared


def variables() -> dict[str, tuple[str, Any]]:
    """The functions' environment variables: who gets each (a function, or all), and its value as it is written."""
    found = {name: ("both", value) for name, value in _variables(source()["Globals"]["Function"])}
    for function, resource in source()["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            found |= {name: (function, value) for name, value in _variables(resource["Properties"])}
    return found


def _variables(properties: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from properties.get("Environment", {}).get("Variables", {}).items()


def parameter_of(value: Any) -> str | None:
    """The parameter that a variable's value consists of, if any."""
    match value:
        case {"Ref": name} | {"Fn::Join": [_, {"Ref": name}]} if name in parameters():
            return str(name)
    return None


def host_origin(path: str) -> str:
    """Where the one host sends a path of the routes' description: `StreamFunction` or `HttpApi`."""
    distribution = resolved().distribution
    if distribution is None:
        raise LookupError("the template has no distribution")
    return distribution.behavior(re.sub(r"\{\w+\}", "an-id", path)).origin
