"""Each dialect produces the raw text in tests/fixtures, which the tests of the clients read too."""

import json
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

import pytest

from converse_stream.dialects.ai_sdk.frames import AiSdk
from converse_stream.dialects.native import Native
from converse_stream.dialects.openai.frames import OpenAI
from converse_stream.dialects.plain import Plain
from converse_stream.dialects.sse import Dialect
from converse_stream.protocol import events
from converse_stream.protocol.events import Event, Rollback, Start, fold
from converse_stream.protocol.log import PositionedEvent, length

FIXTURES = Path(__file__).parents[1] / "fixtures"
CASES = sorted(path.parent for path in FIXTURES.glob("*/events.json"))
DIALECTS: dict[str, Callable[[str], Dialect]] = {
    "native": Native,
    "plain": lambda _: Plain(),
    "ai-sdk": lambda _: AiSdk(),
    "openai": lambda _: OpenAI(1_795_251_600, usage=True, signed=True),
}


def value(kind: Any, raw: Any) -> Any:
    """`raw` from JSON as the dataclass of the type hint `kind`."""
    if isinstance(kind, UnionType):
        kind = next((argument for argument in get_args(kind) if is_dataclass(argument)), None)
    if is_dataclass(kind) and isinstance(raw, dict):
        return build(getattr(events, raw.get("event", kind.__name__)), raw)  # type: ignore[union-attr]  # a class
    return tuple(map(event, raw)) if isinstance(raw, list) else raw


def build(kind: type, raw: dict[str, Any]) -> Any:
    hints = get_type_hints(kind)
    return kind(
        **{field.name: value(hints[field.name], raw[field.name]) for field in fields(kind) if field.name in raw}
    )


def event(raw: dict[str, Any]) -> Any:
    return build(getattr(events, raw["event"]), raw)


def positioned(case: Path) -> Iterator[PositionedEvent]:
    position = 0
    for raw in json.loads((case / "events.json").read_text(encoding="utf-8")):
        item: Event = event(raw)
        position = item.position if isinstance(item, Rollback) else position + length(item)
        yield PositionedEvent(item, position)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_dialect_encodes_the_events_of_the_fixture(case: Path, name: str) -> None:
    positioned_events = list(positioned(case))
    start = positioned_events[0].event
    assert isinstance(start, Start)
    dialect = DIALECTS[name](start.generation_id)
    assert "".join(map(dialect.encode, positioned_events)) == (case / f"{name}.sse").read_bytes().decode()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_events_of_the_fixture_give_its_answer(case: Path) -> None:
    folded = fold(item.event for item in positioned(case))
    expected = json.loads((case / "answer.json").read_text(encoding="utf-8"))
    text = "".join(part.content for part in folded.parts if isinstance(part, events.Chunk))
    reasoning = "".join(part.content for part in folded.parts if isinstance(part, events.Reasoning))
    assert (text, reasoning) == (expected["text"], expected["reasoning"])
    assert len(expected["citations"]) == sum(isinstance(part, events.Citation) for part in folded.parts)
    assert len(expected["tools"]) == len({part.id for part in folded.parts if isinstance(part, events.Tool)})
    match folded.end:
        case events.Complete(finish_reason=reason):
            assert expected["finishReason"] == reason
        case events.Error(code=code):
            assert expected["error"] == code


@pytest.mark.parametrize(
    "dialect", [Native("gid"), Plain(), AiSdk(), OpenAI(0)], ids=lambda dialect: type(dialect).__name__
)
def test_stream_cut_before_the_terminal_event_is_not_a_success(dialect: Dialect) -> None:
    assert dialect.unfinished_end() == "" or "error" in dialect.unfinished_end()
