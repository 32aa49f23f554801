"""The answer in one piece: the same fields as the native `start` and `complete`, or the error."""

from typing import Any

from chat.dialects import native
from chat.dialects.sse import Source
from chat.events import Complete, Error, Start

PATIENCE = 3600.0  # seconds; the source ends by its own clock


def answer(source: Source) -> tuple[int, dict[str, Any]]:
    """Runs the source to its end: HTTP status and JSON body.

    An error names the conversation, where what had come is stored. A source that is over without a terminal event
    still runs somewhere else: 202, and ask again.
    """
    cursor, start = 0, Start("", "", "", "")
    with source:
        while batch := source.wait(cursor, PATIENCE):
            cursor += len(batch)
            if isinstance(batch[0].event, Start):
                start = batch[0].event
            end = batch[-1].event
            if isinstance(end, Complete):
                return 200, {**native.opening(start), **native.completion(end)}
            if isinstance(end, Error):
                error = native.to_json(end)
                del error["type"]
                return end.status, {"error": error, "conversationId": start.conversation_id}
    running = {"conversationId": start.conversation_id, "generationId": start.generation_id, "status": "running"}
    return 202, running
