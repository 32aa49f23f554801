"""The answer in one piece: the same fields as the native `start` and `complete`, or the error.

`missing` names the parts of the memory that it does without, as the streamed answer's `progress` does.
"""

from collections.abc import Iterator
from typing import Any

from converse_stream.dialects import native
from converse_stream.dialects.sse import Source
from converse_stream.protocol.events import (
    TERMINAL,
    Complete,
    Error,
    Event,
    Start,
    fold,
)

PATIENCE = 3600.0  # seconds; the source ends by its own clock


def answer(source: Source) -> tuple[int, dict[str, Any]]:
    """Runs the source to its end: HTTP status and JSON body.

    An error names the conversation, where what had come is stored. A source that is over without a terminal event
    still runs somewhere else: 202, and ask again.
    """
    said = fold(events(source))
    start = said.start or Start("", "", "", "")
    match said.end:
        case Complete() as end:
            missing = {"missing": list(said.missing)} if said.missing else {}
            return 200, {**native.opening(start), **native.completion(end), **missing}
        case Error() as end:
            error = native.to_json(end)
            del error["type"]
            return end.status, {"error": error, "conversationId": start.conversation_id}
    running = {"conversationId": start.conversation_id, "generationId": start.generation_id, "status": "running"}
    return 202, running


def events(source: Source) -> Iterator[Event]:
    """Runs the source to its end."""
    cursor = 0
    with source:
        while batch := source.wait(cursor, PATIENCE):
            cursor += len(batch)
            yield from (placed.event for placed in batch)
            if isinstance(batch[-1].event, TERMINAL):
                return
