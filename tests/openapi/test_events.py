"""The events of each dialect in tests/fixtures match openapi.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from converse_stream.openapi.document import document
from tests.openapi.description import Answer, Description
from tests.stack import ROOT

DESCRIPTION = Description(document())
STREAM = "text/event-stream"
DIALECTS = {
    "native": ("/chat", "StreamEvent"),
    "plain": ("/chat", ""),
    "ai-sdk": ("/ai/chat", "UiMessageChunk"),
    "openai": ("/v1/chat/completions", ""),
}


def recorded(dialect: str) -> list[Path]:
    return sorted((ROOT / "tests" / "fixtures").glob(f"*/{dialect}.*"))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_recorded_event_is_described(dialect: str) -> None:
    content = DESCRIPTION.document["paths"][DIALECTS[dialect][0]]["post"]["responses"]["200"]["content"]
    assert recorded(dialect)
    for path in recorded(dialect):
        DESCRIPTION.check_events(
            content[STREAM]["x-eventData"], Answer(200, {"content-type": STREAM}, path.read_bytes())
        )


@pytest.mark.parametrize(("dialect", "union"), [(name, union) for name, (_, union) in DIALECTS.items() if union])
def test_every_described_event_is_recorded(dialect: str, union: str) -> None:
    described = DESCRIPTION.document["components"]["schemas"][union]["discriminator"]["mapping"].keys()
    event_types: set[Any] = set()
    for path in recorded(dialect):
        data = [data for _, data in Answer(200, {}, path.read_bytes()).events]
        event_types |= {json.loads(item)["type"] for item in data if item != "[DONE]"}
    assert event_types == described
