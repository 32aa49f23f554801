"""The answer in one piece: the same fields as the native `start` and `complete`, or the error."""

from typing import Any

from chat.dialects import native
from chat.events import Complete, Error, Start


def answer(start: Start, end: Complete | Error) -> tuple[int, dict[str, Any]]:
    """HTTP status and JSON body. An error names the conversation, where what had come is stored."""
    if isinstance(end, Complete):
        return 200, {**native.opening(start), **native.completion(end)}
    error = native.to_json(end)
    del error["type"]
    return end.status, {"error": error, "conversationId": start.conversation_id}
