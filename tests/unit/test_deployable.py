"""What CloudFormation refuses and `sam validate --lint` does not see: wrong functions, long names, large policies."""

import copy
import functools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from local_stack.intrinsics import PLACEHOLDER
from tests.unit.placement import functions, misplaced
from tests.unit.rules import RuleError, broken
from tests.unit.specialise import Document, lint, regions_without, specialised
from tests.unit.transform import DOMAIN, FREE_VALUES, HOST, JWT, NO_DOMAIN, ROOT, SOURCE, documents

pytestmark = pytest.mark.xdist_group("template")


def free(*names: str) -> dict[str, str]:
    return {name: FREE_VALUES[name] for name in names}


KEY = free("KmsKeyArn")
FLAGS = free("AppConfigApplication", "AppConfigEnvironment", "AppConfigProfile")
GUARDRAIL = free("GuardrailId", "GuardrailVersion")
DOCUMENTS = {**free("KnowledgeBaseId"), "EmbeddingModel": "titan-embed-v2"}
LABELS = free("ClassifyLabels", "ClassifyFunctionArn")
LIMITS = {**free("StreamConcurrency", "ConverseConcurrency", "AlarmTopicArn"), "LogRetentionDays": "365"}
EVERYTHING = {**KEY, **FLAGS, **GUARDRAIL, **DOCUMENTS, **LABELS, **LIMITS}
COMBINATIONS = {
    "default": {},
    "jwt": JWT,
    "web host": {**JWT, **HOST, **NO_DOMAIN},
    "web host with a domain": {**JWT, **HOST, **DOMAIN},
    "REST": {"RestStreaming": "enabled"},
    "REST with jwt": {**JWT, "RestStreaming": "enabled"},
    "key": KEY,
    "flags": FLAGS,
    "flags and key": {**FLAGS, **KEY},
    "knowledge base": DOCUMENTS,
    "guardrail": GUARDRAIL,
    "labels": LABELS,
    "without learning": {"Learning": "disabled"},
    "everything at the web host": {**JWT, **HOST, **DOMAIN, **EVERYTHING},
    "everything at REST": {**EVERYTHING, "RestStreaming": "enabled", "Architecture": "x86_64"},
}
REGIONS = ["us-east-1", "eu-west-1"]
LONGEST_REGION = "ap-southeast-2"


@functools.cache
def deployments() -> dict[str, Document]:
    """Each combination's template after SAM's transform."""
    return dict(zip(COMBINATIONS, documents(list(COMBINATIONS.values())), strict=True))


@functools.cache
def findings() -> dict[str, list[str]]:
    left = [specialised(document, COMBINATIONS[name]) for name, document in deployments().items()]
    return dict(zip(COMBINATIONS, lint(left, REGIONS), strict=True))


@pytest.mark.parametrize("name", COMBINATIONS)
def test_no_rule_refuses_a_useful_combination(name: str) -> None:
    assert broken(SOURCE, COMBINATIONS[name]) == []


@pytest.mark.parametrize("name", COMBINATIONS)
def test_lint_finds_nothing_in_what_a_combination_deploys(name: str) -> None:
    assert findings()[name] == []


def test_every_function_stands_where_cloudformation_allows_it() -> None:
    assert misplaced(SOURCE) == []
    for name, document in deployments().items():
        assert misplaced(document) == [], name


EQUAL = {"Fn::Equals": [{"Ref": "AuthMode"}, "jwt"]}


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ("Rules.R.Assertions", [{"Assert": {"Fn::Equals": [{"Fn::Join": ["", ["a"]]}, ""]}}], "rule R: Fn::Join"),
        ("Rules.R.Assertions", [{"Assert": {"Condition": "IamUrl"}}], "rule R: Condition"),
        ("Rules.R.Assertions", [{"Assert": {"Fn::And": [EQUAL]}}], "rule R: Fn::And takes 2 to 10 operands"),
        (
            "Rules.R.Assertions",
            [{"Assert": {"Fn::Contains": [{"Fn::ValueOf": [{"Ref": "AuthMode"}, "x"]}, "a"]}}],
            "rule R: a function within Fn::ValueOf",
        ),
        ("Rules.R.RuleCondition", {"Fn::Equals": [{"Ref": "ChatTable"}, ""]}, "rule R: Ref to ChatTable"),
        ("Conditions.C", {"Fn::Equals": [{"Fn::Sub": "${AuthMode}"}, ""]}, "condition C: Fn::Sub"),
        ("Conditions.C", {"Fn::Equals": [{"Fn::GetAtt": ["ChatTable", "Arn"]}, ""]}, "condition C: Fn::GetAtt"),
        ("Conditions.C", {"Fn::Not": [{"Condition": "Nothing"}]}, "condition C: unknown condition Nothing"),
        (
            "Resources.ChatTable.DependsOn",
            [{"Fn::If": ["IamUrl", "HttpApi", "HttpStage"]}],
            "ChatTable.DependsOn: Fn::If",
        ),
        ("Resources.ChatTable.DependsOn", "Nothing", "ChatTable: depends on unknown Nothing"),
        ("Resources.ChatTable.DeletionPolicy", {"Ref": "AuthMode"}, "ChatTable.DeletionPolicy: Ref"),
        ("Resources.ChatTable.Condition", "Nothing", "ChatTable: unknown condition Nothing"),
        (
            "Resources.ChatTable.Properties.TableName",
            {"Fn::Contains": [["a"], "a"]},
            "ChatTable.Properties: Fn::Contains",
        ),
        ("Outputs.ChatTable.Description", {"Fn::Sub": "${AuthMode}"}, "output ChatTable.Description: Fn::Sub"),
        ("Parameters.AuthMode.Default", {"Ref": "UrlAuthType"}, "Parameters: Ref"),
        ("Mappings.M", {"a": {"b": {"Ref": "AuthMode"}}}, "Mappings: Ref"),
    ],
)
def test_a_misplaced_function_is_found(path: str, value: Any, fault: str) -> None:
    document = copy.deepcopy(SOURCE)
    *parents, last = path.split(".")
    owner = functools.reduce(lambda node, key: node.setdefault(key, {}), parents, document)
    owner[last] = value
    assert [found for found in misplaced(document) if found.startswith(fault)]


@pytest.mark.parametrize(
    "assertion",
    [
        {"Fn::Equals": [{"Fn::Join": ["", {"Ref": "AllowedOrigins"}]}, ""]},
        {"Fn::Equals": [{"Ref": "AllowedOrigins"}, ""]},  # a list is not a string
        {"Fn::Equals": [{"Fn::If": ["IamUrl", "a", "b"]}, "a"]},
        {"Fn::Or": [EQUAL]},
        {"Fn::Not": [{"Condition": "IamUrl"}]},
        {"Ref": "AuthMode"},
    ],
)
def test_rules_are_evaluated_as_strictly_as_by_cloudformation(assertion: Any) -> None:
    document = {**SOURCE, "Rules": {"R": {"Assertions": [{"Assert": assertion, "AssertDescription": "no"}]}}}
    with pytest.raises(RuleError):
        broken(document, {})


@pytest.mark.parametrize(
    ("assertion", "holds"),
    [
        ({"Fn::Contains": [["iam", "jwt"], {"Ref": "AuthMode"}]}, True),
        ({"Fn::Contains": [["jwt"], {"Ref": "AuthMode"}]}, False),
        ({"Fn::EachMemberEquals": [{"Ref": "JwtAlgorithms"}, "RS256"]}, True),
        ({"Fn::EachMemberEquals": [{"Ref": "JwtAlgorithms"}, "ES256"]}, False),
        ({"Fn::EachMemberIn": [{"Ref": "JwtAlgorithms"}, ["RS256", "ES256"]]}, True),
        ({"Fn::EachMemberIn": [{"Ref": "JwtAlgorithms"}, ["ES256"]]}, False),
        ({"Fn::Equals": [{"Ref": "AWS::Region"}, "eu-west-1"]}, True),
    ],
)
def test_rule_functions(assertion: Any, *, holds: bool) -> None:
    document = {**SOURCE, "Rules": {"R": {"Assertions": [{"Assert": assertion, "AssertDescription": "no"}]}}}
    assert broken(document, {}, region="eu-west-1") == ([] if holds else ["no"])


@pytest.mark.parametrize(
    ("name", "longest"),
    [("web host", 64 - 1 - len(LONGEST_REGION)), ("everything at REST", 140 - len("-streaming-runtime"))],
)
def test_names_are_as_long_as_docs_say(name: str, longest: int) -> None:
    """docs/troubleshooting.md has both numbers: CloudFront's functions and layers have the shortest names."""
    fits, too_long = (
        specialised(deployments()[name], COMBINATIONS[name], StackName="s" * length, Region=LONGEST_REGION)
        for length in (longest, longest + 1)
    )
    found, refused = lint([fits, too_long], [LONGEST_REGION])
    assert found == []
    assert refused
    assert all("Name: " in each for each in refused), refused


def dependencies(document: Document) -> dict[str, set[str]]:
    """What each resource waits for, by reference or by DependsOn."""

    made = set(document["Resources"])

    def named(node: Any) -> set[str]:
        in_texts = {name.split(".")[0] for literal, name in PLACEHOLDER.findall(json.dumps(node)) if not literal}
        by_ref = {str(argument) for name, argument in functions(node) if name == "Ref"}
        by_attribute = {str(argument[0]) for name, argument in functions(node) if name == "Fn::GetAtt"}
        return made & (in_texts | by_ref | by_attribute)

    def waits(resource: Document) -> set[str]:
        needed = resource.get("DependsOn", [])
        return named(resource.get("Properties", {})) | set([needed] if isinstance(needed, str) else needed)

    direct = {name: waits(resource) for name, resource in document["Resources"].items()}
    while True:
        further = {name: others.union(*(direct[other] for other in others)) for name, others in direct.items()}
        if further == direct:
            return direct
        direct = further


@pytest.mark.parametrize("name", COMBINATIONS)
def test_nothing_waits_for_itself(name: str) -> None:
    waits = dependencies(specialised(deployments()[name], COMBINATIONS[name]))
    assert [resource for resource, others in waits.items() if resource in others] == []


def test_roles_may_use_a_key_before_it_encrypts_and_as_long_as_it_does() -> None:
    """CloudFormation works in the order of dependencies, replaces before it deletes, and deletes last."""
    document = specialised(deployments()["key"], KEY)
    waits, other = dependencies(document), specialised(deployments()["key"], {"KmsKeyArn": f"{KEY['KmsKeyArn']}0"})
    users = {"ChatTable": {"StreamRole", "ConverseRole"}, "DeadLetters": {"ConverseRole"}}
    for encrypted, roles in users.items():
        policies = {
            policy: resource["Properties"]
            for policy, resource in document["Resources"].items()
            if resource["Type"] == "AWS::IAM::ManagedPolicy" and KEY["KmsKeyArn"] in json.dumps(resource)
        }
        before = policies.keys() & waits[encrypted]
        assert {role["Ref"] for policy in before for role in policies[policy]["Roles"]} == roles
        for policy in before:  # IAM cannot change a description, so CloudFormation replaces the policy
            assert policies[policy]["Description"] != other["Resources"][policy]["Properties"]["Description"]


def test_functions_wait_for_their_permissions() -> None:
    waits = dependencies(specialised(deployments()["default"], {}))
    assert "TurnPolicy" in waits["StreamFunction"]
    assert {"TurnPolicy", "ListPolicy"} <= waits["ConverseFunction"]


def test_the_dns_record_s_target_is_an_output() -> None:
    name = "web host with a domain"
    outputs = specialised(deployments()[name], COMBINATIONS[name])["Outputs"]
    assert outputs["WebHostTarget"]["Value"] == {"Fn::GetAtt": ["Distribution", "DomainName"]}
    assert outputs["WebHostUrl"]["Value"] == f"https://{DOMAIN['WebDomain']}"


def test_docs_name_every_region_without_function_urls() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z]{2}-[a-z]+-[0-9])`", text.split("## Regions")[1].split("## ")[0]))
    without = regions_without("AWS::Lambda::Url")
    assert {region for region in without if not region.startswith(("us-gov-", "cn-"))} <= named
    assert {"us-gov-east-1", "us-gov-west-1"} == regions_without("AWS::CloudFront::Distribution") <= without


def test_policies_fit_into_iam() -> None:
    """IAM's quotas, without white space: 6,144 characters a managed policy, 10,240 for all inline ones of a role."""
    name = "everything at the web host"
    document = specialised(
        deployments()[name],
        COMBINATIONS[name],
        StackName="s" * 49,
        Region=LONGEST_REGION,
        AccountId="1" * 12,
        Partition="aws-us-gov",
    )
    size: Callable[[Any], int] = lambda policy: len(json.dumps(policy, separators=(",", ":")))  # noqa: E731
    inline: dict[str, int] = {}
    for each in document["Resources"].values():
        properties = each.get("Properties", {})
        if each["Type"] == "AWS::IAM::ManagedPolicy":
            assert size(properties["PolicyDocument"]) < 6144
        if each["Type"] == "AWS::IAM::Policy":
            for role in properties["Roles"]:
                inline[role["Ref"]] = inline.get(role["Ref"], 0) + size(properties["PolicyDocument"])
    for role in ("StreamRole", "ConverseRole"):
        own = document["Resources"][role]["Properties"].get("Policies", [])
        assert inline[role] + sum(size(policy["PolicyDocument"]) for policy in own) < 10240
