"""A generation with a scripted model and a writer in memory."""

import time
from collections.abc import Callable, Sequence
from math import inf

from converse_stream.generation.generation import Generation, GenerationLimits, ModelEvents
from converse_stream.model.stream import ModelEnd
from converse_stream.model.transport import Call
from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.events import TERMINAL, Chunk, Event, Message, Part, Progress, Start, Usage
from converse_stream.protocol.log import Entry, end_of
from converse_stream.store.generation_record import End
from converse_stream.store.generation_writer import Signals

USER = Message("m1", "user", (Chunk("hi"),), "2026-01-01T00:00:00.000Z")
USAGE = Usage(3, 4, basis="exact")


class FakeWriter:
    """A writer that keeps what it receives in memory, or raises StorageError."""

    def __init__(self, *, fails: bool = False) -> None:
        self.answers: list[Message] = []
        self.ends: list[End] = []
        self.flushed: list[Entry] = []
        self.signals = Signals(cancelled=False, followed=False)
        self.fails = fails

    @property
    def durable(self) -> int:
        return end_of(self.flushed)

    def flush(self, entries: Sequence[Entry]) -> Signals:
        if self.fails:
            raise StorageError
        self.flushed += entries
        return self.signals

    def finish(self, answer: Message, end: End) -> None:
        if self.fails:
            raise StorageError
        self.answers.append(answer)
        self.ends.append(end)


def new_generation(
    model: Callable[[Call], ModelEvents],
    writer: FakeWriter,
    *,
    seconds: float = 30,
    idle: float = 30,
    size: int = 1000,
    tokens: float = inf,
    prefix: Sequence[Entry] = (),
) -> Generation:
    """A generation whose estimated usage costs one billionth of a dollar with nova-lite, two with any other model.

    `seconds` and `idle` are the time limits in seconds, `size` is the limit of the answer in characters, as stored, and
    `tokens` that of the estimate.
    """
    start = Start("conversation", "answer", "generation", "nova-lite")
    limits = GenerationLimits(time.monotonic() + seconds, idle, size, tokens)

    def estimate(text: str, alias: str) -> Usage:
        return Usage(1, len(text), basis="estimated", cost=1 if alias == "nova-lite" else 2)

    return Generation(start, USER, model, writer, estimate, limits, "request", prefix=prefix)


def model_sending(*events: Part | Progress | ModelEnd | Exception) -> Callable[[Call], ModelEvents]:
    def model(_: Call) -> ModelEvents:
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event

    return model


def model_stalling_after(*events: Chunk | Progress) -> Callable[[Call], ModelEvents]:
    def model(call: Call) -> ModelEvents:
        yield from events
        call.pause(60)

    return model


def read_to_end(generation: Generation) -> Sequence[Event]:
    events: list[Event] = []
    with generation:
        while not (events and isinstance(events[-1], TERMINAL)):
            events += [placed.event for placed in generation.wait(len(events), 5)]
    return events
