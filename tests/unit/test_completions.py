"""When the stream of a completion opens: at the model's first event, at its error, or after a time limit."""

import time
from collections.abc import Sequence

import pytest

import completions
from converse_stream.protocol.events import Chunk, Complete, Error, Event, Message, Progress, Start, Timing, Usage
from converse_stream.protocol.log import PositionedEvent

START = Start("", "m", "g", "nova-lite")
MESSAGE = Message("m", "user", (), "")
COMPLETE = Complete("stop", MESSAGE, MESSAGE, Usage(), Timing(0))
ERROR = Error("model_throttled", "The model is busy.", True, 503, "r", None)


class Script:
    """A source that returns one event every 10 ms, and no events after the last."""

    ended = False

    def __init__(self, *events: Event) -> None:
        self._log = [PositionedEvent(event, 0) for event in events]

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def wait(self, cursor: int, timeout: float) -> Sequence[PositionedEvent]:
        time.sleep(min(timeout, 0.01) if self._log[cursor:] else timeout)
        return self._log[cursor : cursor + 1]


@pytest.mark.parametrize(
    ("events", "first"),
    [
        ([START, Progress("retry"), Chunk("a"), COMPLETE], Chunk("a")),
        ([START, Progress("fallback", "nova-micro"), ERROR], ERROR),
        ([START, COMPLETE], COMPLETE),
    ],
    ids=["text", "error", "no-text"],
)
def test_first_event_is_the_first_one_of_the_model(events: list[Event], first: Event) -> None:
    assert completions.first_event(Script(*events)) == first


def test_first_event_is_none_after_the_time_limit_without_model_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completions, "FIRST_EVENT_SECONDS", 0.05)
    assert completions.first_event(Script(START, Progress("retry"))) is None
