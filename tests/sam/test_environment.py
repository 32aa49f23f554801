"""The environment variables that `sam local` gives the functions, read without starting a container."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from converse_stream.settings import Settings
from local_stack import template as templates
from local_stack.emulator import SAM
from tests.stack import ROOT

pytestmark = [pytest.mark.clients, pytest.mark.xdist_group("processor")]  # see test_build

ENV_FILE = ROOT / "events/env.json"
# Values that differ from the defaults, for each kind of parameter.
OTHER_VALUES = {
    "AllowedOrigins": "https://a.example.com,https://b.example.com",
    "AssistantName": "Ada Lovelace",
    "ClassifyFunctionArn": "arn:aws:lambda:us-east-1:123456789012:function:classify",
    "ClassifyLabels": "billing,travel",
    "DayUsd": "2.5",
    "JwtAlgorithms": "ES256,EdDSA",
    "LogLevel": "DEBUG",
    "ModelOverrides": '{"vendor.new-model-v1:0": {"contextWindow": 32000}}',
    "RestStreaming": "enabled",
    "UserBurst": "20",
}


@pytest.mark.parametrize("parameters", [{}, OTHER_VALUES], ids=["defaults", "other values"])
@pytest.mark.parametrize("env_file", [None, ENV_FILE], ids=["no env file", "env.json"])
def test_sam_local_environment_equals_the_deployed_one(
    built: Path, parameters: dict[str, str], env_file: Path | None
) -> None:
    """Each variable has the value of the template, or that of the env file."""
    environments = sam_local(built, parameters, env_file)
    functions = templates.read(built, parameters).functions
    changes = json.loads(env_file.read_text(encoding="utf-8"))["Parameters"] if env_file else {}
    assert environments.keys() == functions.keys()
    for name, environment in environments.items():
        deployed = {**functions[name].environment, **changes}
        assert {variable: environment[variable] for variable in deployed} == deployed
        assert Settings.from_environment(environment).table_name == "ChatTable"


def sam_local(template: Path, parameters: dict[str, str], env_file: Path | None) -> dict[str, dict[str, str]]:
    """Returns each function's environment variables, as the SAM CLI reads them from `template`."""
    command: list[str | Path] = [SAM / "bin/python", ROOT / "tests/sam/cli.py", "environment"]
    command += [template, json.dumps(parameters), *([env_file] if env_file else [])]
    names = ("HOME", "PATH", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    shell = {
        name: os.environ[name] for name in names if name in os.environ
    }  # other variables of this shell would override the template's
    process = subprocess.run(command, env=shell, capture_output=True, text=True, check=True, timeout=120)
    environments: dict[str, dict[str, str]] = json.loads(process.stdout)
    return environments
