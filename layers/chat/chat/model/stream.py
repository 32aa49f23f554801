"""Converse's stream events to ours, pure.

Text may be cut anywhere: JSON escapes a character beyond the basic plane as two surrogates, and a delta may end
between them. The first is held back until its partner comes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from chat.errors import ModelMalformed, ModelTruncated
from chat.events import Chunk, Citation, FinishReason, Reasoning, Usage
from chat.model.converters import FINISH_REASONS, MALFORMED, to_usage


@dataclass(frozen=True, slots=True)
class Ended:
    """The model said that it was done."""

    finish_reason: FinishReason
    usage: Usage
    model: str = ""  # the alias that answered, filled in where it is known


def events(raw: Iterable[dict[str, Any]]) -> Iterator[Chunk | Reasoning | Citation | Ended]:
    """Ours for Bedrock's, ending with Ended. Raises ModelTruncated when the model never said that it was done."""
    text, reasoning = _Pieces(), _Pieces()
    stop_reason: str | None = None
    usage = Usage()
    for event in raw:
        if "contentBlockDelta" in event:
            delta = event["contentBlockDelta"]["delta"]
            if "text" in delta:
                if piece := text.take(delta["text"]):
                    yield Chunk(piece)
            elif "reasoningContent" in delta:
                if piece := reasoning.take(delta["reasoningContent"].get("text", "")):
                    yield Reasoning(piece)
            elif "citation" in delta:
                yield _citation(delta["citation"])
        elif "contentBlockStop" in event:
            if piece := reasoning.rest():
                yield Reasoning(piece)
            if piece := text.rest():
                yield Chunk(piece)
        elif "messageStop" in event:
            stop_reason = event["messageStop"]["stopReason"]
        elif "metadata" in event:  # comes after messageStop
            usage = to_usage(event["metadata"].get("usage", {}))
    if stop_reason is None:
        raise ModelTruncated
    if stop_reason in MALFORMED:
        raise ModelMalformed
    yield Ended(FINISH_REASONS.get(stop_reason, stop_reason), usage)


@dataclass(slots=True)
class _Pieces:
    """Joins surrogates across deltas; one that stays alone becomes U+FFFD, as UTF-8 cannot hold it."""

    held: str = field(default="")

    def take(self, piece: str) -> str:
        piece = self.held + piece
        self.held = ""
        if piece.isascii():
            return piece
        if piece and "\ud800" <= piece[-1] <= "\udbff":
            piece, self.held = piece[:-1], piece[-1]
        return _whole(piece)

    def rest(self) -> str:
        held, self.held = self.held, ""
        return _whole(held)


def _whole(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _citation(citation: dict[str, Any]) -> Citation:
    location = citation.get("location", {})
    quote = " ".join(piece.get("text", "") for piece in citation.get("sourceContent", [])).strip()
    return Citation(
        title=_whole(citation.get("title", "")) or None,
        url=_whole(location.get("web", {}).get("url", "")) or None,
        document=_whole(citation.get("source", "")) or None,
        quote=_whole(quote) or None,
    )
