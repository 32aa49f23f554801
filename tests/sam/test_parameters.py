"""The documented commands and settings of a deployment, read by the parser of the SAM CLI."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from local_stack.emulator import SAM
from local_stack.intrinsics import load
from tests.documented import DOCUMENTS, blocks, commands
from tests.stack import ROOT

pytestmark = [pytest.mark.clients, pytest.mark.skipif(shutil.which("make") is None, reason="needs make")]

TEMPLATE = load(ROOT / "template.yaml")
SAM_COMMAND = re.compile(r"(^|&& )(make (build|deploy)\b(?!-)|\.venv-sam/bin/sam )")
COMMANDS = sorted({command for document in DOCUMENTS for command in commands(document) if SAM_COMMAND.search(command)})
SETTINGS = [block for document in DOCUMENTS for block in blocks(document, "toml") if "parameter_overrides" in block]
PROGRAM = (
    f"#!{sys.executable}\n"
    """import json, sys
with open("calls", "a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
"""
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with our Makefile, samconfig.toml and template, and with a `sam` that records its arguments."""
    for name in ("Makefile", "samconfig.toml", "template.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("events", "requirements"):
        shutil.copytree(ROOT / name, tmp_path / name)
    targets = [".venv/dev", ".venv/local", ".venv-sam/installed", ".aws-sam/sbom/converse_stream.json"]
    for name in [*targets, ".aws-sam/sbom/streaming_runtime.json"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    programs = {
        ".venv/bin/python": "#!/bin/sh\n",
        ".venv-sam/bin/python": f'#!/bin/sh\nexec "{SAM}/bin/python" "$@"\n',
        ".venv-sam/bin/sam": PROGRAM,
    }
    for name, text in programs.items():
        program = tmp_path / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)
    return tmp_path


def calls_of(command: str, folder: Path) -> list[list[str]]:
    """Runs a documented command; returns the arguments of each call of `sam`."""
    subprocess.run(["sh", "-ec", command], cwd=folder, check=True, capture_output=True, timeout=60)
    return [json.loads(line) for line in (folder / "calls").read_text(encoding="utf-8").splitlines()]


def options(lines: list[list[str]], folder: Path) -> list[dict[str, Any]]:
    """Returns the options that the SAM CLI reads from each list of arguments and from samconfig.toml in `folder`."""
    command: list[str | Path] = [SAM / "bin/python", ROOT / "tests/sam/cli.py", "options", json.dumps(lines)]
    env = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1", "SAM_CLI_TELEMETRY": "0"}
    process = subprocess.run(command, cwd=folder, env=env, check=True, capture_output=True, text=True, timeout=120)
    parsed: list[dict[str, Any]] = json.loads(process.stdout)
    return parsed


def parameters(lines: list[list[str]], folder: Path) -> list[dict[str, str]]:
    """Returns the template parameters that each command passes."""
    return [parsed.get("parameter_overrides") or {} for parsed in options(lines, folder)]


def check_allowed(given: Mapping[str, str]) -> None:
    """Fail if the template does not allow one of the values."""
    for name, value in given.items():
        parameter = TEMPLATE["Parameters"][name]
        assert value in map(str, parameter.get("AllowedValues", [value])), name
        values = value.split(",") if parameter["Type"] == "CommaDelimitedList" else [value]
        assert all(re.search(parameter.get("AllowedPattern", ""), item) for item in values), name


@pytest.mark.parametrize("command", COMMANDS)
def test_documented_commands_keep_every_parameter_of_samconfig(command: str, folder: Path) -> None:
    called = calls_of(command, folder)
    assert called
    environments = ["default", "dev", "prod"]
    parsed = options([*called, *(["build", "--config-env", name] for name in environments)], folder)
    *passed, default, dev, prod = (item.get("parameter_overrides") or {} for item in parsed)
    configured = {"default": default, "dev": dev, "prod": prod}
    for item, given in zip(parsed, passed, strict=False):
        assert configured[item["config_env"]].keys() <= given.keys()
        check_allowed(given)


def test_deploy_arguments_override_samconfig_and_keep_its_other_parameters(folder: Path) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    called = calls_of(f"make deploy ENV=prod ARCH=x86_64 PARAMETERS=OriginSecret={secret}", folder)
    assert [arguments[0] for arguments in called] == ["build", "deploy"]
    build, deploy, configured = parameters([*called, ["build", "--config-env", "prod"]], folder)
    assert build == deploy == {**configured, "Architecture": "x86_64", "OriginSecret": secret}
    assert len(configured) > 3


def test_deploy_without_arch_uses_the_architecture_of_samconfig(folder: Path) -> None:
    config = folder / "samconfig.toml"
    config.write_text(config.read_text(encoding="utf-8").replace("=arm64", "=x86_64"), encoding="utf-8")
    build, deploy = parameters(calls_of("make deploy ENV=dev", folder), folder)
    assert build["Architecture"] == deploy["Architecture"] == "x86_64"


def test_model_arns_has_the_parameters_of_a_deployment(folder: Path) -> None:
    python = folder / ".venv/bin/python"
    python.write_text(PROGRAM, encoding="utf-8")
    command = "make model-arns ENV=prod REGION=eu-west-1 PARAMETERS=DefaultModel=claude-haiku"
    [arguments] = calls_of(command, folder)
    start, given = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    assert start == ["-m", "tools.models", "arns", "--region", "eu-west-1"]
    configured, passed = parameters(
        [["build", "--config-env", "prod"], ["build", "--parameter-overrides", *given]], folder
    )
    assert passed == {**configured, "DefaultModel": "claude-haiku"}
    assert len(configured) > 3


@pytest.mark.parametrize("block", SETTINGS)
@pytest.mark.parametrize("form", ["list", "string"])
def test_documented_settings_are_passed_to_build_and_deploy(block: str, form: str, folder: Path) -> None:
    """The setting may be a list or a string: `sam deploy --guided` writes a string."""
    settings = tomllib.loads(block)
    for table in ("dev", "global", "parameters"):  # a block shows its table or not
        settings = settings.get(table, settings)
    given = settings["parameter_overrides"]
    overrides = json.dumps(given if form == "list" else " ".join(given))
    (folder / "samconfig.toml").write_text(
        f'version = 0.1\n[dev.deploy.parameters]\nstack_name = "x"\nparameter_overrides = {overrides}\n',
        encoding="utf-8",
    )
    expected = {name: value.strip('"').replace('\\"', '"') for name, value in (item.split("=", 1) for item in given)}
    check_allowed(expected)
    build, deploy = parameters(calls_of("make deploy ENV=dev", folder), folder)
    assert build == deploy == expected
