"""A generation ends exactly once, with one terminal event, after the answer is stored."""

import json
import threading
import time
from collections.abc import Callable, Generator, Sequence

import pytest

from converse_stream.dialects import native, sse
from converse_stream.generation.generation import ModelEvents
from converse_stream.model.stream import ModelEnd
from converse_stream.model.transport import Call
from converse_stream.protocol.errors import ModelThrottled
from converse_stream.protocol.events import (
    TERMINAL,
    Chunk,
    Complete,
    Error,
    Event,
    Message,
    Progress,
    Reasoning,
    ReasoningSignature,
    Start,
    Usage,
)
from converse_stream.protocol.log import Entry, end_of
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.store.generation_record import End
from converse_stream.store.generation_writer import Fenced, Signals
from tests.unit.generations import (
    USAGE,
    USER,
    FakeWriter,
    model_sending,
    model_stalling_after,
    new_generation,
    read_to_end,
)


def test_generation_sends_start_then_content_then_complete() -> None:
    writer = FakeWriter()
    events = read_to_end(
        new_generation(model_sending(Reasoning("so"), Chunk("a"), Chunk("b"), ModelEnd("stop", USAGE)), writer)
    )
    assert isinstance(events[0], Start)
    assert events[1:4] == [Reasoning("so"), Chunk("a"), Chunk("b")]
    end = events[4]
    assert isinstance(end, Complete)
    assert end.ai_message == writer.answers[0]
    assert end.ai_message.text == "ab"
    assert (end.usage, end.user_message, end.finish_reason) == (USAGE, USER, "stop")


def test_answer_is_stored_before_complete_is_sent() -> None:
    stored = threading.Event()

    class SlowWriter(FakeWriter):
        def finish(self, answer: Message, end: End) -> None:
            time.sleep(0.1)
            super().finish(answer, end)
            stored.set()

    with new_generation(model_sending(Chunk("a"), ModelEnd("stop", USAGE)), SlowWriter()) as generation:
        cursor = 0
        while events := generation.wait(cursor, 5):
            cursor += len(events)
            if isinstance(events[-1].event, TERMINAL):
                assert stored.is_set()
                return


@pytest.mark.parametrize("size", [1, 3, 8])
def test_budget_ends_the_answer_with_the_chunk_whose_estimate_exceeds_it(size: int) -> None:
    text = "Rivers are 1,000 times longer. 河川について" * 3
    chunks = [Chunk(text[start : start + size]) for start in range(0, len(text), size)]
    generation = new_generation(model_sending(*chunks, ModelEnd("stop", USAGE)), FakeWriter(), size=10_000, tokens=25)
    end = read_to_end(generation)[-1]
    assert isinstance(end, Complete)
    sent = end.ai_message.text
    assert (end.finish_reason, sent) == ("budget", text[: len(sent)])
    assert estimate_tokens(sent[:-size]) <= 25 < estimate_tokens(sent)


@pytest.mark.parametrize("model", [model_sending(ModelEnd("stop", USAGE)), model_sending(ModelThrottled())])
def test_end_without_new_content_contains_the_restored_message(model: Callable[[Call], ModelEvents]) -> None:
    replaced = Message("replaced", "assistant", (Chunk("good"),), "2026-01-01T00:00:00.000Z")

    class ReplacingWriter(FakeWriter):
        def finish(self, answer: Message, end: End) -> Message:  # type: ignore[override]  # the return type of the product's writer
            super().finish(answer, end)
            return replaced

    end = read_to_end(new_generation(model, ReplacingWriter()))[-1]
    if isinstance(end, Error):
        assert (end.code, end.message_id) == ("model_throttled", "replaced")
    else:
        assert isinstance(end, Complete)
        assert (end.ai_message, end.usage) == (replaced, USAGE)


@pytest.mark.parametrize(
    ("failure", "code"), [(ModelThrottled(), "model_throttled"), (ValueError("secret"), "internal")]
)
def test_failure_stores_the_partial_text_and_hides_the_exception(failure: Exception, code: str) -> None:
    writer = FakeWriter()
    end = read_to_end(new_generation(model_sending(Chunk("half"), failure), writer))[-1]
    assert isinstance(end, Error)
    assert (end.code, end.message_id) == (code, "answer")
    assert "secret" not in sse.data(native.to_json(end))
    assert (writer.answers[0].text, writer.answers[0].status) == ("half", "failed")


def test_model_stream_without_an_end_event_is_an_error() -> None:
    end = read_to_end(new_generation(model_sending(Chunk("half")), FakeWriter()))[-1]
    assert isinstance(end, Error)


def test_deadline_cancels_a_silent_model_and_stores_the_partial_answer() -> None:
    writer = FakeWriter()
    end = read_to_end(new_generation(model_stalling_after(Chunk("half")), writer, seconds=0.2))[-1]
    assert isinstance(end, Complete)
    assert end.finish_reason == "deadline"
    assert (writer.answers[0].text, writer.answers[0].status) == ("half", "partial")


def test_model_silent_beyond_the_idle_limit_is_model_timeout() -> None:
    writer = FakeWriter()
    end = read_to_end(new_generation(model_stalling_after(Chunk("half")), writer, idle=0.2))[-1]
    assert isinstance(end, Error)
    assert end.code == "model_timeout"
    assert writer.answers[0].text == "half"


def test_received_data_without_events_resets_the_idle_limit() -> None:
    def model(call: Call) -> ModelEvents:
        for _ in range(10):
            call.pause(0.05)
            call.last_received = time.monotonic()  # the transport also sets it for data that becomes no event
        yield ModelEnd("stop", USAGE)

    end = read_to_end(new_generation(model, FakeWriter(), idle=0.25))[-1]
    assert isinstance(end, Complete)


def test_answer_over_the_size_limit_ends_with_length() -> None:
    writer = FakeWriter()
    end = read_to_end(
        new_generation(model_sending(*[Chunk("x" * 100)] * 20, ModelEnd("stop", USAGE)), writer, size=500)
    )[-1]
    assert isinstance(end, Complete)
    assert end.finish_reason == "length"
    assert writer.answers[0].text == "x" * 500


def test_signature_counts_for_the_size_and_is_stored_but_not_visible() -> None:
    signature = ReasoningSignature("s" * 100_000, "claude")
    for size, stored in ((101_000, (Reasoning("hm"), signature, Chunk("a"))), (100_000, (Reasoning("hm"),))):
        writer = FakeWriter()
        model = model_sending(Reasoning("hm"), signature, Chunk("a"), ModelEnd("stop", USAGE))
        events = read_to_end(new_generation(model, writer, size=size))
        end = events[-1]
        assert isinstance(end, Complete)
        assert end.finish_reason == ("stop" if signature in stored else "length")
        assert writer.answers[0].parts == stored
        assert "signature" not in json.dumps(native.complete_fields(end))


def test_answer_that_cannot_be_stored_ends_with_a_storage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converse_stream.generation.generation.FINISH_SECONDS", 0)
    monkeypatch.setattr("converse_stream.generation.generation.FINISH_RETRY_SECONDS", 0)
    end = read_to_end(new_generation(model_sending(Chunk("a"), ModelEnd("stop", USAGE)), FakeWriter(fails=True)))[-1]
    assert isinstance(end, Error)
    assert (end.code, end.message_id) == ("storage", None)


def test_reader_that_ignores_the_cancellation_does_not_delay_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converse_stream.generation.generation.READER_GRACE_SECONDS", 0.1)
    released = threading.Event()

    def model(_: Call) -> ModelEvents:
        yield Chunk("half")
        released.wait(10)
        yield Chunk("too late")

    writer = FakeWriter()
    generation = new_generation(model, writer, seconds=0.1)
    events: list[Event] = []
    generation.__enter__()
    while not (events and isinstance(events[-1], TERMINAL)):
        events += [positioned.event for positioned in generation.wait(len(events), 5)]
    released.set()
    generation.join()
    assert writer.answers[0].text == "half"
    assert Chunk("too late") not in events


def test_failing_supervisor_still_ends_the_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("secret")

    monkeypatch.setattr(Call, "cancel", broken)
    writer = FakeWriter()
    released = threading.Event()

    def model(_: Call) -> ModelEvents:
        yield Chunk("half")
        released.wait(5)

    generation = new_generation(model, writer, seconds=0.1)
    generation.__enter__()
    events: list[Event] = []
    while not (events and isinstance(events[-1], TERMINAL)):
        events += [positioned.event for positioned in generation.wait(len(events), 5)]
    released.set()
    generation.join()
    assert writer.answers[0].text == "half"
    assert "secret" not in sse.data(native.to_json(events[-1]))


def test_duration_excludes_the_time_of_storing() -> None:
    class SlowWriter(FakeWriter):
        def finish(self, answer: Message, end: End) -> None:
            time.sleep(0.5)

    end = read_to_end(new_generation(model_sending(Chunk("a"), ModelEnd("stop", USAGE)), SlowWriter()))[-1]
    assert isinstance(end, Complete)
    assert end.timing.duration_ms < 400


def test_stored_answer_names_the_fallback_model() -> None:
    writer = FakeWriter()
    read_to_end(new_generation(model_sending(Chunk("a"), ModelEnd("stop", USAGE, "nova-micro")), writer))
    assert writer.answers[0].model == "nova-micro"


def test_cancelled_fallback_is_stored_with_its_name_and_price() -> None:
    writer = FakeWriter()
    end = read_to_end(
        new_generation(model_stalling_after(Progress("fallback", "nova-micro"), Chunk("half")), writer, seconds=0.1)
    )[-1]
    assert isinstance(end, Complete)
    assert (writer.answers[0].model, end.usage.cost) == ("nova-micro", 2)


def test_usage_of_a_continued_answer_excludes_the_prefix() -> None:
    end = read_to_end(
        new_generation(model_stalling_after(Chunk("new")), FakeWriter(), seconds=0.1, prefix=[Chunk("long ago")])
    )[-1]
    assert isinstance(end, Complete)
    assert (end.ai_message.text, end.usage.output_tokens) == ("long agonew", 3)


def test_throttled_continuation_costs_nothing() -> None:
    writer = FakeWriter()
    read_to_end(new_generation(model_sending(ModelThrottled()), writer, prefix=[Chunk("long ago")]))
    assert writer.ends[0].usage == Usage()


def test_two_followers_receive_the_same_events() -> None:
    generation = new_generation(model_sending(*map(Chunk, "abc"), ModelEnd("stop", USAGE)), FakeWriter())
    first = read_to_end(generation)
    assert [positioned.event for positioned in generation.wait(0, 0)] == first


def test_model_stream_is_closed_when_the_generation_ends() -> None:
    closed = threading.Event()

    def model(_: Call) -> Generator[Chunk | ModelEnd, None, None]:
        try:
            yield from [Chunk("x" * 100)] * 20
        finally:
            closed.set()

    read_to_end(new_generation(model, FakeWriter(), size=10))
    assert closed.is_set()


# The stored log


def model_sending_for(*, seconds: float, pause: float = 0.02) -> Callable[[Call], ModelEvents]:
    def model(call: Call) -> ModelEvents:
        for _ in range(int(seconds / pause)):
            call.pause(pause)
            call.last_received = time.monotonic()
            yield Chunk("word ")
        yield ModelEnd("stop", USAGE)

    return model


def test_text_is_flushed_before_the_generation_ends() -> None:
    writer = FakeWriter()
    with new_generation(model_sending_for(seconds=5), writer, size=100_000) as generation:
        deadline = time.monotonic() + 2
        while not writer.flushed:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not generation.ended
        writer.signals = Signals(cancelled=True, followed=False)
    assert writer.answers[0].text == "".join(entry.content for entry in writer.flushed if isinstance(entry, Chunk))


def test_cancel_ends_the_generation_within_one_flush() -> None:
    writer = FakeWriter()
    generation = new_generation(model_sending_for(seconds=20), writer, size=100_000)
    threading.Timer(0.5, lambda: setattr(writer, "signals", Signals(cancelled=True, followed=False))).start()
    started = time.monotonic()
    end = read_to_end(generation)[-1]
    assert isinstance(end, Complete)
    assert end.finish_reason == "cancelled"
    assert time.monotonic() - started < 5
    assert (writer.answers[0].status, writer.ends[0].status) == ("partial", "cancel")
    assert (end.usage.basis, end.usage.output_tokens > 0) == ("estimated", True)


def test_cancel_before_the_first_model_event_ends_the_generation() -> None:
    writer = FakeWriter()
    writer.signals = Signals(cancelled=True, followed=False)
    end = read_to_end(new_generation(model_stalling_after(), writer))[-1]
    assert isinstance(end, Complete)
    assert (end.finish_reason, end.usage.basis, end.ai_message.parts) == ("cancelled", "estimated", ())


def test_temporary_storage_failure_loses_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converse_stream.generation.generation.FLUSH_SECONDS", 0.05)
    writer = FakeWriter(fails=True)
    threading.Timer(0.5, lambda: setattr(writer, "fails", False)).start()
    end = read_to_end(new_generation(model_sending_for(seconds=1), writer, size=100_000))[-1]
    assert isinstance(end, Complete)
    assert end_of(writer.flushed) == len(end.ai_message.text) == 250


def test_permanent_storage_failure_ends_the_generation_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("MAX_UNSAVED_SECONDS", 0.3),
        ("FLUSH_SECONDS", 0.05),
        ("FIRST_FLUSH_SECONDS", 0.05),
        ("FINISH_SECONDS", 0.1),
    ):
        monkeypatch.setattr(f"converse_stream.generation.generation.{name}", value)
    writer = FakeWriter(fails=True)
    started = time.monotonic()
    end = read_to_end(new_generation(model_sending_for(seconds=20), writer, size=100_000))[-1]
    assert isinstance(end, Error)
    assert (end.code, end.message_id) == ("storage", None)
    assert time.monotonic() - started < 10


def test_fenced_owner_ends_the_generation_with_an_error() -> None:
    class FencedWriter(FakeWriter):
        def flush(self, entries: Sequence[Entry]) -> Signals:
            raise Fenced

        def finish(self, answer: Message, end: End) -> None:
            raise Fenced

    end = read_to_end(new_generation(model_sending_for(seconds=20), FencedWriter(), size=100_000))[-1]
    assert isinstance(end, Error)
    assert end.code == "storage"


def test_no_thread_remains_after_the_generation_ends() -> None:
    before = threading.active_count()
    read_to_end(new_generation(model_sending(Chunk("a"), ModelEnd("stop", USAGE)), FakeWriter()))
    assert threading.active_count() <= before
