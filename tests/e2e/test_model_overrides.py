"""Overrides of the model catalog, by the parameter ModelOverrides."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest

from tests.stack import ROOT, RunningStack, start_stack, stop_stack

MODEL = "vendor.new-model-v1:0"
OVERRIDES = {MODEL: {"title": "New", "maxOutputTokens": 77, "price": [{"input": 1, "output": 2}]}}
Start = Callable[..., RunningStack]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stacks:

        def start_with(*options: str, **parameters: str) -> RunningStack:
            pairs = [f"{name}={value}" for name, value in parameters.items()]
            stack = start_stack(*options, *(part for pair in pairs for part in ("--parameter", pair)))
            stacks.callback(stop_stack, stack)
            return stack

        yield start_with


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """A copy of the template and the functions, so that a test can add files."""
    shutil.copy(ROOT / "template.yaml", tmp_path)
    shutil.copytree(ROOT / "functions", tmp_path / "functions")
    (tmp_path / "layers").symlink_to(ROOT / "layers")
    return tmp_path


def ask(url: str, model: str = MODEL) -> httpx.Response:
    with closing(httpx.Client(timeout=30)) as http:
        message = {"text": "Hello [[tokens=3 pace=1 first=1]]"}
        return http.post(f"{url}/chat?stream=false", json={"model": model, "message": message})


def test_file_of_each_function_adds_a_model(start: Start, system: Path) -> None:
    for function in ("stream", "converse"):
        (system / "functions" / function / "models.json").write_text(json.dumps(OVERRIDES), encoding="utf-8")
    stack = start("--artifacts", str(system), ModelOverrides="models.json", AllowedModels=MODEL)
    for url in (stack.url, stack.gateway):
        answer = ask(url)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model"] == MODEL
        assert answer.json()["usage"]["costUsd"] > 0
    request = httpx.get(f"{stack.demo}/_local/requests").json()[-1]
    assert request["body"]["inferenceConfig"]["maxTokens"] == 77


def test_json_adds_a_model_that_a_pattern_allows(start: Start) -> None:
    stack = start(ModelOverrides=json.dumps(OVERRIDES), AllowedModels="vendor.*")
    assert ask(stack.url).json()["model"] == MODEL
    assert ask(stack.url, "nova-pro").json()["error"]["code"] == "model_not_allowed"


def test_function_does_not_start_with_a_missing_file(start: Start) -> None:
    stack = start(ModelOverrides="missing.json")
    assert ask(stack.url, "nova-lite").status_code >= 500
    assert "MODEL_OVERRIDES: cannot be read" in "".join(stack.log)
