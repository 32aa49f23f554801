"""When a completion's stream opens: with the model's first event, its refusal, or after long enough."""

import time
from collections.abc import Sequence

import pytest

import completions
from converse_stream.protocol.events import (
    Chunk,
    Complete,
    Error,
    Event,
    Message,
    Progress,
    Start,
    Timing,
    Usage,
)
from converse_stream.protocol.log import PositionedEvent

START = Start("", "m", "g", "nova-lite")
MESSAGE = Message("m", "user", (), "")
COMPLETE = Complete("stop", MESSAGE, MESSAGE, Usage(), Timing(0))
ERROR = Error("model_throttled", "The model is busy.", True, 503, "r", None)


class Script:
    """A source whose events come a moment apart, and then none."""

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
    ids=["text", "refusal", "nothing said"],
)
def test_the_first_event_is_the_model_s(events: list[Event], first: Event) -> None:
    assert completions.first_event(Script(*events)) == first


def test_a_silent_model_is_not_waited_for_any_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completions, "OPENING", 0.05)
    assert completions.first_event(Script(START, Progress("retry"))) is None
