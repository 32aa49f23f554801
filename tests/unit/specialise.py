"""A template with one set of parameters filled in, as CloudFormation does it, and the findings of cfn-lint."""

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from local_stack.intrinsics import NO_VALUE, PLACEHOLDER, Resolver
from tests.unit.transform import SAM_PYTHON

Document = dict[str, Any]
# One process and one set of cfn-lint's rules for all documents, because loading takes longer than a document.
# Warnings count.
LINT = """
import json, sys
from cfnlint.config import ConfigMixIn
from cfnlint.runner import Runner
documents, regions = json.load(sys.stdin)
runner = Runner(ConfigMixIn(regions=regions))
for document in documents:
    found = runner.validate_template(document)
    print(json.dumps([f"{each.rule.id} {'/'.join(map(str, each.path))}: {each.message}" for each in found]))
"""

REGIONS_WITHOUT = """
import json, sys
from cfnlint.helpers import REGIONS
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER, ResourceNotFoundError
kind, without = json.load(sys.stdin), []
for region in REGIONS:
    try:
        PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, kind)
    except ResourceNotFoundError:
        without.append(region)
print(json.dumps(without))
"""


class Specialiser:
    """Replaces parameters, conditions and mappings by their values; keeps other references.

    The pseudo parameters in `pseudo` (name to value) are replaced too.
    """

    def __init__(self, document: Document, parameters: Mapping[str, str], pseudo: Mapping[str, str]) -> None:
        self._document = document
        self._parameters = {*document.get("Parameters", {}), "AWS::NoValue"}
        self._pseudo = pseudo
        self._resolver = Resolver(document, parameters, lambda _: None, lambda _, __: None)

    def document(self) -> Document:
        """The whole template, without Parameters, Conditions, Mappings and Rules."""
        sections = {
            section: {
                name: self._value(resource)
                for name, resource in self._document[section].items()
                if self._is_created(resource)
            }
            for section in ("Resources", "Outputs")
        }
        return {"AWSTemplateFormatVersion": "2010-09-09", **_without_conditions(sections)}

    def _is_created(self, owner: Document) -> bool:
        return "Condition" not in owner or self._resolver.condition(owner["Condition"])

    def _value(self, node: Any) -> Any:
        match node:
            case list():
                return [value for value in map(self._value, node) if value is not NO_VALUE]
            case {"Ref": str(name)} if name in self._parameters:
                return self._resolver.resolve(node, "here")
            case {"Ref": str(name)} if name in self._pseudo:
                return self._pseudo[name]
            case {"Fn::If": [str(condition), then, otherwise]}:
                return self._value(then if self._resolver.condition(condition) else otherwise)
            case {"Fn::FindInMap": _}:
                return self._resolver.resolve(node, "here")
            case {"Fn::Sub": str(text)}:
                return self._text(text, {})
            case {"Fn::Sub": [str(text), dict(variables)]}:
                return self._text(text, self._value(variables))
            case dict():
                pairs = ((key, self._value(value)) for key, value in node.items())
                return {key: value for key, value in pairs if value is not NO_VALUE}
        return node

    def _text(self, text: str, variables: Mapping[str, Any]) -> Any:
        unresolved = {name: value for name, value in variables.items() if not isinstance(value, str)}
        known_values = {**self._pseudo, **{name: value for name, value in variables.items() if isinstance(value, str)}}
        known_values |= {
            name: self._value({"Ref": name}) for name in self._parameters - {"AWS::NoValue"} if name in text
        }
        filled = PLACEHOLDER.sub(lambda found: str(known_values.get(found[2].strip(), found[0])), text)
        if not PLACEHOLDER.search(filled):
            return filled
        return {"Fn::Sub": [filled, unresolved] if unresolved else filled}


def _without_conditions(sections: Document) -> Document:
    return {
        section: {
            name: {key: value for key, value in owner.items() if key != "Condition"} for name, owner in owners.items()
        }
        for section, owners in sections.items()
    }


def specialised(document: Document, parameters: Mapping[str, str], **pseudo: str) -> Document:
    """The template with these parameters filled in; `StackName="x"` sets the pseudo parameter AWS::StackName."""
    return Specialiser(document, parameters, {f"AWS::{name}": value for name, value in pseudo.items()}).document()


def lint(documents: list[Document], regions: list[str]) -> list[list[str]]:
    """The findings of cfn-lint in each document, including warnings."""
    return [json.loads(line) for line in _cfn_lint(LINT, [documents, regions]).splitlines()]


def regions_without(kind: str) -> set[str]:
    """The regions without this resource type, according to cfn-lint."""
    return set(json.loads(_cfn_lint(REGIONS_WITHOUT, kind)))


def _cfn_lint(program: str, argument: Any) -> str:
    completed = subprocess.run(
        [SAM_PYTHON, "-W", "ignore", "-c", program],
        input=json.dumps(argument),
        env={"AWS_DEFAULT_REGION": "us-east-1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout
