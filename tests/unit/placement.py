"""Finds intrinsic functions where CloudFormation does not allow them. cfn-lint does not check Rules.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/intrinsic-function-reference.html:
see "Condition functions" and "Rule functions".
"""

from collections.abc import Iterator, Mapping
from typing import Any

from local_stack.intrinsics import PSEUDO_PARAMETERS

BOOLEANS = {"Fn::And", "Fn::Equals", "Fn::Not", "Fn::Or"}
MEMBERS = {"Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn"}
LOOKUPS = {"Fn::RefAll", "Fn::ValueOf", "Fn::ValueOfAll"}
IN_RULES = {"Ref", *BOOLEANS, *MEMBERS, *LOOKUPS}
# The documentation of conditions names only Ref and FindInMap. CloudFormation also evaluates functions of texts that
# refer to parameters alone, and cfn-lint accepts them.
IN_CONDITIONS = {"Ref", "Condition", "Fn::FindInMap", "Fn::Join", "Fn::Select", "Fn::Split", *BOOLEANS}
IN_PROPERTIES = {
    "Ref",
    "Fn::Base64",
    "Fn::Cidr",
    "Fn::FindInMap",
    "Fn::GetAZs",
    "Fn::GetAtt",
    "Fn::If",
    "Fn::ImportValue",
    "Fn::Join",
    "Fn::Select",
    "Fn::Split",
    "Fn::Sub",
}
WITH_FUNCTIONS = {
    "Properties",
    "Metadata",
    "UpdatePolicy",
    "CreationPolicy",
}  # attributes of a resource that allow functions


def misplaced(document: Mapping[str, Any]) -> list[str]:
    """One line for each fault: its place and the reason."""
    return [
        *_rules(document),
        *_conditions(document),
        *_resources(document),
        *_outputs(document),
        *_constants(document),
    ]


def functions(node: Any) -> Iterator[tuple[str, Any]]:
    """Every intrinsic function in `node`, with its argument."""
    if isinstance(node, list):
        for item in node:
            yield from functions(item)
    elif isinstance(node, dict):
        for name, argument in node.items():
            if name.startswith("Fn::") or (len(node) == 1 and name in {"Ref", "Condition"}):
                yield name, argument
            yield from functions(argument)


def _rules(document: Mapping[str, Any]) -> Iterator[str]:
    for name, rule in document.get("Rules", {}).items():
        yield from _logic(f"rule {name}", rule, IN_RULES, document)
        for lookup, argument in functions(rule):
            if lookup in LOOKUPS and list(functions(argument)):
                yield f"rule {name}: a function within {lookup}"


def _conditions(document: Mapping[str, Any]) -> Iterator[str]:
    for name, condition in document.get("Conditions", {}).items():
        yield from _logic(f"condition {name}", condition, IN_CONDITIONS, document)


def _logic(where: str, node: Any, allowed: set[str], document: Mapping[str, Any]) -> Iterator[str]:
    parameters = document.get("Parameters", {}).keys() | PSEUDO_PARAMETERS.keys()
    for name, argument in functions(node):
        if name not in allowed:
            yield f"{where}: {name}"
        elif name == "Ref" and argument not in parameters:
            yield f"{where}: Ref to {argument}, which is not a parameter"
        elif name == "Condition" and argument not in document["Conditions"]:
            yield f"{where}: unknown condition {argument}"
        elif name in {"Fn::And", "Fn::Or"} and not 2 <= len(argument) <= 10:
            yield f"{where}: {name} takes 2 to 10 operands"


def _resources(document: Mapping[str, Any]) -> Iterator[str]:
    for name, resource in document["Resources"].items():
        for attribute, value in resource.items():
            if attribute in WITH_FUNCTIONS:
                yield from _values(f"{name}.{attribute}", value, document)
            else:
                yield from (f"{name}.{attribute}: {function}" for function, _ in functions(value))
        if "Condition" in resource and resource["Condition"] not in document.get("Conditions", {}):
            yield f"{name}: unknown condition {resource['Condition']}"
        dependencies = resource.get("DependsOn", [])
        for dependency in [dependencies] if isinstance(dependencies, str) else dependencies:
            if isinstance(dependency, str) and dependency not in document["Resources"]:
                yield f"{name}: depends on unknown {dependency}"


def _outputs(document: Mapping[str, Any]) -> Iterator[str]:
    for name, output in document.get("Outputs", {}).items():
        for part, value in output.items():
            if part in {"Value", "Export"}:
                yield from _values(f"output {name}", value, document)
            else:
                yield from (f"output {name}.{part}: {function}" for function, _ in functions(value))


def _values(where: str, node: Any, document: Mapping[str, Any]) -> Iterator[str]:
    for name, argument in functions(node):
        if name not in IN_PROPERTIES:
            yield f"{where}: {name}"
        elif name == "Fn::If" and argument[0] not in document.get("Conditions", {}):
            yield f"{where}: unknown condition {argument[0]}"


def _constants(document: Mapping[str, Any]) -> Iterator[str]:
    for section in ("Description", "Parameters", "Mappings"):
        yield from (f"{section}: {name}" for name, _ in functions(document.get(section, {})))
