"""Converse's stream events to ours, pure.

Text may be cut anywhere: JSON escapes a character beyond the basic plane as two surrogates, and a delta may end
between them. The first is held back until its partner comes.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from converse_stream.model.converters import to_usage
from converse_stream.model.guardrail import correct_stop_reason, separate_guardrail_text
from converse_stream.protocol.errors import ModelMalformed, ModelTruncated
from converse_stream.protocol.events import (
    Chunk,
    Citation,
    FinishReason,
    Part,
    Reasoning,
    Tool,
    Usage,
)
from converse_stream.protocol.finish_reasons import MALFORMED, from_bedrock
from converse_stream.protocol.text import well_formed

_OF_BLOCKS = frozenset({"contentBlockStart", "contentBlockDelta", "contentBlockStop"})


@dataclass(frozen=True, slots=True)
class ModelEnd:
    """The model said that it was done."""

    finish_reason: FinishReason
    usage: Usage
    model: str = ""  # the alias that answered, filled in where it is known
    latency: str | None = None  # as Bedrock served it, where it says so
    service_tier: str | None = None  # the same


def events(
    raw: Iterable[dict[str, Any]], *, answer_tool: str | None = None, guarded: bool = False
) -> Iterator[Part | ModelEnd]:
    """Ours for Bedrock's, ending with Ended. The input of `answer_tool` is the answer's text, and what is said beside
    it nothing, unless a filter said it. `guarded` says that a guardrail may have changed the answer.

    Raises ModelTruncated when the model never said that it was done, ModelMalformed for a call without a JSON object.
    A call that the token limit cut is left out: what came of its input says nothing.
    """
    text, reasoning = _SurrogateJoiner(), _SurrogateJoiner()
    calls: dict[int, _ToolCall] = {}
    ended: _ToolCall | None = None  # the last one: whether it is whole, the stop reason says
    stop_reason: str | None = None
    usage = Usage()
    latency = service_tier = None
    if guarded:
        raw = correct_stop_reason(raw)
    if answer_tool:
        raw = _answer_tool_as_text(raw, answer_tool)
    if guarded:
        raw = separate_guardrail_text(raw)
    for event in raw:
        if ended and event.keys() & _OF_BLOCKS:
            yield ended.whole()
            ended = None
        if "contentBlockStart" in event:
            if used := event["contentBlockStart"]["start"].get("toolUse"):
                calls[event["contentBlockStart"]["contentBlockIndex"]] = _ToolCall(
                    well_formed(used["toolUseId"]), well_formed(used["name"])
                )
        elif "contentBlockDelta" in event:
            delta = event["contentBlockDelta"]["delta"]
            if "text" in delta:
                if piece := text.take(delta["text"]):
                    yield Chunk(piece)
            elif "reasoningContent" in delta:
                if piece := reasoning.take(delta["reasoningContent"].get("text", "")):
                    yield Reasoning(piece)
            elif "toolUse" in delta:
                calls[event["contentBlockDelta"]["contentBlockIndex"]].pieces.append(delta["toolUse"]["input"])
            elif "citation" in delta:
                yield _citation(delta["citation"])
        elif "contentBlockStop" in event:
            if piece := reasoning.rest():
                yield Reasoning(piece)
            if piece := text.rest():
                yield Chunk(piece)
            ended = calls.pop(event["contentBlockStop"]["contentBlockIndex"], None)
        elif "messageStop" in event:
            stop_reason = well_formed(event["messageStop"]["stopReason"])
        elif "metadata" in event:  # comes after messageStop
            usage = to_usage(event["metadata"].get("usage", {}))
            latency = event["metadata"].get("performanceConfig", {}).get("latency")
            service_tier = event["metadata"].get("serviceTier", {}).get("type")
    if stop_reason is None:
        raise ModelTruncated
    if stop_reason in MALFORMED:
        raise ModelMalformed
    finish_reason = from_bedrock(stop_reason)
    if ended and finish_reason != "length":
        yield ended.whole()
    yield ModelEnd(finish_reason, usage, latency=latency, service_tier=service_tier)


def _answer_tool_as_text(raw: Iterable[dict[str, Any]], tool: str) -> Iterator[dict[str, Any]]:
    """The same as if the tool's input had been said; other text only where a filter has put its own in the place."""
    index: int | None = None
    beside: list[dict[str, Any]] = []
    for event in raw:
        match event:
            case {"contentBlockStart": {"start": {"toolUse": {"name": name}}, "contentBlockIndex": at}} if name == tool:
                index = at
            case {"contentBlockDelta": {"delta": {"toolUse": {"input": said}}, "contentBlockIndex": at}} if at == index:
                yield {"contentBlockDelta": {"contentBlockIndex": at, "delta": {"text": said}}}
            case {"contentBlockDelta": {"delta": {"text": _}}}:
                beside.append(event)
            case {"messageStop": {"stopReason": "tool_use"}}:
                yield {"messageStop": {"stopReason": "end_turn"}}
            case {"messageStop": {"stopReason": reason}} if from_bedrock(reason) == "content-filter":
                yield from beside
                yield event
            case _:
                yield event


@dataclass(slots=True)
class _ToolCall:
    """A tool's input comes in pieces of JSON that mean nothing one by one."""

    id: str
    name: str
    pieces: list[str] = field(default_factory=list)

    def whole(self) -> Tool:
        """Raises ModelMalformed for an input that is no JSON object."""
        said = well_formed("".join(self.pieces)) or "{}"
        try:
            given = json.loads(said)
        except ValueError:
            raise ModelMalformed from None
        if not isinstance(given, dict):
            raise ModelMalformed
        plain = json.dumps(given, ensure_ascii=False)
        if (readable := well_formed(plain)) != plain:  # half a pair, written as an escape
            said = readable
        return Tool(self.id, self.name, "call", input=said)


@dataclass(slots=True)
class _SurrogateJoiner:
    """Joins surrogates across deltas; one that stays alone becomes U+FFFD, as UTF-8 cannot hold it."""

    held: str = field(default="")

    def take(self, piece: str) -> str:
        piece = self.held + piece
        self.held = ""
        if piece.isascii():
            return piece
        if piece and "\ud800" <= piece[-1] <= "\udbff":
            piece, self.held = piece[:-1], piece[-1]
        return well_formed(piece)

    def rest(self) -> str:
        held, self.held = self.held, ""
        return well_formed(held)


def _citation(citation: dict[str, Any]) -> Citation:
    location = citation.get("location", {})
    quote = " ".join(piece.get("text", "") for piece in citation.get("sourceContent", [])).strip()
    return Citation(
        title=well_formed(citation.get("title", "")) or None,
        url=well_formed(location.get("web", {}).get("url", "")) or None,
        document=well_formed(citation.get("source", "")) or None,
        quote=well_formed(quote) or None,
    )
