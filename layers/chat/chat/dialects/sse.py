"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): a turn as frames.

Several events that wait leave together, as one write. After a burst with nothing behind it follows one tiny comment,
so that no proxy sits on a small chunk; in a long silence, a heartbeat keeps idle time-outs away, from the first moment.
"""

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

from chat.events import TERMINAL, Event
from chat.log import ENTRIES, Placed

HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}
NUDGE, NUDGE_AFTER = b":\n", 0.1  # seconds of silence after a burst
HEARTBEAT, HEARTBEAT_AFTER = b": hb\n", 10.0  # one LF: two make some clients see an empty event


class Source(Protocol):
    """A turn, or somebody else's turn that is followed."""

    def __enter__(self) -> object:
        """Begins it."""

    def __exit__(self, *_: object) -> None:
        """Ends it."""

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""

    def wait(self, cursor: int, timeout: float) -> Sequence[Placed]:
        """The events after the first `cursor` ones; empty when none came within `timeout` seconds."""


def frames(source: Source, generation: str, encode: Callable[[Event], str]) -> Generator[bytes, None, None]:
    """Runs the source and yields its frames. Closed early, it waits for the turn's end all the same.

    What is logged carries `id: <generation>:<position>`, which a client gives back to go on from there.
    """
    cursor, patience = 0, NUDGE_AFTER
    with source:
        while True:
            batch = source.wait(cursor, patience)
            if batch:
                cursor += len(batch)
                yield "".join(_frame(placed, generation, encode) for placed in batch).encode()
                if isinstance(batch[-1].event, TERMINAL):
                    return
                patience = NUDGE_AFTER
            elif source.over:
                return
            elif patience == NUDGE_AFTER:
                yield NUDGE
                patience = HEARTBEAT_AFTER
            else:
                yield HEARTBEAT


def _frame(placed: Placed, generation: str, encode: Callable[[Event], str]) -> str:
    data = f"data: {encode(placed.event)}\n\n"
    if isinstance(placed.event, ENTRIES):
        return f"id: {generation}:{placed.position}\n{data}"
    return data
