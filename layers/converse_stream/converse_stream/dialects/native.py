"""The native dialect: one JSON object with a `type` for each event. It also defines the JSON of messages.

Events of the log have `id: <generation>:<position>`. A client sends the last id to resume after that event.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from converse_stream.dialects import sse
from converse_stream.protocol.errors import by_code
from converse_stream.protocol.events import (
    HIDDEN,
    Chunk,
    Citation,
    Complete,
    Error,
    Message,
    Progress,
    Reasoning,
    Rollback,
    Start,
    Timing,
    Tool,
    Usage,
    VisibleEvent,
    VisiblePart,
)
from converse_stream.protocol.log import ENTRIES, PositionedEvent


@dataclass(frozen=True, slots=True)
class Native:
    """The frames of one generation."""

    generation: str
    comment_end = "\n"

    def encode(self, positioned: PositionedEvent) -> str:
        """The frame of the event; empty for an entry that clients do not get. The next id has its position."""
        event = positioned.event
        if isinstance(event, (Chunk, Reasoning)):  # the same frame as below, because almost all events are text
            kind = "chunk" if isinstance(event, Chunk) else "reasoning"
            line = f'{{"type":"{kind}","content":{sse.quoted(event.content)}}}'
            return f"id: {self.generation}:{positioned.position}\ndata: {line}\n\n"
        if isinstance(event, HIDDEN):
            return ""
        frame = sse.data(to_json(event))
        return f"id: {self.generation}:{positioned.position}\n{frame}" if isinstance(event, ENTRIES) else frame

    def unfinished_end(self) -> str:
        """Nothing: after an end without a terminal event, a client attaches again."""
        return ""


def to_json(event: VisibleEvent) -> dict[str, Any]:
    """The JSON object of the event, without the fields that are None."""
    match event:
        case Chunk(content):
            return {"type": "chunk", "content": content}
        case Reasoning(content):
            return {"type": "reasoning", "content": content}
        case Start():
            return {"type": "start", **start_fields(event)}
        case Progress():
            return _present({"type": "progress", "stage": event.stage, "detail": event.detail})
        case Citation():
            return {"type": "citation", **_citation(event)}
        case Tool():
            return {"type": "tool", **_tool(event)}
        case Rollback(position):
            return {"type": "rollback", "position": position}
        case Complete():
            return {"type": "complete", **complete_fields(event)}
        case Error():
            return _present(
                {
                    "type": "error",
                    "code": event.code,
                    "message": event.message,
                    "retryable": event.retryable,
                    "requestId": event.request_id,
                    "messageId": event.message_id,
                }
            )


def start_fields(start: Start) -> dict[str, Any]:
    """The fields of `start`."""
    return {
        "conversationId": start.conversation_id,
        "messageId": start.message_id,
        "generationId": start.generation_id,
        "model": start.model,
    }


def complete_fields(end: Complete) -> dict[str, Any]:
    """The fields of `complete`."""
    return {
        "finishReason": end.finish_reason,
        "userMessage": message(end.user_message),
        "aiMessage": message(end.ai_message),
        "usage": _usage(end.usage),
        "metrics": _timing(end.timing),
    }


def message(stored: Message) -> dict[str, Any]:
    """The JSON object of a message, as in `GET /conversations/{id}/messages`."""
    return _present(
        {
            "id": stored.id,
            "role": stored.role,
            "parts": [_part(part) for part in stored.visible_parts],
            "status": stored.status,
            "createdAt": stored.created_at,
            "generationId": stored.generation_id,
            "model": stored.model,
            "finishReason": stored.finish_reason,
            "usage": _usage(stored.usage) if stored.usage else None,
            "error": _failure(stored) if stored.status == "failed" else None,
        }
    )


def _failure(stored: Message) -> dict[str, Any]:
    """The error of a failed answer, as in its `error` event. The stored finish reason is the error code."""
    error = by_code(stored.finish_reason or "internal", stored.model or "")
    return {"code": error.code, "message": error.message, "retryable": error.retryable}


def _part(part: VisiblePart) -> dict[str, Any]:
    match part:
        case Chunk(text):
            return {"type": "text", "text": text}
        case Reasoning(text):
            return {"type": "reasoning", "text": text}
        case Citation():
            return {"type": "citation", **_citation(part)}
        case Tool():
            return {"type": "tool", **_tool(part)}


def _tool(tool: Tool) -> dict[str, Any]:
    return _present(
        {
            "id": tool.id,
            "name": tool.name,
            "state": tool.state,
            "input": json.loads(tool.input) if tool.input is not None else None,
            "output": json.loads(tool.output) if tool.output is not None else None,
            "error": tool.error,
        }
    )


def _citation(citation: Citation) -> dict[str, Any]:
    return _present(asdict(citation))


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "cacheReadTokens": usage.cache_read_tokens,
        "cacheWriteTokens": usage.cache_write_tokens,
        "costUsd": None if usage.cost is None else usage.cost / 1e9,
        "basis": usage.basis,
    }


def _timing(timing: Timing) -> dict[str, Any]:
    return _present(
        {
            "firstTokenMs": timing.first_token_ms,
            "tokensPerSecond": timing.tokens_per_second,
            "durationMs": timing.duration_ms,
        }
    )


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
