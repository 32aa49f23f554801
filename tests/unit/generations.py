"""A turn over a scripted model and a ledger in memory."""

import time
from collections.abc import Callable, Sequence

from converse_stream.generation.generation import Generation, GenerationLimits, ModelEvents
from converse_stream.model.stream import ModelEnd
from converse_stream.model.transport import Call
from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.events import (
    TERMINAL,
    Chunk,
    Event,
    Message,
    Progress,
    Reasoning,
    Start,
    Usage,
)
from converse_stream.protocol.log import Entry, end_of
from converse_stream.store.generation_record import End
from converse_stream.store.generation_writer import Signals

USER = Message("m1", "user", (Chunk("hi"),), "2026-01-01T00:00:00.000Z")
USAGE = Usage(3, 4, basis="exact")


class Stored:
    """A ledger that remembers what it was given, or fails."""

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


def turn(
    speak: Callable[[Call], ModelEvents],
    store: Stored,
    *,
    seconds: float = 30,
    idle: float = 30,
    size: int = 1000,
    begun: Sequence[Entry] = (),
) -> Generation:
    """A guess costs a billionth where nova-lite speaks, and two where another does."""
    start = Start("conversation", "answer", "generation", "nova-lite")
    limits = GenerationLimits(time.monotonic() + seconds, idle, size)

    def estimate(said: str, alias: str) -> Usage:
        return Usage(1, len(said), basis="estimated", cost=1 if alias == "nova-lite" else 2)

    return Generation(start, USER, speak, store, estimate, limits, "request", prefix=begun)


def says(*events: Chunk | Reasoning | Progress | ModelEnd | Exception) -> Callable[[Call], ModelEvents]:
    def speak(_: Call) -> ModelEvents:
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event

    return speak


def falls_silent(*events: Chunk | Progress) -> Callable[[Call], ModelEvents]:
    def speak(call: Call) -> ModelEvents:
        yield from events
        call.pause(60)

    return speak


def followed(running: Generation) -> Sequence[Event]:
    events: list[Event] = []
    with running:
        while not (events and isinstance(events[-1], TERMINAL)):
            events += [placed.event for placed in running.wait(len(events), 5)]
    return events
