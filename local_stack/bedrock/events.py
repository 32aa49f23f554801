"""The events of ConverseStream, and their conversion to a Converse response.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Event:
    """An event of ConverseStreamOutput: its name, such as `messageStart`, and its JSON."""

    name: str
    payload: Json

    @property
    def is_delta(self) -> bool:
        return self.name == "contentBlockDelta"


class Model(Protocol):
    """Generates answers: the emulated model, or a model server on this machine."""

    def converse(self, model_id: str, body: Json) -> AsyncGenerator[Event, None]:
        """Yield the answer to a valid Converse request at the model's speed. Raises BedrockError."""
        ...


def delta(index: int, content: Json) -> Event:
    return Event("contentBlockDelta", {"contentBlockIndex": index, "delta": content})


def block_stop(index: int) -> Event:
    return Event("contentBlockStop", {"contentBlockIndex": index})


def message_stop(reason: str) -> Event:
    return Event("messageStop", {"stopReason": reason})


def metadata(usage: Json, latency_ms: int, extra: Json | None = None) -> Event:
    """Return the metadata event. `extra`: the guardrail's trace, and how the request was served."""
    return Event("metadata", {"usage": usage, "metrics": {"latencyMs": latency_ms}, **(extra or {})})


MESSAGE_START = Event("messageStart", {"role": "assistant"})


async def fold(events: AsyncIterator[Event]) -> Json:
    """Return the body of the Converse response with the same content."""
    blocks: dict[int, list[Json]] = {}
    answer: Json = {}
    async for event in events:
        payload = event.payload
        if event.name == "contentBlockStart":
            blocks.setdefault(payload["contentBlockIndex"], []).append(payload["start"])
        elif event.is_delta:
            blocks.setdefault(payload["contentBlockIndex"], []).append(payload["delta"])
        elif event.name == "messageStop":
            answer["stopReason"] = payload["stopReason"]
        elif event.name == "metadata":
            answer |= payload
    content = [_block(blocks[index]) for index in sorted(blocks)]
    return {"output": {"message": {"role": "assistant", "content": content}}, **answer}


def _block(parts: list[Json]) -> Json:
    """Build a content block from its start (if it has one) and its deltas."""
    if "toolUse" in parts[0]:
        source = "".join(part["toolUse"].get("input", "") for part in parts)
        return {"toolUse": {**parts[0]["toolUse"], "input": _input(source)}}
    if "reasoningContent" in parts[0]:
        reasoning = [part["reasoningContent"] for part in parts]
        if "redactedContent" in reasoning[0]:
            return {"reasoningContent": reasoning[0]}
        text: Json = {"text": "".join(part.get("text", "") for part in reasoning)}
        if "signature" in reasoning[-1]:
            text["signature"] = reasoning[-1]["signature"]
        return {"reasoningContent": {"reasoningText": text}}
    text_block = {"text": "".join(part.get("text", "") for part in parts)}
    if citations := [part["citation"] for part in parts if "citation" in part]:
        return {"citationsContent": {"content": [text_block], "citations": citations}}
    return text_block


def _input(source: str) -> Any:
    """Parse the input of a tool call. Empty if it was cut; this is a guess, no report describes it."""
    try:
        return json.loads(source)
    except ValueError:
        return {}
