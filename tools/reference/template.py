"""Reads template.yaml for the reference: parameter groups, rules, outputs, variables and entry points."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from local_stack.intrinsics import load
from local_stack.template import Template, read

ROOT = Path(__file__).resolve().parents[2]
PATH = ROOT / "template.yaml"
OTHERS = "Other parameters"  # parameters without a group in Metadata


@cache
def source() -> Mapping[str, Any]:
    """Return the template with CloudFormation's functions in JSON form."""
    return load(PATH)


@cache
def resolved() -> Template:
    """Return the resources with the web host enabled and otherwise default parameters."""
    return read(PATH, {"WebHost": "enabled"})


def parameters() -> Mapping[str, Mapping[str, Any]]:
    """Return all parameters by name."""
    declared: Mapping[str, Mapping[str, Any]] = source()["Parameters"]
    return declared


def default(parameter: str) -> Any:
    """Return the default of a parameter."""
    return parameters()[parameter]["Default"]


def groups() -> Iterator[tuple[str, list[str]]]:
    """Yield the label and the parameters of each group, then the parameters without a group."""
    remaining = dict.fromkeys(parameters())
    for group in source()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]:
        for name in group["Parameters"]:
            del remaining[name]
        yield group["Label"]["default"], group["Parameters"]
    if remaining:
        yield OTHERS, list(remaining)


def rules() -> list[str]:
    """Return the messages of CloudFormation's rules for combinations of parameters."""
    all_rules = source()["Rules"].values()
    return [assertion["AssertDescription"] for rule in all_rules for assertion in rule["Assertions"]]


def outputs() -> Mapping[str, Mapping[str, Any]]:
    """Return the stack's outputs by name."""
    declared: Mapping[str, Mapping[str, Any]] = source()["Outputs"]
    return declared


def variables() -> dict[str, tuple[str, Any]]:
    """Return the functions' environment variables: the function that has each (or "both"), and its unresolved value."""
    result = {name: ("both", value) for name, value in _variables(source()["Globals"]["Function"])}
    for function, resource in source()["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            result |= {name: (function, value) for name, value in _variables(resource["Properties"])}
    return result


def _variables(properties: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield from properties.get("Environment", {}).get("Variables", {}).items()


def parameter_of(value: Any) -> str | None:
    """Return the parameter that is the value of a variable, or None."""
    match value:
        case {"Ref": name} | {"Fn::Join": [_, {"Ref": name}]} if name in parameters():
            return str(name)
    return None


def host_origin(path: str) -> str:
    """Return the origin of a path behind the web host: `StreamFunction` or `HttpApi`."""
    distribution = resolved().distribution
    if distribution is None:
        raise LookupError("the template has no distribution")
    return distribution.behavior(re.sub(r"\{\w+\}", "an-id", path)).origin
