"""The answer in one piece: the fields of the native `start` and `complete` events, or the error.

`missing` has the parts of the memory that were left out, and `adapted` the fields that the model did not get, as
`progress` has in a stream.
"""

from collections.abc import Iterator
from typing import Any

from converse_stream.dialects import native
from converse_stream.dialects.sse import Source
from converse_stream.protocol.events import TERMINAL, Complete, Error, Event, Start, fold

WAIT_SECONDS = 3600.0  # without effect: the source has its own deadline


def answer(source: Source) -> tuple[int, dict[str, Any]]:
    """Runs the source to its end and returns the HTTP status and the JSON body.

    An error has the id of the conversation, where the partial answer is stored. The status is 202 if the source ends
    without a terminal event: the generation runs in another environment.
    """
    folded = fold(events(source))
    start = folded.start or Start("", "", "", "")
    match folded.end:
        case Complete() as end:
            lists = {"missing": list(folded.missing), "adapted": list(folded.adapted)}
            told = {name: values for name, values in lists.items() if values}
            return 200, {**native.start_fields(start), **native.complete_fields(end), **told}
        case Error() as end:
            error = native.to_json(end)
            del error["type"]
            return end.status, {"error": error, "conversationId": start.conversation_id}
    running = {"conversationId": start.conversation_id, "generationId": start.generation_id, "status": "running"}
    return 202, running


def events(source: Source) -> Iterator[Event]:
    """Runs the source to its end and yields its events."""
    cursor = 0
    with source:
        while batch := source.wait(cursor, WAIT_SECONDS):
            cursor += len(batch)
            yield from (positioned.event for positioned in batch)
            if isinstance(batch[-1].event, TERMINAL):
                return
