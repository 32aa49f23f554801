"""What CloudFormation refuses and `sam validate --lint` accepts: wrong functions, long names, large policies."""

import copy
import functools
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from local_stack.intrinsics import PLACEHOLDER
from tests.unit.placement import functions, misplaced
from tests.unit.rules import RuleError, violated
from tests.unit.specialise import Document, lint, regions_without, specialised
from tests.unit.transform import DOMAIN, FREE_VALUES, HOST, JWT, NO_DOMAIN, ROOT, SOURCE, documents

pytestmark = pytest.mark.xdist_group("template")


def free_values(*names: str) -> dict[str, str]:
    return {name: FREE_VALUES[name] for name in names}


KEY = free_values("KmsKeyArn")
FLAGS = free_values("AppConfigApplication", "AppConfigEnvironment", "AppConfigProfile")
GUARDRAIL = free_values("GuardrailId", "GuardrailVersion")
DOCUMENTS = {**free_values("KnowledgeBaseId"), "EmbeddingModel": "titan-embed-v2"}
LABELS = free_values("ClassifyLabels", "ClassifyFunctionArn")
LIMITS = {**free_values("StreamConcurrency", "ConverseConcurrency", "AlarmTopicArn"), "LogRetentionDays": "365"}
OVERRIDES = free_values("ModelOverrides")
EVERYTHING = {**KEY, **FLAGS, **GUARDRAIL, **DOCUMENTS, **LABELS, **LIMITS, **OVERRIDES}
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
    "overrides in SSM": OVERRIDES,
    "overrides in SSM by ARN": {"ModelOverrides": "arn:aws:ssm:eu-west-1:123456789012:parameter/chat/models"},
    "overrides as JSON": {"ModelOverrides": '{"anthropic.claude-opus-7": {"like": "claude-opus"}}'},
    "models of an application": free_values("ModelArns"),
    "without learning": {"Learning": "disabled"},
    "everything at the web host": {**JWT, **HOST, **DOMAIN, **EVERYTHING},
    "everything at REST": {**EVERYTHING, "RestStreaming": "enabled", "Architecture": "x86_64"},
}
REGIONS = ["us-east-1", "eu-west-1"]
LONGEST_REGION = "ap-southeast-2"


@functools.cache
def deployments() -> dict[str, Document]:
    """The template of each combination after SAM's transform."""
    return dict(zip(COMBINATIONS, documents(list(COMBINATIONS.values())), strict=True))


@functools.cache
def findings() -> dict[str, list[str]]:
    templates = [specialised(document, COMBINATIONS[name]) for name, document in deployments().items()]
    return dict(zip(COMBINATIONS, lint(templates, REGIONS), strict=True))


@pytest.mark.parametrize("name", COMBINATIONS)
def test_rules_accept_every_combination(name: str) -> None:
    assert violated(SOURCE, COMBINATIONS[name]) == []


@pytest.mark.parametrize("name", COMBINATIONS)
def test_lint_accepts_the_template_of_every_combination(name: str) -> None:
    assert findings()[name] == []


def test_no_intrinsic_function_is_misplaced() -> None:
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
def test_misplaced_function_is_reported(path: str, value: Any, fault: str) -> None:
    document = copy.deepcopy(SOURCE)
    *parents, last = path.split(".")
    owner = functools.reduce(lambda node, key: node.setdefault(key, {}), parents, document)
    owner[last] = value
    assert [line for line in misplaced(document) if line.startswith(fault)]


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
def test_unsupported_function_in_a_rule_is_an_error(assertion: Any) -> None:
    document = {**SOURCE, "Rules": {"R": {"Assertions": [{"Assert": assertion, "AssertDescription": "no"}]}}}
    with pytest.raises(RuleError):
        violated(document, {})


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
def test_rule_function_accepts_or_refuses_the_parameters(assertion: Any, *, holds: bool) -> None:
    document = {**SOURCE, "Rules": {"R": {"Assertions": [{"Assert": assertion, "AssertDescription": "no"}]}}}
    assert violated(document, {}, region="eu-west-1") == ([] if holds else ["no"])


@pytest.mark.parametrize(
    ("name", "longest"),
    [("web host", 64 - 1 - len(LONGEST_REGION)), ("everything at REST", 140 - len("-streaming-runtime"))],
)
def test_stack_name_over_the_documented_length_is_refused(name: str, longest: int) -> None:
    """docs/troubleshooting.md states both numbers: CloudFront functions and layers have the lowest limits."""
    fits, too_long = (
        specialised(deployments()[name], COMBINATIONS[name], StackName="s" * length, Region=LONGEST_REGION)
        for length in (longest, longest + 1)
    )
    findings_of_longest, findings_of_too_long = lint([fits, too_long], [LONGEST_REGION])
    assert findings_of_longest == []
    assert findings_of_too_long
    assert all("Name: " in finding for finding in findings_of_too_long), findings_of_too_long


def dependencies(document: Document) -> dict[str, set[str]]:
    """The resources that each resource depends on, by reference or by DependsOn, directly or not."""

    resources = set(document["Resources"])

    def referenced(node: Any) -> set[str]:
        in_texts = {name.split(".")[0] for literal, name in PLACEHOLDER.findall(json.dumps(node)) if not literal}
        by_ref = {str(argument) for name, argument in functions(node) if name == "Ref"}
        by_attribute = {str(argument[0]) for name, argument in functions(node) if name == "Fn::GetAtt"}
        return resources & (in_texts | by_ref | by_attribute)

    def direct_of(resource: Document) -> set[str]:
        explicit = resource.get("DependsOn", [])
        return referenced(resource.get("Properties", {})) | set([explicit] if isinstance(explicit, str) else explicit)

    direct = {name: direct_of(resource) for name, resource in document["Resources"].items()}
    while True:
        further = {name: others.union(*(direct[other] for other in others)) for name, others in direct.items()}
        if further == direct:
            return direct
        direct = further


@pytest.mark.parametrize("name", COMBINATIONS)
def test_no_resource_depends_on_itself(name: str) -> None:
    dependencies_of = dependencies(specialised(deployments()[name], COMBINATIONS[name]))
    assert [resource for resource, others in dependencies_of.items() if resource in others] == []


def test_key_policies_of_roles_exist_before_the_encrypted_resource() -> None:
    """CloudFormation follows the order of dependencies, and deletes replaced resources last."""
    document = specialised(deployments()["key"], KEY)
    dependencies_of, other = (
        dependencies(document),
        specialised(deployments()["key"], {"KmsKeyArn": f"{KEY['KmsKeyArn']}0"}),
    )
    users = {"ChatTable": {"StreamRole", "ConverseRole"}, "DeadLetters": {"ConverseRole"}}
    for encrypted, roles in users.items():
        policies = {
            policy: resource["Properties"]
            for policy, resource in document["Resources"].items()
            if resource["Type"] == "AWS::IAM::ManagedPolicy" and KEY["KmsKeyArn"] in json.dumps(resource)
        }
        before = policies.keys() & dependencies_of[encrypted]
        assert {role["Ref"] for policy in before for role in policies[policy]["Roles"]} == roles
        for policy in before:  # IAM cannot change a description, so CloudFormation replaces the policy
            assert policies[policy]["Description"] != other["Resources"][policy]["Properties"]["Description"]


def test_functions_depend_on_their_policies() -> None:
    dependencies_of = dependencies(specialised(deployments()["default"], {}))
    assert "TurnPolicy" in dependencies_of["StreamFunction"]
    assert {"TurnPolicy", "ListPolicy"} <= dependencies_of["ConverseFunction"]


def test_target_of_the_dns_record_is_an_output() -> None:
    name = "web host with a domain"
    outputs = specialised(deployments()[name], COMBINATIONS[name])["Outputs"]
    assert outputs["WebHostTarget"]["Value"] == {"Fn::GetAtt": ["Distribution", "DomainName"]}
    assert outputs["WebHostUrl"]["Value"] == f"https://{DOMAIN['WebDomain']}"


def test_docs_list_every_region_without_function_urls() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z]{2}-[a-z]+-[0-9])`", text.split("## Regions")[1].split("## ")[0]))
    without = regions_without("AWS::Lambda::Url")
    assert {region for region in without if not region.startswith(("us-gov-", "cn-"))} <= named
    assert {"us-gov-east-1", "us-gov-west-1"} == regions_without("AWS::CloudFront::Distribution") <= without


def test_policies_are_within_the_quotas_of_iam() -> None:
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
    for resource in document["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::IAM::ManagedPolicy":
            assert size(properties["PolicyDocument"]) < 6144
        if resource["Type"] == "AWS::IAM::Policy":
            for role in properties["Roles"]:
                inline[role["Ref"]] = inline.get(role["Ref"], 0) + size(properties["PolicyDocument"])
    for role in ("StreamRole", "ConverseRole"):
        own = document["Resources"][role]["Properties"].get("Policies", [])
        assert inline[role] + sum(size(policy["PolicyDocument"]) for policy in own) < 10240
