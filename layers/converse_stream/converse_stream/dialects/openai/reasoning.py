"""Signed reasoning in `reasoning_details` of messages, in the form of OpenRouter. Pure.

https://openrouter.ai/docs/use-cases/reasoning-tokens. OpenAI's protocol has no field for it. A client that repeats the
assistant's message with all of its fields gives the model its reasoning back.
"""

from base64 import b64decode
from collections.abc import Iterable, Iterator
from typing import Any

from converse_stream.prompts.prompt import SignedReasoning
from converse_stream.protocol.events import Event, Reasoning, ReasoningSignature, RedactedReasoning

FORMAT = "anthropic-claude-v1"


class ReasoningDetails:
    """Makes the items of `reasoning_details` from the events of one answer."""

    def __init__(self) -> None:
        self._pieces: list[str] = []  # the text of the open block
        self._count = 0

    def take(self, event: Event) -> list[dict[str, Any]]:
        """The items that the event completes: one at the end of a block, else none."""
        match event:
            case Reasoning(content):
                self._pieces.append(content)
                return []
            case ReasoningSignature(signature, model) if signature:
                fields = {"type": "reasoning.text", "text": "".join(self._pieces), "signature": signature}
            case RedactedReasoning(data, model):
                fields = {"type": "reasoning.encrypted", "data": data}
            case _:
                self._pieces = []
                return []
        self._pieces = []
        self._count += 1
        return [{**fields, "format": FORMAT, "index": self._count - 1, "model": model}]


def details(events: Iterable[Event]) -> list[dict[str, Any]]:
    """`reasoning_details` of an answer in one piece."""
    items = ReasoningDetails()
    return [item for event in events for item in items.take(event)]


def blocks(value: Any) -> Iterator[SignedReasoning | RedactedReasoning]:
    """The usable blocks of `reasoning_details` in a request, which may have any form. Others are left out."""
    for item in value if isinstance(value, list) else []:
        match item:
            case {"type": "reasoning.text", "format": str(form), "signature": str(signature), "model": str(model)}:
                text = item.get("text") or ""
                if form == FORMAT and signature and isinstance(text, str):
                    yield SignedReasoning(text, signature, model)
            case {"type": "reasoning.encrypted", "format": str(form), "data": str(data), "model": str(model)}:
                if form == FORMAT and _is_base64(data):
                    yield RedactedReasoning(data, model)


def _is_base64(data: str) -> bool:
    try:
        return bool(b64decode(data, validate=True))
    except ValueError:
        return False
