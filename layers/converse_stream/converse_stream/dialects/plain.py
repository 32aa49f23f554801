"""The plain dialect of many older front ends: `{"content"}` chunks, `{"error"}`, and `[DONE]` at the end."""

from converse_stream.dialects import sse
from converse_stream.protocol.events import TERMINAL, Chunk, Error
from converse_stream.protocol.log import PositionedEvent


class Plain:
    """Text, errors and the end. This dialect has no other events."""

    comment_end = "\n\n"  # its clients split at blank lines

    def encode(self, positioned: PositionedEvent) -> str:
        """The frames of the event."""
        match positioned.event:
            case Chunk(content):
                return sse.data({"content": content})
            case Error(message=message):
                return sse.data({"error": message}) + sse.DONE
            case end if isinstance(end, TERMINAL):
                return sse.DONE
        return ""

    def unfinished_end(self) -> str:
        """An error: a client of this dialect takes each end for the end of the answer."""
        return sse.data({"error": "The answer is still being made."}) + sse.DONE
