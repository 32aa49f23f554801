"""Converts Converse's stream events to ours. Pure.

Text may be cut anywhere. JSON escapes a character outside the Basic Multilingual Plane as two surrogates, and a delta
may end between them. Then the first one is held back until the next delta.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from converse_stream.model.code_fence import without_code_fence
from converse_stream.model.converters import long_cache_writes, to_usage
from converse_stream.model.guardrail import correct_stop_reason, separate_guardrail_text
from converse_stream.protocol.errors import ModelMalformed, ModelTruncated
from converse_stream.protocol.events import (
    Chunk,
    Citation,
    FinishReason,
    Part,
    Reasoning,
    ReasoningSignature,
    RedactedReasoning,
    Tool,
    Usage,
)
from converse_stream.protocol.finish_reasons import MALFORMED, from_bedrock
from converse_stream.protocol.text import well_formed

NOVA_REASONING = "[REDACTED]"  # Nova 2 sends it instead of the text of its reasoning
_OF_BLOCKS = frozenset({"contentBlockStart", "contentBlockDelta", "contentBlockStop"})
# Characters of a signature or of redacted reasoning. A longer one is not kept: it would not fit into one item of the
# log. Then the model does not get this reasoning back, and continues without it.
MAX_SIGNATURE = 256 * 1024


@dataclass(frozen=True, slots=True)
class ModelEnd:
    """The end of the model's answer."""

    finish_reason: FinishReason
    usage: Usage
    model: str = ""  # the name of the model; `ModelClient` sets it
    latency: str | None = None  # as applied by Bedrock, if the response has it
    service_tier: str | None = None  # as applied by Bedrock, if the response has it
    long_cache_writes: int = 0  # tokens of the usage, written to the cache with a lifetime of one hour


def events(
    raw: Iterable[dict[str, Any]],
    *,
    model: str = "",
    placeholder: str | None = None,
    answer_tool: str | None = None,
    fenced: bool = False,
    guarded: bool = False,
) -> Iterator[Part | ModelEnd]:
    """Our events for Bedrock's; the last one is `ModelEnd`.

    `model` is the id of the model, for the events of signed and redacted reasoning. Reasoning that is only the
    `placeholder` is dropped. The input of the tool `answer_tool` is the text of the answer; other text is dropped,
    unless a filter has sent it. `fenced` is true if a Markdown code fence around the text must be removed. `guarded` is
    true if a guardrail may have changed the answer. A tool call that the token limit has cut is left out, because its
    input is incomplete.

    Raises ModelTruncated if the stream has no stop reason, and ModelMalformed for a tool call whose input is not a JSON
    object.
    """
    text, reasoning = _SurrogateJoiner(), _SurrogateJoiner()
    block: _ReasoningBlock | None = None  # the open block of reasoning
    calls: dict[int, _ToolCall] = {}
    ended: _ToolCall | None = None  # the last call; the stop reason shows whether it is complete
    stop_reason: str | None = None
    usage, long_writes = Usage(), 0
    latency = service_tier = None
    if guarded:
        raw = correct_stop_reason(raw)
    if answer_tool:
        raw = _answer_tool_as_text(raw, answer_tool)
    if fenced:
        raw = without_code_fence(raw)
    if guarded:
        raw = separate_guardrail_text(raw)
    for event in raw:
        if ended and event.keys() & _OF_BLOCKS:
            yield ended.to_event()
            ended = None
        if block and block.ends_at(event):
            if piece := reasoning.rest():
                yield Reasoning(piece)
            yield from block.end(model)
            block = None
        if "contentBlockStart" in event:
            if tool_use := event["contentBlockStart"]["start"].get("toolUse"):
                calls[event["contentBlockStart"]["contentBlockIndex"]] = _ToolCall(
                    well_formed(tool_use["toolUseId"]), well_formed(tool_use["name"])
                )
        elif "contentBlockDelta" in event:
            delta = event["contentBlockDelta"]["delta"]
            if "text" in delta:
                if piece := text.take(delta["text"]):
                    yield Chunk(piece)
            elif placeholder and delta.get("reasoningContent", {}).get("text") == placeholder:
                continue
            elif "reasoningContent" in delta:
                block = block or _ReasoningBlock(event["contentBlockDelta"]["contentBlockIndex"])
                block.add(delta["reasoningContent"])
                if piece := reasoning.take(delta["reasoningContent"].get("text", "")):
                    yield Reasoning(piece)
            elif "toolUse" in delta:
                calls[event["contentBlockDelta"]["contentBlockIndex"]].pieces.append(delta["toolUse"]["input"])
            elif "citation" in delta:
                yield _citation(delta["citation"])
        elif "contentBlockStop" in event:
            if piece := text.rest():
                yield Chunk(piece)
            ended = calls.pop(event["contentBlockStop"]["contentBlockIndex"], None)
        elif "messageStop" in event:
            stop_reason = well_formed(event["messageStop"]["stopReason"])
        elif "metadata" in event:  # comes after messageStop
            usage = to_usage(event["metadata"].get("usage", {}))
            long_writes = long_cache_writes(event["metadata"].get("usage", {}))
            latency = event["metadata"].get("performanceConfig", {}).get("latency")
            service_tier = event["metadata"].get("serviceTier", {}).get("type")
    if stop_reason is None:
        raise ModelTruncated
    if stop_reason in MALFORMED:
        raise ModelMalformed
    finish_reason = from_bedrock(stop_reason)
    if ended and finish_reason != "length":
        yield ended.to_event()
    yield ModelEnd(finish_reason, usage, latency=latency, service_tier=service_tier, long_cache_writes=long_writes)


def _answer_tool_as_text(raw: Iterable[dict[str, Any]], tool: str) -> Iterator[dict[str, Any]]:
    """The same events, with the input of `tool` as text. Other text is kept only if it comes from a filter."""
    index: int | None = None
    other_text: list[dict[str, Any]] = []
    for event in raw:
        match event:
            case {"contentBlockStart": {"start": {"toolUse": {"name": name}}, "contentBlockIndex": at}} if name == tool:
                index = at
            case {"contentBlockDelta": {"delta": {"toolUse": {"input": text}}, "contentBlockIndex": at}} if at == index:
                yield {"contentBlockDelta": {"contentBlockIndex": at, "delta": {"text": text}}}
            case {"contentBlockDelta": {"delta": {"text": _}}}:
                other_text.append(event)
            case {"messageStop": {"stopReason": "tool_use"}}:
                yield {"messageStop": {"stopReason": "end_turn"}}
            case {"messageStop": {"stopReason": reason}} if from_bedrock(reason) == "content-filter":
                yield from other_text
                yield event
            case _:
                yield event


@dataclass(slots=True)
class _ToolCall:
    """A tool call whose input arrives in pieces of JSON."""

    id: str
    name: str
    pieces: list[str] = field(default_factory=list)

    def to_event(self) -> Tool:
        """The event of the complete call. Raises ModelMalformed if the input is not a JSON object."""
        text = well_formed("".join(self.pieces)) or "{}"
        try:
            arguments = json.loads(text)
        except ValueError:
            raise ModelMalformed from None
        if not isinstance(arguments, dict):
            raise ModelMalformed
        serialized = json.dumps(arguments, ensure_ascii=False)
        if (repaired := well_formed(serialized)) != serialized:  # it had a single surrogate as an escape
            text = repaired
        return Tool(self.id, self.name, "call", input=text)


@dataclass(slots=True)
class _ReasoningBlock:
    """What a block of reasoning has besides its text. Both may arrive in pieces."""

    index: int
    signature: list[str] = field(default_factory=list)
    redacted: bytearray = field(default_factory=bytearray)

    def ends_at(self, event: dict[str, Any]) -> bool:
        """Whether the event is not a delta of this block."""
        delta = event.get("contentBlockDelta")
        return delta is None or delta["contentBlockIndex"] != self.index or "reasoningContent" not in delta["delta"]

    def add(self, delta: dict[str, Any]) -> None:
        """Adds a delta of the block."""
        if "signature" in delta:
            self.signature.append(delta["signature"])
        if "redactedContent" in delta:
            self.redacted += b64decode(delta["redactedContent"])

    def end(self, model: str) -> Iterator[ReasoningSignature | RedactedReasoning]:
        """The event at the end of the block; none if the block is not signed."""
        signature = well_formed("".join(self.signature))
        if signature:  # also a block without a usable signature is kept apart from the next one
            yield ReasoningSignature(signature if len(signature) <= MAX_SIGNATURE else "", model)
        data = b64encode(self.redacted).decode()
        if data and len(data) <= MAX_SIGNATURE:
            yield RedactedReasoning(data, model)


@dataclass(slots=True)
class _SurrogateJoiner:
    """Joins surrogates across deltas. A single surrogate becomes U+FFFD, because UTF-8 cannot encode it."""

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
