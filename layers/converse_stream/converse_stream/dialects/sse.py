"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): a turn as frames.

Several events that wait leave together, as one write. After a burst with nothing behind it follows one tiny comment,
so that no proxy sits on a small chunk; in a long silence, a heartbeat keeps idle time-outs away, from the first moment.
"""

import json
import time
from collections.abc import Generator, Sequence
from typing import Protocol

from converse_stream.protocol.events import TERMINAL
from converse_stream.protocol.log import PositionedEvent

HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}
NUDGE, NUDGE_AFTER = ":", 0.1  # seconds of silence after a burst
HEARTBEAT, HEARTBEAT_AFTER = ": hb", 10.0
DONE = "data: [DONE]\n\n"  # the last frame of protocols that have one


class Source(Protocol):
    """A turn, or somebody else's turn that is followed."""

    def __enter__(self) -> object:
        """Begins it."""

    def __exit__(self, *_: object) -> None:
        """Ends it."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will come."""

    def wait(self, cursor: int, timeout: float) -> Sequence[PositionedEvent]:
        """The events after the first `cursor` ones; empty when none came within `timeout` seconds."""


class Dialect(Protocol):
    """A protocol that clients speak. What it says depends on the events alone."""

    comment_end: str  # one LF where it can be: two make some clients see an empty event

    def encode(self, placed: PositionedEvent) -> str:
        """The frames of an event, none for one that it has no words for; a terminal event's close everything."""

    def cut(self) -> str:
        """The frames of an end without a terminal event: the answer is still being made."""


def data(value: object) -> str:
    """One frame with the value as a line of JSON. Characters that some readers take for line ends are escaped."""
    line = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if not line.isascii():
        line = line.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")
    return f"data: {line}\n\n"


def frames(source: Source, dialect: Dialect) -> Generator[bytes, None, None]:
    """Runs the source and yields its frames. Closed early, it waits for the turn's end all the same.

    Where the source fails, the dialect's cut is the last frame before the exception.
    """
    with source:
        try:
            has_ended = yield from _until_the_end(source, dialect)
        except Exception:
            yield from _cut(dialect)
            raise
        if not has_ended:
            yield from _cut(dialect)


def _until_the_end(source: Source, dialect: Dialect) -> Generator[bytes, None, bool]:
    """The frames of what the source says; whether a terminal event was among it."""
    cursor, patience, written = 0, NUDGE_AFTER, time.monotonic()
    while True:
        due = written + patience
        batch = source.wait(cursor, max(0.0, due - time.monotonic()))
        cursor += len(batch)
        if said := "".join(map(dialect.encode, batch)):
            yield said.encode()
            written, patience = time.monotonic(), NUDGE_AFTER
        if batch and isinstance(batch[-1].event, TERMINAL):
            return True
        if not batch and source.ended:
            return False
        if not said and time.monotonic() >= due:  # also where the dialect has no words for what comes
            yield ((NUDGE if patience == NUDGE_AFTER else HEARTBEAT) + dialect.comment_end).encode()
            written, patience = time.monotonic(), HEARTBEAT_AFTER


def _cut(dialect: Dialect) -> Generator[bytes, None, None]:
    if said := dialect.cut():
        yield said.encode()
