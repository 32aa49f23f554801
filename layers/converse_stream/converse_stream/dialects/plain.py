"""The shape that many older front ends read: `{"content"}` pieces, `{"error"}`, and `[DONE]` at the end."""

from converse_stream.dialects import sse
from converse_stream.protocol.events import TERMINAL, Chunk, Error
from converse_stream.protocol.log import PositionedEvent


class Plain:
    """Text, errors and the end; the rest has no words here."""

    comment_end = "\n\n"  # its readers split at blank lines

    def encode(self, placed: PositionedEvent) -> str:
        """The event's frames."""
        match placed.event:
            case Chunk(content):
                return sse.data({"content": content})
            case Error(message=message):
                return sse.data({"error": message}) + sse.DONE
            case end if isinstance(end, TERMINAL):
                return sse.DONE
        return ""

    def cut(self) -> str:
        """An error: a reader of this shape takes any end for the answer's."""
        return sse.data({"error": "The answer is still being made."}) + sse.DONE
