"""The prompt of the extraction: its texts from `extraction.md` and `extraction_message.md`, and the answer's schema.

docs/prompting.md has the reason of each sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from converse_stream.prompts.templates import fenced, sanitized
from converse_stream.protocol.fields import normalize

MAX_FACTS = 5  # of one message
MAX_MESSAGE = 8_000  # code points of a message that are sent to the model; longer texts are rarely about the user
MAX_BEFORE = 500  # code points from the end of the answer before the message: a question is at the end

_AGAIN = "Your last answer was not the JSON object. Answer with the JSON object alone, from { to }."


@dataclass(frozen=True, slots=True)
class UserMessage:
    """The message to learn from. `sent_at` is its time (ISO 8601, UTC), `before` the assistant's answer before it."""

    text: str
    sent_at: str
    before: str = ""


def system() -> str:
    """The system prompt."""
    return _SYSTEM


def message_text(message: UserMessage, *, again: bool = False) -> str:
    """The text of the request: the date, the fenced texts, and the order. `again` is for a second try."""
    lines = normalize(message.text)[:MAX_MESSAGE].splitlines()
    end = normalize(message.before)[-MAX_BEFORE:]
    text = _MESSAGE.substitute(
        today=message.sent_at[:10],
        before=f"\n{fenced('before', [('…', end)])}\n" if end else "",
        message="\n".join(map(sanitized, lines)),
    ).strip()
    return f"{text}\n{_AGAIN}" if again else text


def known_facts(texts: Sequence[str]) -> str:
    """The known facts, each with its number, which counts from 1."""
    return fenced("facts", [(f"[fact {number}]", text) for number, text in enumerate(texts, 1)])


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8").strip()


_SYSTEM = _read("extraction.md")
_MESSAGE = Template(_read("extraction_message.md"))

_NUMBERS = {"type": "array", "items": {"type": "integer"}}
_FACT = {
    "text": {"type": "string"},
    "kind": {"type": "string", "enum": ["fact", "preference"]},
    "confidence": {"type": "number"},
    "replaces": _NUMBERS,
}
_ANSWER = {
    "facts": {
        "type": "array",
        "items": {"type": "object", "properties": _FACT, "required": list(_FACT), "additionalProperties": False},
    },
    "outdated": _NUMBERS,
    "assistant": {"type": "string"},
}
# Without limits and without null: some models refuse a schema with them.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": _ANSWER,
    "required": list(_ANSWER),
    "additionalProperties": False,
}
