"""The frames of a running generation on the wire, and the heartbeats between them."""

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
from tests.unit.generations import USAGE, FakeWriter, model_sending, model_stalling_after, new_generation


def test_frames_contain_the_position_of_logged_events() -> None:
    frames = b"".join(
        sse.frames(new_generation(model_sending(Chunk("a🌊"), ModelEnd("stop", USAGE)), FakeWriter()), Native("gid"))
    )
    assert 'id: gid:2\ndata: {"type":"chunk","content":"a🌊"}\n\n' in frames.decode()
    assert frames.count(b"id: ") == 1


def test_frames_begin_with_start_and_end_with_complete() -> None:
    frames = b"".join(
        sse.frames(
            new_generation(model_sending(*map(Chunk, "abc"), ModelEnd("stop", USAGE)), FakeWriter()),
            Native("generation"),
        )
    )
    lines = [line for line in frames.decode().split("\n\n") if line]
    assert lines[0].startswith('data: {"type":"start"')
    assert lines[-1].startswith('data: {"type":"complete"')


def test_silent_model_causes_one_nudge_and_then_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "NUDGE_AFTER", 0.02)
    monkeypatch.setattr(sse, "HEARTBEAT_AFTER", 0.05)
    frames = list(
        sse.frames(new_generation(model_stalling_after(Chunk("a")), FakeWriter(), seconds=0.5), Native("generation"))
    )
    heartbeats = [frame for frame in frames if frame.startswith(b":")]
    assert heartbeats[0] == b":\n"
    assert heartbeats.count(b":\n") <= 2  # after `start`, and after the one burst
    assert heartbeats[-3:] == [b": hb\n"] * 3


def test_dialect_that_omits_the_events_still_sends_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "NUDGE_AFTER", 0.02)
    monkeypatch.setattr(sse, "HEARTBEAT_AFTER", 0.05)

    def reasoning_model(call: Call) -> ModelEvents:
        for _ in range(50):
            yield Reasoning("hm")
            call.pause(0.01)
        yield ModelEnd("stop", USAGE)

    frames = list(sse.frames(new_generation(reasoning_model, FakeWriter()), Plain()))
    assert frames.count(b": hb\n\n") >= 3
    assert frames[-1] == b"data: [DONE]\n\n"


def test_frames_closed_early_still_store_the_answer() -> None:
    def model(call: Call) -> ModelEvents:
        yield Chunk("a")
        call.pause(0.2)
        yield Chunk("b")
        yield ModelEnd("stop", USAGE)

    writer = FakeWriter()
    frames = sse.frames(new_generation(model, writer), Native("generation"))
    next(frames)
    frames.close()
    assert writer.answers[0].text == "ab"


class FailingSource:
    """A source that fails after its first events."""

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
def test_failing_source_ends_the_stream_with_an_error_frame(dialect: sse.Dialect) -> None:
    frames = sse.frames(FailingSource(), dialect)
    assert b"error" not in next(frames)
    assert b'"error' in next(frames)
    with pytest.raises(ZeroDivisionError):
        next(frames)


def test_unicode_line_separators_are_escaped() -> None:
    encoded = sse.data(native.to_json(Chunk("a\u2028b\u2029c\x85d\ne🌊")))
    assert encoded.splitlines() == [encoded.rstrip(), ""]
    assert "🌊" in encoded
