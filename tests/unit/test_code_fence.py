"""The Markdown code fence around JSON is removed, for every split of the text."""

import json
from typing import Any

import pytest

from converse_stream.model.stream import events
from converse_stream.protocol.events import Chunk

TEXTS = [
    ('```json\n{"a": 1}\n```', '{"a": 1}'),
    ('```\n{"a": "x ``` y"}\n```\n', '{"a": "x ``` y"}'),
    ('\n ```json\n{"a": 1}\n``` ', '{"a": 1}'),
    ('{"a": "``` 1"}', '{"a": "``` 1"}'),
    ('```json\n{"a": 1', '{"a": 1'),  # cut by the token limit
    ("``", "``"),
    ("", ""),
]


def text_of(pieces: list[str]) -> str:
    raw: list[dict[str, Any]] = [
        {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": piece}}} for piece in pieces
    ]
    raw += [{"contentBlockStop": {"contentBlockIndex": 0}}, {"messageStop": {"stopReason": "end_turn"}}]
    return "".join(event.content for event in events(raw, fenced=True) if isinstance(event, Chunk))


@pytest.mark.parametrize(("text", "expected"), TEXTS, ids=lambda text: json.dumps(text))
def test_code_fence_is_removed_for_every_split(text: str, expected: str) -> None:
    assert text_of([text]) == expected
    assert text_of(list(text)) == expected
    for cut in range(len(text)):
        assert text_of([text[:cut], text[cut:]]) == expected
