"""The built artifacts in AWS's Runtime Interface Emulator: they start, and answer every sample event."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from local_stack import template as templates
from local_stack.lambda_service.sandbox import interpreter
from tests.routes import converse_routes

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("processor")]  # see test_build

ROOT = Path(__file__).parents[2]
# As the functions create clients. The endpoint variables are empty, as in the template.
CLIENTS = """
import sys
sys.path.insert(0, sys.argv[1])
import aws_lambda_powertools, boto3, converse_stream, pydantic
for service in sys.argv[2:]:
    client = boto3.client(service, region_name="eu-central-1")
    print(boto3.__file__.startswith(sys.argv[1]), client.meta.endpoint_url)
"""


class Answer(NamedTuple):
    """The output of `make invoke`. `head` has the status and headers, and is empty for a task."""

    function: str
    head: list[str]
    body: str

    @property
    def status(self) -> int:
        return int(self.head[0])

    def json(self) -> Any:
        return json.loads(self.body)


# The order matters: later events return what earlier ones have stored.
EVENT_SEQUENCE = [
    "http-api-set-profile",
    "http-api-change-profile",
    "http-api-profile",
    "http-api-add-fact",
    "http-api-facts",
    "chat",
    "http-api-preview",
    "http-api-chat",
    "http-api-messages",
    "http-api-conversations",
    "http-api-forget-fact",
    "chat-iam",
    "chat-base64",
    "chat-rest",
    "chat-in-one-piece",
    "chat-malformed",
    "ai-sdk",
    "ai-sdk-resume",
    "http-api-ai-sdk-stop",
    "openai",
    "openai-in-one-piece",
    "openai-models",
    "health",
    "http-api-health",
    "http-api-openapi",
    "task-title",
    "task-classify",
    "task-learn",
]


@pytest.fixture(scope="module")
def artifacts(built: Path) -> Path:
    return built.parent


@pytest.fixture(scope="module")
def answers(artifacts: Path) -> dict[str, Answer]:
    """Runs every event once, with one table. Returns the answers by event name."""
    events = [f"events/{name}.json" for name in EVENT_SEQUENCE]
    command = [sys.executable, "-m", "local_stack.emulator", "--artifacts", str(artifacts), *events]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    printed = {}
    for block in process.stdout.split("events/")[1:]:
        title, _, text = block.partition("\n")
        name, _, function = title.partition(".json -> ")
        head, _, body = text.rstrip().partition("\n\n") if text[0].isdigit() else ("", "", text)
        printed[name] = Answer(function, head.splitlines(), body)
    return printed


def test_every_sample_event_is_in_the_sequence() -> None:
    assert sorted(EVENT_SEQUENCE) == sorted({path.stem for path in (ROOT / "events").glob("*.json")} - {"env"})


@pytest.mark.parametrize("name", ["chat", "chat-iam", "chat-base64", "chat-rest"])
def test_chat_events_stream_to_their_end(answers: dict[str, Answer], name: str) -> None:
    answer = answers[name]
    assert (answer.function, answer.status) == ("StreamFunction", 200)
    assert "content-type: text/event-stream" in answer.head
    start, chunks, complete = answer.body.splitlines()[0], answer.body, answer.body.splitlines()[-1]
    assert json.loads(start)["type"] == "start"
    assert "\nchunk (" in chunks
    assert json.loads(complete)["finishReason"] == "stop"


def test_a_base64_body_is_decoded(answers: dict[str, Answer]) -> None:
    assert "Erzähl mir von Flüssen 🏞" in answers["chat-base64"].body.splitlines()[-1]


def test_the_function_adds_cors_headers_for_rest_events_only(answers: dict[str, Answer]) -> None:
    assert "access-control-allow-origin: http://localhost:8789" in answers["chat-rest"].head
    assert not [line for line in answers["chat"].head if line.startswith("access-control-")]


def test_a_resumed_ai_sdk_stream_equals_the_first(answers: dict[str, Answer]) -> None:
    answer, again = answers["ai-sdk"], answers["ai-sdk-resume"]
    for response in (answer, again):
        assert (response.function, response.status) == ("StreamFunction", 200)
        assert "x-vercel-ai-ui-message-stream: v1" in response.head
        assert [json.loads(line)["type"] for line in response.body.splitlines()[-3:-1]] == [
            "message-metadata",
            "finish",
        ]
        assert response.body.endswith("[DONE]")
    assert answer.body.splitlines()[0] == again.body.splitlines()[0]
    stopped = answers["http-api-ai-sdk-stop"]
    assert (stopped.function, stopped.status) == ("ConverseFunction", 202)


def test_a_buffered_answer_is_json(answers: dict[str, Answer]) -> None:
    answer = answers["chat-in-one-piece"]
    assert (answer.function, answer.status) == ("StreamFunction", 200)
    assert answer.json()["finishReason"] == "stop"


def test_a_malformed_body_is_refused_with_its_field(answers: dict[str, Answer]) -> None:
    answer = answers["chat-malformed"]
    assert (answer.function, answer.status) == ("StreamFunction", 400)
    assert answer.json()["error"]["field"] == "body"


def test_stored_facts_and_profile_are_returned_and_used(answers: dict[str, Answer]) -> None:
    assert answers["http-api-add-fact"].status == 201
    assert [fact["text"] for fact in answers["http-api-facts"].json()["facts"]] == ["My boat is called Nora."]
    assert answers["http-api-profile"].json() == answers["http-api-set-profile"].json() | {"learning": False}
    assert "My boat is called Nora." in answers["http-api-chat"].json()["aiMessage"]["parts"][0]["text"]
    roles = [message["role"] for message in answers["http-api-messages"].json()["messages"]]
    assert roles == ["user", "assistant"] * 2
    assert "about-rivers" in {listed["id"] for listed in answers["http-api-conversations"].json()["conversations"]}


def test_openai_routes_are_served_by_the_stream_function(answers: dict[str, Answer]) -> None:
    streamed, buffered, models = (answers[name] for name in ("openai", "openai-in-one-piece", "openai-models"))
    assert {response.function for response in (streamed, buffered, models)} == {"StreamFunction"}
    assert "content-type: text/event-stream" in streamed.head
    assert buffered.json()["choices"][0]["finish_reason"] == "tool_calls"
    assert "nova-lite" in {model["id"] for model in models.json()["data"]}


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("http-api-set-profile", 200),
        ("http-api-change-profile", 200),
        ("http-api-profile", 200),
        ("http-api-facts", 200),
        ("http-api-chat", 200),
        ("http-api-messages", 200),
        ("http-api-conversations", 200),
        ("http-api-forget-fact", 404),
        ("http-api-health", 200),
        ("http-api-openapi", 200),
    ],
)
def test_http_api_events_are_answered_by_the_converse_function(
    answers: dict[str, Answer], name: str, status: int
) -> None:
    assert (answers[name].function, answers[name].status) == ("ConverseFunction", status)


def test_openapi_describes_the_routes_of_the_functions(answers: dict[str, Answer]) -> None:
    paths = answers["http-api-openapi"].json()["paths"]
    described = {
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        for method, operation in methods.items()
        if "converse" in operation["tags"]
    }
    assert {without_names(route) for route in described} == converse_routes()


def without_names(route: str) -> str:
    """Returns the route with `{}` for its path parameters."""
    return "/".join("{}" if part.startswith("{") else part for part in route.split("/"))


def test_health_is_answered_by_the_stream_function(answers: dict[str, Answer]) -> None:
    assert (answers["health"].function, answers["health"].status) == ("StreamFunction", 200)


def test_tasks_are_answered_without_http(answers: dict[str, Answer]) -> None:
    assert answers["task-title"].json()["title"]
    assert answers["task-classify"].json()["label"] == "geography"
    assert {answers[name].function for name in ("task-title", "task-classify")} == {"ConverseFunction"}


def test_boto3_clients_work_with_the_reduced_service_models(artifacts: Path) -> None:
    packages = str(artifacts / "ChatLayer/python")
    services = ["bedrock-runtime", "bedrock-agent-runtime", "dynamodb", "sts"]
    process = subprocess.run(
        [interpreter("python3.13") or Path(sys.executable).resolve(), "-I", "-c", CLIENTS, packages, *services],
        env={
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "",
            "AWS_ENDPOINT_URL_DYNAMODB": "",
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines() == [f"True https://{name}.eu-central-1.amazonaws.com" for name in services]


def test_the_env_file_has_only_variables_of_the_template() -> None:
    """`sam local invoke` ignores other variables without an error."""
    given = json.loads((ROOT / "events/env.json").read_text(encoding="utf-8"))["Parameters"]
    for function in templates.read(ROOT / "template.yaml").functions.values():
        assert given.keys() <= function.environment.keys()


def test_a_missing_event_file_is_named_and_fails(artifacts: Path) -> None:
    command = [sys.executable, "-m", "local_stack.emulator", "--artifacts", str(artifacts), "events/none.json"]
    process = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert "events/none.json" in process.stderr
    assert "Traceback" not in process.stderr
