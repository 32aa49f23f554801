"""An invocation, and its result: in one piece, as a stream, or a failure."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Failure:
    """An invocation that failed. `payload` is the JSON that Lambda's Invoke API returns."""

    error_type: str
    payload: bytes

    @classmethod
    def of(cls, error_type: str, message: str) -> "Failure":
        return cls(error_type, json.dumps({"errorType": error_type, "errorMessage": message}).encode())


@dataclass(frozen=True)
class Result:
    """A result in one piece."""

    payload: bytes


class StreamBroken(Exception):
    """A streamed result failed before its end."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error_type)
        self.failure = failure


class Stream:
    """A streamed result, while it is received.

    The queue is not bounded. Lambda reads a function's stream at its own speed; the function does not notice that a
    client reads slowly or has disconnected.
    """

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
        self._queue: asyncio.Queue[bytes | Failure | None] = asyncio.Queue()
        self._discarded = False

    def feed(self, chunk: bytes) -> None:
        if not self._discarded:
            self._queue.put_nowait(chunk)

    def end(self, failure: Failure | None = None) -> None:
        self._queue.put_nowait(failure)

    def discard(self) -> None:
        """Drop the rest of the stream, because the client does not read any more."""
        self._discarded = True
        self._queue = asyncio.Queue()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the chunks as they are received. Raises StreamBroken if the stream failed."""
        while (item := await self._queue.get()) is not None:
            if isinstance(item, Failure):
                raise StreamBroken(item)
            yield item


Answer = Result | Stream | Failure


@dataclass
class Invocation:
    """An invocation. `deadline` is in seconds since the epoch. `answer` is set once; for a stream, at its start."""

    payload: bytes
    arn: str
    deadline: float
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    invocation_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    trace_id: str = field(default_factory=lambda: f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0")
    answer: asyncio.Future[Answer] = field(default_factory=asyncio.Future)

    def finish(self, failure: Failure) -> None:
        """Fail the invocation, or its stream if that is still running."""
        if not self.answer.done():
            self.answer.set_result(failure)
        elif isinstance(stream := self.answer.result(), Stream):
            stream.end(failure)
