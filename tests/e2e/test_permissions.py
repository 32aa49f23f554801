"""Each function's role allows what the function does, and nothing else: the transformed template against a tour."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.chat import Person
from tests.e2e.tour import tour
from tests.stack import start_stack, stop_stack
from tests.unit.transform import CASES, of_type, transformed

pytestmark = pytest.mark.xdist_group("permissions")  # one stack for all

FUNCTIONS = {"StreamFunction": "StreamRole", "ConverseFunction": "ConverseRole"}
GUARDRAIL = {"GuardrailId": "abc123def456", "GuardrailVersion": "1"}
EMBEDDING = {"EmbeddingModel": "titan-embed-v2"}
AWS_ITSELF = {
    "Logs",
    "DeadLetters",
    "DeadLettersKey",
    "TableKey",
    "FlagsKey",
}  # what Lambda and DynamoDB do as the function
LIKE_THE_LAPTOP = {"InferenceProfile": "auto", "Learning": "enabled", "AppConfigProfile": "", "ClassifyFunctionArn": ""}

Called = set[tuple[str, str]]


@pytest.fixture(scope="module")
def calls() -> dict[str, Called]:
    """What each function asked for: IAM action and resource."""
    parameters = [f"{name}={value}" for name, value in (GUARDRAIL | EMBEDDING | {"Learning": "enabled"}).items()]
    stack = start_stack("--documents", "docs", *(part for each in parameters for part in ("--parameter", each)))
    try:
        with Person(stack) as person:
            for number in range(12):  # more than a prompt has room for, so that a question is embedded too
                person.remember(f"{number} is a long story " * 25)
            tour(person)
        seen = stack.calls()
    finally:
        stop_stack(stack)
    return {
        function: {(action, arn) for name, action, asked in seen if name == function for arn in arns(action, asked)}
        for function in FUNCTIONS
    }


def arns(action: str, asked: str) -> list[str]:
    """The resources that IAM looks at; a call by an inference profile needs its model too."""
    if action.startswith("dynamodb:"):
        table, slash, index = asked.partition("/")
        return [f"<{table}.Arn>{slash}{index}"]
    if action == "bedrock:ApplyGuardrail":
        return [f"guardrail/{asked}", "guardrail-profile/*"]  # as it is with cross-region inference
    if action.startswith("lambda:"):
        return [f"<{asked}.Arn>"]
    if action == "bedrock:Retrieve":
        return [f"knowledge-base/{asked}"]
    model = asked.removeprefix("us.")
    return [f"foundation-model/{model}", *([f"inference-profile/{asked}"] if model != asked else [])]


def supported(function: str) -> Iterator[tuple[str, set[str], set[str]]]:
    """The statements about what the code itself calls: their name, actions and resources."""
    like_it = next(case for case in CASES if LIKE_THE_LAPTOP.items() <= case.items())
    [stack] = transformed([like_it | GUARDRAIL | EMBEDDING | {"KnowledgeBaseId": "LOCALFILES"}])
    [own] = of_type(stack, "AWS::IAM::Role")[FUNCTIONS[function]]["Policies"]
    managed = of_type(stack, "AWS::IAM::ManagedPolicy")
    attached = [*of_type(stack, "AWS::IAM::Policy").values(), *managed.values()]
    of_the_role = [policy for policy in attached if f"<{FUNCTIONS[function]}>" in policy.get("Roles", [])]
    policies = [own, managed["ModelPolicy"], *of_the_role]
    for statement in (each for policy in policies for each in policy["PolicyDocument"]["Statement"]):
        if statement["Sid"] not in AWS_ITSELF:
            resources = {re.sub("^arn:aws:bedrock:[^/]*:", "", each) for each in listed(statement["Resource"])}
            yield statement["Sid"], set(listed(statement["Action"])), resources


def listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_call_is_allowed(calls: dict[str, Called], function: str) -> None:
    statements = list(supported(function))
    refused = {
        (action, resource)
        for action, resource in calls[function]
        if not any(action in actions and resource in resources for _, actions, resources in statements)
    }
    assert calls[function]
    assert refused == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_everything_that_is_allowed_is_called(calls: dict[str, Called], function: str) -> None:
    for name, actions, resources in supported(function):
        used = {call for call in calls[function] if call[0] in actions and call[1] in resources}
        assert {action for action, _ in used} == actions, name
        assert {resource for _, resource in used} == resources, name
