"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): a turn as frames.

Several events that wait leave together, as one write. After a burst with nothing behind it follows one tiny comment,
so that no proxy sits on a small chunk; in a long silence, a heartbeat keeps idle time-outs away, from the first moment.
"""

from collections.abc import Callable, Generator

from chat.events import TERMINAL, Event
from chat.turn import Turn

HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}
NUDGE, NUDGE_AFTER = b":\n", 0.1  # seconds of silence after a burst
HEARTBEAT, HEARTBEAT_AFTER = b": hb\n", 10.0  # one LF: two make some clients see an empty event


def frames(turn: Turn, encode: Callable[[Event], str]) -> Generator[bytes, None, None]:
    """Runs the turn and yields its frames. Closed early, it waits for the turn's end all the same."""
    cursor, patience = 0, NUDGE_AFTER
    with turn:
        while True:
            batch = turn.wait(cursor, patience)
            if batch:
                cursor += len(batch)
                yield "".join(f"data: {encode(event)}\n\n" for event in batch).encode()
                if isinstance(batch[-1], TERMINAL):
                    return
                patience = NUDGE_AFTER
            elif patience == NUDGE_AFTER:
                yield NUDGE
                patience = HEARTBEAT_AFTER
            else:
                yield HEARTBEAT
