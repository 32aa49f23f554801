"""Our own dialect: one JSON object with a `type` for each event; also the shape of messages everywhere."""

import json
from typing import Any

from chat.events import (
    Chunk,
    Citation,
    Complete,
    Error,
    Event,
    Message,
    Part,
    Progress,
    Reasoning,
    Rollback,
    Start,
    Timing,
    Usage,
)


def encode(event: Event) -> str:
    """The event as one line of JSON. Characters that some readers take for line ends are escaped."""
    line = json.dumps(to_json(event), ensure_ascii=False, separators=(",", ":"))
    if line.isascii():
        return line
    return line.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")


def to_json(event: Event) -> dict[str, Any]:
    """Absent fields are left out."""
    match event:
        case Chunk(content):
            return {"type": "chunk", "content": content}
        case Reasoning(content):
            return {"type": "reasoning", "content": content}
        case Start():
            return {"type": "start", **opening(event)}
        case Progress():
            return _present({"type": "progress", "stage": event.stage, "detail": event.detail})
        case Citation():
            return {"type": "citation", **_citation(event)}
        case Rollback(position):
            return {"type": "rollback", "position": position}
        case Complete():
            return {"type": "complete", **completion(event)}
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


def opening(start: Start) -> dict[str, Any]:
    """The fields of `start`."""
    return {
        "conversationId": start.conversation_id,
        "messageId": start.message_id,
        "generationId": start.generation_id,
        "model": start.model,
    }


def completion(end: Complete) -> dict[str, Any]:
    """The fields of `complete`."""
    return {
        "finishReason": end.finish_reason,
        "userMessage": message(end.user_message),
        "aiMessage": message(end.ai_message),
        "usage": _usage(end.usage),
        "metrics": _timing(end.timing),
    }


def message(stored: Message) -> dict[str, Any]:
    """A message as `GET /conversations/{id}/messages` returns it."""
    return _present(
        {
            "id": stored.id,
            "role": stored.role,
            "parts": [_part(part) for part in stored.parts],
            "status": stored.status,
            "createdAt": stored.created_at,
            "generationId": stored.generation_id,
            "model": stored.model,
            "finishReason": stored.finish_reason,
            "usage": _usage(stored.usage) if stored.usage else None,
        }
    )


def _part(part: Part) -> dict[str, Any]:
    match part:
        case Chunk(text):
            return {"type": "text", "text": text}
        case Reasoning(text):
            return {"type": "reasoning", "text": text}
        case Citation():
            return {"type": "citation", **_citation(part)}


def _citation(citation: Citation) -> dict[str, Any]:
    return _present(
        {"title": citation.title, "url": citation.url, "document": citation.document, "quote": citation.quote}
    )


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "cacheReadTokens": usage.cache_read_tokens,
        "cacheWriteTokens": usage.cache_write_tokens,
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
