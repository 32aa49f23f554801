"""template.yaml after SAM's transform, for every set of parameters that changes its resources."""

import functools
import itertools
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local_stack.intrinsics import Resolver, load

ROOT = Path(__file__).parents[2]
SAM_PYTHON = ROOT / ".venv-sam/bin/python"
SOURCE = load(ROOT / "template.yaml")
FREE_VALUES = {  # a second value for parameters without AllowedValues
    "AllowedOrigins": "https://one.example,https://two.example:8443",
    "ModelIdleSeconds": "30",
    "DefaultModel": "claude-haiku",
    "TaskModel": "nova-lite",
    "AllowedModels": "nova-lite,anthropic.*",
    "ModelArns": "arn:aws:bedrock:*::foundation-model/*,arn:aws:bedrock:eu-west-1:123456789012:imported-model/abc",
    "ModelOverrides": "/chat/models",
    "AssistantName": "Ada",
    "GuardrailId": "abc123def456",
    "GuardrailVersion": "1",
    "NeverLearnPatterns": r"project\s+x;;\bEMP-\d{5}\b",
    "ClassifyLabels": "billing,travel",
    "ClassifyFunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:triage",
    "AppConfigApplication": "abc1234",
    "AppConfigEnvironment": "def5678",
    "AppConfigProfile": "ghi9012",
    "KnowledgeBaseId": "ABCDEFGHIJ",
    "DocumentsMinScore": "0.4",
    "DocumentsTokens": "3000",
    "HistoryTokens": "8000",
    "FactsTokens": "1500",
    "MemoryMilliseconds": "2000",
    "DocumentsMilliseconds": "3000",
    "StreamMemory": "2048",
    "StreamTimeout": "900",
    "StreamConcurrency": "7",
    "ConverseMemory": "256",
    "ConverseTimeout": "60",
    "ConverseConcurrency": "3",
    "GatewayRequestsPerSecond": "200",
    "GatewayBurst": "400",
    "RetentionDays": "30",
    "KmsKeyArn": "arn:aws:kms:eu-west-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab",
    "AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms",
    "JwtIssuer": "https://issuer.example/",
    "JwtAudience": "chat",
    "JwksUrl": "https://issuer.example/keys",
    "OriginSecret": "0123456789abcdef0123456789abcdef",
    "WebDomain": "chat.example.com",
    "WebCertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/12345678-1234",
}
IAM = {"UrlAuthType": "AWS_IAM", "AuthMode": "iam", "JwtIssuer": "", "JwtAudience": ""}
JWT = {
    "UrlAuthType": "NONE",
    "AuthMode": "jwt",
    "JwtIssuer": FREE_VALUES["JwtIssuer"],
    "JwtAudience": FREE_VALUES["JwtAudience"],
}
NO_DOMAIN = {"WebDomain": "", "WebCertificateArn": ""}
DOMAIN = {name: FREE_VALUES[name] for name in NO_DOMAIN}
NO_HOST = {"WebHost": "disabled", "OriginSecret": "", **NO_DOMAIN}
HOST = {"WebHost": "enabled", "OriginSecret": FREE_VALUES["OriginSecret"], "RestStreaming": "disabled"}
# Every valid combination of entry points; the template's rules refuse any other.
ENTRY_POINTS = [
    {**IAM, **NO_HOST, "RestStreaming": "disabled"},
    {**IAM, **NO_HOST, "RestStreaming": "enabled"},
    {**JWT, **NO_HOST, "RestStreaming": "disabled"},
    {**JWT, **NO_HOST, "RestStreaming": "enabled"},
    {**JWT, **HOST, **NO_DOMAIN},
    {**JWT, **HOST, **DOMAIN},
]
# SAM's transform as CloudFormation runs it. Code needs the URI of an uploaded file. One process for all cases.
TRANSFORM = """
import copy, json, sys
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
template, cases = json.load(sys.stdin)
for resource in template["Resources"].values():
    for key in {"CodeUri", "ContentUri"} & resource.get("Properties", {}).keys():
        resource["Properties"][key] = "s3://bucket/key"
print(json.dumps([Translator({}, Parser()).translate(copy.deepcopy(template), case) for case in cases]))
"""

Resources = dict[str, dict[str, Any]]


def values_of(name: str) -> list[str]:
    parameter = SOURCE["Parameters"][name]
    return [str(value) for value in parameter.get("AllowedValues", [parameter["Default"], FREE_VALUES.get(name)])]


SHAPE = ["Architecture", "StreamConcurrency", "ConverseConcurrency"]


def parameter_sets() -> Iterator[dict[str, str]]:
    """Every combination of parameters that change the resources; other parameters alternate their values."""
    others = sorted(SOURCE["Parameters"].keys() - ENTRY_POINTS[0].keys() - set(SHAPE))
    shapes = itertools.product(*map(values_of, SHAPE))
    for number, (entry_points, shape) in enumerate(itertools.product(ENTRY_POINTS, shapes)):
        turn = {name: values_of(name)[number % len(values_of(name))] for name in others}
        yield turn | entry_points | dict(zip(SHAPE, shape, strict=True))


CASES = list(parameter_sets())


def case_id(case: dict[str, str]) -> str:
    rest = {"enabled": "rest", "disabled": "no-rest"}[case["RestStreaming"]]
    host = "no-host" if case["WebHost"] == "disabled" else case["WebDomain"] or "host"
    reserved = (case["StreamConcurrency"] or "none", case["ConverseConcurrency"] or "none")
    return "-".join((case["AuthMode"], case["Architecture"], rest, host, *reserved))


@functools.cache
def stacks() -> list[Resources]:
    """The resources of each case."""
    return transformed(CASES)


def transformed(cases: list[dict[str, str]]) -> list[Resources]:
    """For each case the resources that CloudFormation creates, with all values except references filled in."""
    return [resources(document, case) for document, case in zip(documents(cases), cases, strict=True)]


def documents(cases: list[dict[str, str]]) -> list[dict[str, Any]]:
    """For each case the template that SAM's transform gives to CloudFormation."""
    completed = subprocess.run(
        [SAM_PYTHON, "-W", "ignore", "-c", TRANSFORM],
        input=json.dumps([SOURCE, cases]),
        env={"AWS_DEFAULT_REGION": "us-east-1", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 0, completed.stderr
    results: list[dict[str, Any]] = json.loads(completed.stdout)
    return results


def resources(document: dict[str, Any], parameters: dict[str, str]) -> Resources:
    def attribute(name: str, attribute_name: str) -> str:
        return f"https://<{name}>/" if attribute_name == "FunctionUrl" else f"<{name}.{attribute_name}>"

    resolver = Resolver(document, parameters, lambda name: f"<{name}>", attribute)
    return {
        name: resolver.resolve({key: value for key, value in resource.items() if key != "Condition"}, name)
        for name, resource in document["Resources"].items()
        if "Condition" not in resource or resolver.condition(resource["Condition"])
    }


def of_type(stack: Resources, kind: str) -> Resources:
    return {name: resource["Properties"] for name, resource in stack.items() if resource["Type"] == kind}
