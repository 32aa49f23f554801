"""What a turn becomes on the wire while it is made: frames, and signs of life between them."""

import pytest

from converse_stream.dialects import native, sse
from converse_stream.dialects.ai_sdk.frames import AiSdk
from converse_stream.dialects.native import Native
from converse_stream.dialects.openai.frames import OpenAI
from converse_stream.dialects.plain import Plain
from converse_stream.generation.generation import ModelEvents
from converse_stream.model.stream import ModelEnd
from converse_stream.model.transport import Call
from converse_stream.protocol.events import Chunk, Reasoning, Start
from converse_stream.protocol.log import PositionedEvent
from tests.unit.generations import USAGE, Stored, falls_silent, says, turn


def test_frames_carry_the_position_of_what_is_logged() -> None:
    frames = b"".join(sse.frames(turn(says(Chunk("a🌊"), ModelEnd("stop", USAGE)), Stored()), Native("gid")))
    assert 'id: gid:2\ndata: {"type":"chunk","content":"a🌊"}\n\n' in frames.decode()
    assert frames.count(b"id: ") == 1


def test_frames_open_at_once_batch_what_waits_and_end() -> None:
    frames = b"".join(
        sse.frames(turn(says(*map(Chunk, "abc"), ModelEnd("stop", USAGE)), Stored()), Native("generation"))
    )
    lines = [line for line in frames.decode().split("\n\n") if line]
    assert lines[0].startswith('data: {"type":"start"')
    assert lines[-1].startswith('data: {"type":"complete"')


def test_silence_brings_one_nudge_and_then_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "NUDGE_AFTER", 0.02)
    monkeypatch.setattr(sse, "HEARTBEAT_AFTER", 0.05)
    frames = list(sse.frames(turn(falls_silent(Chunk("a")), Stored(), seconds=0.5), Native("generation")))
    quiet = [frame for frame in frames if frame.startswith(b":")]
    assert quiet[0] == b":\n"
    assert quiet.count(b":\n") <= 2  # after `start`, and after the one burst
    assert quiet[-3:] == [b": hb\n"] * 3


def test_a_dialect_without_words_for_what_comes_is_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "NUDGE_AFTER", 0.02)
    monkeypatch.setattr(sse, "HEARTBEAT_AFTER", 0.05)

    def thinks(call: Call) -> ModelEvents:
        for _ in range(50):
            yield Reasoning("hm")
            call.pause(0.01)
        yield ModelEnd("stop", USAGE)

    frames = list(sse.frames(turn(thinks, Stored()), Plain()))
    assert frames.count(b": hb\n\n") >= 3
    assert frames[-1] == b"data: [DONE]\n\n"


def test_frames_closed_early_leave_a_stored_answer() -> None:
    def speak(call: Call) -> ModelEvents:
        yield Chunk("a")
        call.pause(0.2)
        yield Chunk("b")
        yield ModelEnd("stop", USAGE)

    store = Stored()
    frames = sse.frames(turn(speak, store), Native("generation"))
    next(frames)
    frames.close()
    assert store.answers[0].text == "ab"


class Breaking:
    """A source that fails behind its first piece."""

    ended = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def wait(self, cursor: int, timeout: float) -> list[PositionedEvent]:
        if cursor:
            raise ZeroDivisionError
        return [PositionedEvent(Start("c", "m", "g", "nova-lite"), 0), PositionedEvent(Chunk("a"), 1)]


@pytest.mark.parametrize("dialect", [Plain(), AiSdk(), OpenAI(0)])
def test_a_source_that_fails_leaves_no_stream_without_its_last_frame(dialect: sse.Dialect) -> None:
    frames = sse.frames(Breaking(), dialect)
    assert b"error" not in next(frames)
    assert b'"error' in next(frames)
    with pytest.raises(ZeroDivisionError):
        next(frames)


def test_line_separators_are_escaped() -> None:
    encoded = sse.data(native.to_json(Chunk("a\u2028b\u2029c\x85d\ne🌊")))
    assert encoded.splitlines() == [encoded.rstrip(), ""]
    assert "🌊" in encoded
