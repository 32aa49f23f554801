"""Each function's role allows exactly the calls of the function: the transformed template compared with a tour."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.chat import Person
from tests.e2e.tour import tour
from tests.stack import start_stack, stop_stack
from tests.unit.transform import CASES, SOURCE, of_type, transformed
from tools.models.arns import Deployment
from tools.models.arns import arns as arns_of

pytestmark = pytest.mark.xdist_group("permissions")  # one stack for all tests

FUNCTIONS = {"StreamFunction": "StreamRole", "ConverseFunction": "ConverseRole"}
GUARDRAIL = {"GuardrailId": "abc123def456", "GuardrailVersion": "1"}
EMBEDDING = {"EmbeddingModel": "titan-embed-v2"}
AWS_ITSELF = {
    "Logs",
    "DeadLetters",
    "DeadLettersKey",
    "TableKey",
    "FlagsKey",
}  # calls of Lambda and DynamoDB with the function's role
LOCAL_STACK_PARAMETERS = {
    "InferenceProfile": "auto",
    "Learning": "enabled",
    "AppConfigProfile": "",
    "ClassifyFunctionArn": "",
}

# The models of the local stack, of which the tour calls each one.
DEPLOYMENT = Deployment(
    default_model=SOURCE["Parameters"]["DefaultModel"]["Default"],
    task_model=SOURCE["Parameters"]["TaskModel"]["Default"],
    allowed_models=tuple(SOURCE["Parameters"]["AllowedModels"]["Default"].split(",")),
    inference_profile="auto",
    region="us-east-1",
)

PARAMETERS = GUARDRAIL | EMBEDDING | {"Learning": "enabled", "AllowedModels": ",".join(DEPLOYMENT.allowed_models)}
Calls = set[tuple[str, str]]


@pytest.fixture(scope="module")
def calls() -> dict[str, Calls]:
    """The calls of each function: IAM action and resource."""
    parameters = [f"{name}={value}" for name, value in PARAMETERS.items()]
    stack = start_stack(
        "--documents", "docs", *(part for parameter in parameters for part in ("--parameter", parameter))
    )
    try:
        with Person(stack) as person:
            for number in range(12):  # more than fit into a prompt, so that the question is embedded
                person.remember(f"{number} is a long story " * 25)
            tour(person)
        recorded = stack.calls()
    finally:
        stop_stack(stack)
    return {
        function: {
            (action, arn) for name, action, resource in recorded if name == function for arn in arns(action, resource)
        }
        for function in FUNCTIONS
    }


def arns(action: str, resource: str) -> list[str]:
    """Returns the resources that IAM checks. A call with an inference profile also needs its model."""
    if action.startswith("dynamodb:"):
        table, slash, index = resource.partition("/")
        return [f"<{table}.Arn>{slash}{index}"]
    if action == "bedrock:ApplyGuardrail":
        return [f"guardrail/{resource}", "guardrail-profile/*"]  # as with cross-region inference
    if action.startswith("lambda:"):
        return [f"<{resource}.Arn>"]
    if action == "bedrock:Retrieve":
        return [f"knowledge-base/{resource}"]
    model = resource.removeprefix("us.")
    return [f"foundation-model/{model}", *([f"inference-profile/{resource}"] if model != resource else [])]


def allowed_statements(function: str) -> Iterator[tuple[str, set[str], set[str]]]:
    """Yields the statements for calls of the code: name, actions and resources."""
    case = next(other for other in CASES if LOCAL_STACK_PARAMETERS.items() <= other.items())
    models = {"ModelArns": ",".join(arns_of(DEPLOYMENT)), "ModelOverrides": ""}
    [stack] = transformed([case | GUARDRAIL | EMBEDDING | models | {"KnowledgeBaseId": "LOCALFILES"}])
    [own] = of_type(stack, "AWS::IAM::Role")[FUNCTIONS[function]]["Policies"]
    managed = of_type(stack, "AWS::IAM::ManagedPolicy")
    attached = [*of_type(stack, "AWS::IAM::Policy").values(), *managed.values()]
    of_the_role = [policy for policy in attached if f"<{FUNCTIONS[function]}>" in policy.get("Roles", [])]
    policies = [own, managed["ModelPolicy"], *of_the_role]
    for statement in (item for policy in policies for item in policy["PolicyDocument"]["Statement"]):
        if statement["Sid"] not in AWS_ITSELF:
            resources = {re.sub("^arn:aws:bedrock:[^/]*:", "", arn) for arn in as_list(statement["Resource"])}
            yield statement["Sid"], set(as_list(statement["Action"])), resources


def as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_call_is_allowed_by_the_role(calls: dict[str, Calls], function: str) -> None:
    statements = list(allowed_statements(function))
    refused = {
        (action, resource)
        for action, resource in calls[function]
        if not any(action in actions and resource in resources for _, actions, resources in statements)
    }
    assert calls[function]
    assert refused == set()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_allowed_action_and_resource_is_used(calls: dict[str, Calls], function: str) -> None:
    for name, actions, resources in allowed_statements(function):
        used = {call for call in calls[function] if call[0] in actions and call[1] in resources}
        assert {action for action, _ in used} == actions, name
        assert {resource for _, resource in used} == resources, name
