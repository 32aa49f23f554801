"""A Bedrock that answers ConverseStream at once, with prepared frames: each delta is the same word."""

import asyncio
import time
from dataclasses import dataclass

from bench.servers.http import Connection, Message, Server
from local_stack.bedrock.eventstream import CONTENT_TYPE, encode_event

WORD = " river"  # it occurs nowhere else in a response
PADDING = "abcdefghijklmnopqrs"  # Bedrock pads its events in a field `p`, of random length

_HEAD = (
    f"HTTP/1.1 200 OK\r\nx-amzn-RequestId: 1\r\nContent-Type: {CONTENT_TYPE}\r\nTransfer-Encoding: chunked\r\n\r\n"
).encode()


@dataclass(frozen=True)
class Answer:
    """The next answers: the number of deltas, and the seconds between two of them. 0 sends all in one write."""

    tokens: int
    pace: float = 0.0


def _chunk(name: str, payload: dict[str, object]) -> bytes:
    frame = encode_event(name, payload)
    return b"%x\r\n%b\r\n" % (len(frame), frame)


_START = _HEAD + _chunk("messageStart", {"role": "assistant", "p": PADDING})
_DELTA = _chunk("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": WORD}, "p": PADDING})
_STOP = _chunk("contentBlockStop", {"contentBlockIndex": 0, "p": PADDING}) + _chunk(
    "messageStop", {"stopReason": "end_turn", "p": PADDING}
)


class ModelServer(Server):
    """`answer` is what it sends. `sent` has the times at which the deltas of the last answer were sent."""

    def __init__(self) -> None:
        self.answer = Answer(1)
        self.sent: list[float] = []
        self.requested_at = 0.0

    def receive(self, connection: Connection, request: Message) -> None:
        if not request.target.endswith("/converse-stream"):
            connection.reply("404 Not Found", b"{}", "x-amzn-errortype: UnknownOperationException\r\n")
            return
        answer, self.requested_at = self.answer, time.perf_counter()
        self.sent = []
        connection.transport.write(_START)
        if answer.pace:
            self._send_next(connection, answer, self.requested_at)
        else:
            self.sent = [time.perf_counter()] * answer.tokens
            connection.transport.write(_DELTA * answer.tokens + _end(answer.tokens))

    def _send_next(self, connection: Connection, answer: Answer, start: float) -> None:
        self.sent.append(time.perf_counter())
        connection.transport.write(_DELTA)
        if len(self.sent) == answer.tokens:
            connection.transport.write(_end(answer.tokens))
            return
        delay = start + len(self.sent) * answer.pace - time.perf_counter()
        asyncio.get_running_loop().call_later(delay, self._send_next, connection, answer, start)


def _end(tokens: int) -> bytes:
    usage = {"inputTokens": 20, "outputTokens": tokens, "totalTokens": 20 + tokens}
    return _STOP + _chunk("metadata", {"usage": usage, "metrics": {"latencyMs": 1}, "p": PADDING}) + b"0\r\n\r\n"
