"""The workflows of GitHub Actions and the configuration of pre-commit."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.stack import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
FILES = [*sorted((ROOT / ".github").rglob("*.yml")), ROOT / ".pre-commit-config.yaml"]
PINNED = re.compile(r"uses: [\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def runs(workflow: Path) -> Iterator[str]:
    for job in load(workflow)["jobs"].values():
        for step in job["steps"]:
            yield step.get("run", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_file_is_valid_yaml(path: Path) -> None:
    assert load(path)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_commit(workflow: Path) -> None:
    uses = [line for line in workflow.read_text(encoding="utf-8").splitlines() if re.search(r"\buses:", line)]
    assert uses
    for line in uses:
        assert PINNED.search(line), line


def test_each_action_has_one_version() -> None:
    pins = {pin for path in WORKFLOWS for pin in PINNED.findall(path.read_text(encoding="utf-8"))}
    assert len(pins) == len({pin.partition("@")[0] for pin in pins})


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_has_read_permission_only_and_no_expression_in_a_command(workflow: Path) -> None:
    assert load(workflow)["permissions"] == {"contents": "read"}
    for command in runs(workflow):
        assert "${{" not in command


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflow_runs_existing_targets_of_the_makefile(workflow: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [target for command in runs(workflow) if command.startswith("make ") for target in command.split()[1:]]
    assert targets
    for target in targets:
        assert "=" in target or re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target


def test_continuous_integration_builds_every_architecture() -> None:
    build = load(ROOT / ".github/workflows/ci.yml")["jobs"]["build"]
    template = (ROOT / "template.yaml").read_text(encoding="utf-8")
    assert f"AllowedValues: [{', '.join(build['strategy']['matrix']['architecture'])}]" in template


def test_pre_commit_and_make_lint_use_the_same_version_of_ruff() -> None:
    locked = re.search(r"^ruff==\S+", (ROOT / "requirements/dev.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert locked
    for repository in load(ROOT / ".pre-commit-config.yaml")["repos"]:
        for hook in repository["hooks"]:
            assert hook["additional_dependencies"] == [locked[0]]
