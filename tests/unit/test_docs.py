"""Statements of the documents about the code are true."""

import re
from pathlib import Path

import pytest

from local_stack.bedrock.directives import HTTP_FAULTS, STREAM_FAULTS
from tests.documented import DOCUMENTS, commands
from tests.stack import ROOT


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_link_targets_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert target.startswith("http") or (page.parent / target).exists(), target


@pytest.mark.parametrize("page", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_headings_that_links_name_exist(page: Path) -> None:
    for target, heading in re.findall(r"\]\((?!http)([^)#\s]*)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
        linked = page.parent / target if target else page
        if linked.suffix == ".md":
            assert heading in _anchors(linked), f"{target}#{heading}"


def _anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them from their text."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    texts = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


def test_every_defence_has_a_test() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    threats = re.findall(r"^\|.*\|$", text, re.MULTILINE)[2:]
    assert len(threats) > 15
    for threat in threats:
        named = re.search(r"\| `(tests/[\w/]+\.py)::(test_\w+)` \|$", threat)
        assert named, threat
        assert f"def {named[2]}(" in (ROOT / named[1]).read_text(encoding="utf-8"), named[0]


def test_every_sentence_of_the_prompt_has_a_reason() -> None:
    """Also a test, where one can check it without a real model."""
    text = (ROOT / "docs/prompting.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.*?)` \| (.+) \| (?:`(.+)::(test_\w+)`|real models) \|$", text, re.MULTILINE)
    templates = (ROOT / "layers/converse_stream/converse_stream/prompts").glob("*.md")
    sentences = [
        sentence
        for template in templates
        for sentence in re.split(r"(?<=[.?!])\s+", template.read_text(encoding="utf-8").strip())
    ]
    assert sorted(sentence for sentence, *_ in rows) == sorted(sentences)
    for _, _, file, test in rows:
        assert not file or f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), test


def test_every_fault_directive_is_documented() -> None:
    text = (ROOT / "docs/local.md").read_text(encoding="utf-8")
    for fault in (*HTTP_FAULTS, *STREAM_FAULTS, "refuse-stream", "refuse-system", "stall-headers"):
        assert f"`{fault}`" in text


def test_make_help_lists_at_most_fourteen_targets() -> None:
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"run", "test", "test-long", "lint", "build", "validate", "invoke", "deploy", "clean"} <= set(targets)
    assert len(targets) <= 14


def test_docker_commands_for_linux_differ_by_two_options() -> None:
    """The test suite runs only the commands for Linux."""
    events = ROOT / "events/README.md"
    linux_options = (" --add-host host.docker.internal:host-gateway", " BRIDGE=172.17.0.1")
    linux = [
        command.replace(linux_options[0], "").replace(linux_options[1], "")
        for command in commands(events, "Docker on Linux")
    ]
    desktop = [command.replace("arm64", "x86_64") for command in commands(events, "Docker Desktop")]
    assert linux == desktop
    assert len(linux) == 5
