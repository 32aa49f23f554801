"""docs/reference covers the whole code and template, and the check reports a stale page."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from converse_stream.openapi.document import document
from converse_stream.protocol.errors import ChatError
from converse_stream.protocol.finish_reasons import FINISH
from converse_stream.settings import Settings
from local_stack.intrinsics import load
from tests.routes import converse_routes, stream_routes
from tests.stack import ROOT
from tools.reference.__main__ import FOLDER, PAGES, main, stale
from tools.reference.markdown import StaleTextError, anchor, paired
from tools.reference.template import variables

TEMPLATE = load(ROOT / "template.yaml")


def page(name: str) -> str:
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8")


def rows(name: str) -> Iterator[list[str]]:
    """The cells of all tables of a page."""
    for line in page(name).splitlines():
        if line.startswith("|"):
            yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def anchors(name: str) -> list[str]:
    return [anchor(heading) for heading in re.findall(r"^#+ (.*)$", page(name), re.MULTILINE)]


def test_pages_are_up_to_date() -> None:
    assert not stale(FOLDER), "run 'make docs'"


def test_every_route_is_documented() -> None:
    headings = re.findall(r"^### (\w+ /.*)$", page("http"), re.MULTILINE)
    assert stream_routes() | converse_routes() == {re.sub(r"\{\w*\}", "{}", heading) for heading in headings}


def test_every_status_of_every_route_is_documented() -> None:
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            section = page("http").partition(f"### {method.upper()} {path}\n")[2].partition("\n### ")[0]
            assert re.findall(r"^\| (\d{3}) \|", section, re.MULTILINE) == list(operation["responses"])
            for parameter in operation.get("parameters", ()):
                assert f"| `{parameter['name']}` | {parameter['in']} |" in section


def test_every_schema_is_documented_once() -> None:
    described = document()["components"]["schemas"]
    events = {ref.rpartition("/")[2] for ref in described["StreamEvent"]["discriminator"]["mapping"].values()}
    headings = [*anchors("http"), *anchors("events")]
    for name in described.keys() - events - {"JsonValue"}:
        assert headings.count(anchor(name)) == 1, name


def test_every_error_code_is_documented() -> None:
    def subclasses(kind: type[ChatError]) -> Iterator[type[ChatError]]:
        yield kind
        for subclass in kind.__subclasses__():
            yield from subclasses(subclass)

    documented = {(cells[0], cells[1]): cells[2] for cells in rows("errors") if len(cells) > 2}
    for kind in subclasses(ChatError):
        assert documented[str(kind.status), f"`{kind.code}`"] == ("yes" if kind.retryable else "no")


def test_every_event_field_and_finish_reason_is_documented() -> None:
    schemas = document()["components"]["schemas"]
    for kind, reference in schemas["StreamEvent"]["discriminator"]["mapping"].items():
        section = page("events").partition(f"\n### {kind}\n")[2].partition("\n### ")[0]
        for field in schemas[reference.rpartition("/")[2]]["properties"]:
            assert f"| `{field}` |" in section
        assert re.search(rf'"type": ?"{kind}"', section), "no example"
    reasons = {cells[0]: cells for cells in rows("events")}
    for reason, finish in FINISH.items():
        assert reasons[f"`{reason}`"][3] == f"`{finish.openai}`"


def test_every_parameter_and_variable_is_documented() -> None:
    documented = {cells[0]: cells for cells in rows("parameters")}
    for name, parameter in TEMPLATE["Parameters"].items():
        default = parameter["Default"]
        assert documented[f"`{name}`"][1] == ("empty" if default == "" else f"`{default}`")
    for setting in map(str.upper, Settings.model_fields):
        assert setting in variables() or setting.startswith("AWS_") or f"`{setting}`" in documented


def test_every_parameter_of_a_limit_is_on_the_limits_page() -> None:
    limit_names = re.compile(
        r"User|Address|Gateway|Day(Tokens|Usd)|.*(Timeout|Concurrency|Milliseconds|Seconds|RetentionDays)$"
    )
    for name in filter(limit_names.match, TEMPLATE["Parameters"]):
        assert f"`{name}`" in page("limits"), name
    for name in Settings.model_fields:
        if name.startswith("max_"):
            assert f"`{name.upper()}`" in page("limits"), name


@pytest.mark.parametrize("name", [name.removesuffix(".md") for name in PAGES])
def test_every_link_targets_a_heading(name: str) -> None:
    assert len(anchors(name)) == len(set(anchors(name)))
    links = re.findall(r"\]\(([\w.-]*)#([^)]*)\)", page(name))
    assert links
    for file, fragment in links:
        assert fragment in anchors(file.removesuffix(".md") or name), (file, fragment)


def test_check_reports_a_stale_and_a_missing_page(tmp_path: Path) -> None:
    folder = tmp_path / "reference"
    assert "run 'make docs'" in str(main(["--check", str(folder)]))
    assert main([str(folder)]) is None
    assert main(["--check", str(folder)]) is None
    limits = folder / "limits.md"
    limits.write_text(limits.read_text(encoding="utf-8").replace("32,000", "31,000"), encoding="utf-8")
    message = str(main(["--check", str(folder)]))
    assert "(limits.md)" in message
    assert "run 'make docs'" in message
    assert "31,000" in limits.read_text(encoding="utf-8"), "a check writes nothing"


def test_make_lint_checks_the_pages() -> None:
    lint = re.search(r"^lint:.*\n(?:\t.*\n)+", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert lint
    assert "$(REFERENCE) --check" in lint[0]


def test_text_without_code_and_code_without_text_are_errors() -> None:
    assert paired({"a": "text"}, ["a"], "texts") == {"a": "text"}
    with pytest.raises(StaleTextError, match="write a text for b"):
        paired({"a": "text"}, ["a", "b"], "texts")
    with pytest.raises(StaleTextError, match="no longer in the code: a"):
        paired({"a": "text"}, [], "texts")
