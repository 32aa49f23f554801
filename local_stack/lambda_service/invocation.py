"""One invocation, from the event to the last byte that the runtime sends for it."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Failure:
    """An invocation that ended without a result; `payload` is the JSON that Lambda's Invoke API returns for it."""

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
    """A streamed result ended before its end."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.error_type)
        self.failure = failure


class Stream:
    """A streamed result, still arriving.

    The side that receives it from the function never waits for the side that hands it to the client: Lambda takes
    in what the function sends at its own pace, and tells it nothing of a client that reads slowly or left.
    """

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
        self._arrived: asyncio.Queue[bytes | Failure | None] = asyncio.Queue()
        self._wanted = True

    def feed(self, chunk: bytes) -> None:
        if self._wanted:
            self._arrived.put_nowait(chunk)

    def end(self, failure: Failure | None = None) -> None:
        self._arrived.put_nowait(failure)

    def discard(self) -> None:
        """Keep nothing of what is still to come: nobody reads it."""
        self._wanted = False
        self._arrived = asyncio.Queue()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Each chunk as it came. Raises StreamBroken where the stream broke off."""
        while (item := await self._arrived.get()) is not None:
            if isinstance(item, Failure):
                raise StreamBroken(item)
            yield item


Answer = Result | Stream | Failure


@dataclass
class Invocation:
    """`deadline` in seconds since the epoch. `answer` is set once: for a stream, when it begins."""

    payload: bytes
    arn: str
    deadline: float
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    invocation_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    trace_id: str = field(default_factory=lambda: f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0")
    answer: asyncio.Future[Answer] = field(default_factory=asyncio.Future)

    def finish(self, failure: Failure) -> None:
        """End with a failure whatever has not ended yet."""
        if not self.answer.done():
            self.answer.set_result(failure)
        elif isinstance(stream := self.answer.result(), Stream):
            stream.end(failure)
