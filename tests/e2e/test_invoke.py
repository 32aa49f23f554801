"""The built artifacts for this machine under AWS's Runtime Interface Emulator: they start, and answer every event."""

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
# As clients and the functions make them; the variables are empty as in the template.
CLIENTS = """
import sys
sys.path.insert(0, sys.argv[1])
import aws_lambda_powertools, boto3, converse_stream, pydantic
for service in sys.argv[2:]:
    client = boto3.client(service, region_name="eu-central-1")
    print(boto3.__file__.startswith(sys.argv[1]), client.meta.endpoint_url)
"""


class Answer(NamedTuple):
    """What `make invoke` printed: `head` is the status and headers, or for a task empty."""

    function: str
    head: list[str]
    body: str

    @property
    def status(self) -> int:
        return int(self.head[0])

    def json(self) -> Any:
        return json.loads(self.body)


# In this order: later events show what earlier ones have stored.
STORY = [
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
    """Every event once, against one table."""
    events = [f"events/{name}.json" for name in STORY]
    command = [sys.executable, "-m", "local_stack.emulator", "--artifacts", str(artifacts), *events]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    printed = {}
    for block in done.stdout.split("events/")[1:]:
        title, _, text = block.partition("\n")
        name, _, function = title.partition(".json -> ")
        head, _, body = text.rstrip().partition("\n\n") if text[0].isdigit() else ("", "", text)
        printed[name] = Answer(function, head.splitlines(), body)
    return printed


def test_every_sample_is_in_the_story() -> None:
    assert sorted(STORY) == sorted({path.stem for path in (ROOT / "events").glob("*.json")} - {"env"})


@pytest.mark.parametrize("name", ["chat", "chat-iam", "chat-base64", "chat-rest"])
def test_chat_streams_to_its_end(answers: dict[str, Answer], name: str) -> None:
    answer = answers[name]
    assert (answer.function, answer.status) == ("StreamFunction", 200)
    assert "content-type: text/event-stream" in answer.head
    start, chunks, complete = answer.body.splitlines()[0], answer.body, answer.body.splitlines()[-1]
    assert json.loads(start)["type"] == "start"
    assert "\nchunk (" in chunks
    assert json.loads(complete)["finishReason"] == "stop"


def test_base64_body_is_decoded(answers: dict[str, Answer]) -> None:
    assert "Erzähl mir von Flüssen 🏞" in answers["chat-base64"].body.splitlines()[-1]


def test_rest_event_has_cors_from_the_function_and_url_events_have_not(answers: dict[str, Answer]) -> None:
    assert "access-control-allow-origin: http://localhost:8789" in answers["chat-rest"].head
    assert not [line for line in answers["chat"].head if line.startswith("access-control-")]


def test_the_ai_sdk_is_told_the_same_again(answers: dict[str, Answer]) -> None:
    answer, again = answers["ai-sdk"], answers["ai-sdk-resume"]
    for each in (answer, again):
        assert (each.function, each.status) == ("StreamFunction", 200)
        assert "x-vercel-ai-ui-message-stream: v1" in each.head
        assert [json.loads(line)["type"] for line in each.body.splitlines()[-3:-1]] == ["message-metadata", "finish"]
        assert each.body.endswith("[DONE]")
    assert answer.body.splitlines()[0] == again.body.splitlines()[0]
    stopped = answers["http-api-ai-sdk-stop"]
    assert (stopped.function, stopped.status) == ("ConverseFunction", 202)


def test_in_one_piece_is_json(answers: dict[str, Answer]) -> None:
    answer = answers["chat-in-one-piece"]
    assert (answer.function, answer.status) == ("StreamFunction", 200)
    assert answer.json()["finishReason"] == "stop"


def test_malformed_body_is_refused_by_name(answers: dict[str, Answer]) -> None:
    answer = answers["chat-malformed"]
    assert (answer.function, answer.status) == ("StreamFunction", 400)
    assert answer.json()["error"]["field"] == "body"


def test_what_was_stored_is_there_and_used(answers: dict[str, Answer]) -> None:
    assert answers["http-api-add-fact"].status == 201
    assert [fact["text"] for fact in answers["http-api-facts"].json()["facts"]] == ["My boat is called Nora."]
    assert answers["http-api-profile"].json() == answers["http-api-set-profile"].json() | {"learning": False}
    assert "My boat is called Nora." in answers["http-api-chat"].json()["aiMessage"]["parts"][0]["text"]
    roles = [message["role"] for message in answers["http-api-messages"].json()["messages"]]
    assert roles == ["user", "assistant"] * 2
    assert "about-rivers" in {listed["id"] for listed in answers["http-api-conversations"].json()["conversations"]}


def test_openai_s_routes(answers: dict[str, Answer]) -> None:
    streamed, whole, models = (answers[name] for name in ("openai", "openai-in-one-piece", "openai-models"))
    assert {each.function for each in (streamed, whole, models)} == {"StreamFunction"}
    assert "content-type: text/event-stream" in streamed.head
    assert whole.json()["choices"][0]["finish_reason"] == "tool_calls"
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
def test_http_api_is_answered_by_the_other_function(answers: dict[str, Answer], name: str, status: int) -> None:
    assert (answers[name].function, answers[name].status) == ("ConverseFunction", status)


def test_openapi_names_the_functions_routes(answers: dict[str, Answer]) -> None:
    paths = answers["http-api-openapi"].json()["paths"]
    described = {
        f"{method.upper()} {path}"
        for path, methods in paths.items()
        for method, operation in methods.items()
        if "converse" in operation["tags"]
    }
    assert {without_names(route) for route in described} == converse_routes()


def without_names(route: str) -> str:
    """The route with `{}` for its path parameters."""
    return "/".join("{}" if part.startswith("{") else part for part in route.split("/"))


def test_health_is_answered_at_the_url_too(answers: dict[str, Answer]) -> None:
    assert (answers["health"].function, answers["health"].status) == ("StreamFunction", 200)


def test_tasks_are_answered_without_http(answers: dict[str, Answer]) -> None:
    assert answers["task-title"].json()["title"]
    assert answers["task-classify"].json()["label"] == "geography"
    assert {answers[name].function for name in ("task-title", "task-classify")} == {"ConverseFunction"}


def test_clients_work_with_the_service_models_that_were_kept(artifacts: Path) -> None:
    packages = str(artifacts / "ChatLayer/python")
    services = ["bedrock-runtime", "bedrock-agent-runtime", "dynamodb", "lambda", "sts"]
    done = subprocess.run(
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
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"True https://{name}.eu-central-1.amazonaws.com" for name in services]


def test_env_file_sets_only_what_the_template_declares() -> None:
    """`sam local invoke` drops every other variable without a word."""
    given = json.loads((ROOT / "events/env.json").read_text(encoding="utf-8"))["Parameters"]
    for function in templates.read(ROOT / "template.yaml").functions.values():
        assert given.keys() <= function.environment.keys()


def test_missing_event_is_said_and_fails(artifacts: Path) -> None:
    command = [sys.executable, "-m", "local_stack.emulator", "--artifacts", str(artifacts), "events/none.json"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "events/none.json" in done.stderr
    assert "Traceback" not in done.stderr
