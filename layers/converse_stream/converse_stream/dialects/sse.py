"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): frames of a generation.

All available events are sent as one write. After a short silence, a small comment is sent, because some proxies hold
back a small chunk until the next one. In a long silence, heartbeats prevent idle time-outs, also before the first
event.
"""

import json
import time
from collections.abc import Generator, Sequence
from json.encoder import encode_basestring
from typing import Protocol

from converse_stream.protocol.events import TERMINAL
from converse_stream.protocol.log import PositionedEvent

HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}
NUDGE, NUDGE_AFTER = ":", 0.1  # seconds without an event
HEARTBEAT, HEARTBEAT_AFTER = ": hb", 10.0
DONE = "data: [DONE]\n\n"  # the last frame, in protocols that have one


class Source(Protocol):
    """The events of a generation: of one that runs here, or of one that is followed."""

    def __enter__(self) -> object:
        """Starts the source."""

    def __exit__(self, *_: object) -> None:
        """Ends the source."""

    @property
    def ended(self) -> bool:
        """Whether there will be no more events."""

    def wait(self, cursor: int, timeout: float) -> Sequence[PositionedEvent]:
        """The events after the first `cursor` ones. Empty if there is none within `timeout` seconds."""


class Dialect(Protocol):
    """An encoding of events for one kind of client. Its frames depend only on the events."""

    comment_end: str  # one LF if possible: with two, some clients see an empty event

    def encode(self, positioned: PositionedEvent) -> str:
        """The frames of an event; empty if the dialect does not have it. A terminal event closes all open parts."""

    def unfinished_end(self) -> str:
        """The frames of an end without a terminal event: the generation still runs."""


def data(value: object) -> str:
    """One frame with the value as a line of JSON. Characters that some clients treat as line ends are escaped."""
    return f"data: {_without_line_ends(json.dumps(value, ensure_ascii=False, separators=(',', ':')))}\n\n"


def quoted(text: str) -> str:
    """The text as a JSON string for a frame. It costs a tenth of `json.dumps`."""
    return _without_line_ends(encode_basestring(text))


def _without_line_ends(line: str) -> str:
    if line.isascii():
        return line
    return line.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")


def frames(source: Source, dialect: Dialect) -> Generator[bytes, None, None]:
    """Runs the source and yields its frames. If it is closed early, it still waits for the end of the source.

    If the source raises an exception, the dialect's unfinished end is sent before the exception is raised.
    """
    with source:
        try:
            has_ended = yield from _encode_all(source, dialect)
        except Exception:
            yield from _unfinished_end(dialect)
            raise
        if not has_ended:
            yield from _unfinished_end(dialect)


def _encode_all(source: Source, dialect: Dialect) -> Generator[bytes, None, bool]:
    """Yields the frames of all events of the source. Returns whether the last event was a terminal one."""
    cursor, interval, written = 0, NUDGE_AFTER, time.monotonic()
    while True:
        due = written + interval
        batch = source.wait(cursor, max(0.0, due - time.monotonic()))
        cursor += len(batch)
        if encoded := "".join(map(dialect.encode, batch)):
            yield encoded.encode()
            written, interval = time.monotonic(), NUDGE_AFTER
        if batch and isinstance(batch[-1].event, TERMINAL):
            return True
        if not batch and source.ended:
            return False
        if not encoded and time.monotonic() >= due:  # also after events that the dialect does not have
            yield ((NUDGE if interval == NUDGE_AFTER else HEARTBEAT) + dialect.comment_end).encode()
            written, interval = time.monotonic(), HEARTBEAT_AFTER


def _unfinished_end(dialect: Dialect) -> Generator[bytes, None, None]:
    if encoded := dialect.unfinished_end():
        yield encoded.encode()
