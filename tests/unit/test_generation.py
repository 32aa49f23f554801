"""A turn ends exactly once, with one terminal event, after what was said is stored; whatever happens."""

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
    Start,
    Usage,
)
from converse_stream.protocol.log import Entry, end_of
from converse_stream.store.generation_record import End
from converse_stream.store.generation_writer import Fenced, Signals
from tests.unit.generations import USAGE, USER, Stored, falls_silent, followed, says, turn


def test_a_turn_from_start_to_complete() -> None:
    store = Stored()
    events = followed(turn(says(Reasoning("so"), Chunk("a"), Chunk("b"), ModelEnd("stop", USAGE)), store))
    assert isinstance(events[0], Start)
    assert events[1:4] == [Reasoning("so"), Chunk("a"), Chunk("b")]
    end = events[4]
    assert isinstance(end, Complete)
    assert end.ai_message == store.answers[0]
    assert end.ai_message.text == "ab"
    assert (end.usage, end.user_message, end.finish_reason) == (USAGE, USER, "stop")


def test_the_answer_is_stored_before_complete_is_seen() -> None:
    stored = threading.Event()

    class Slow(Stored):
        def finish(self, answer: Message, end: End) -> None:
            time.sleep(0.1)
            super().finish(answer, end)
            stored.set()

    with turn(says(Chunk("a"), ModelEnd("stop", USAGE)), Slow()) as running:
        cursor = 0
        while events := running.wait(cursor, 5):
            cursor += len(events)
            if isinstance(events[-1].event, TERMINAL):
                assert stored.is_set()
                return


@pytest.mark.parametrize("speech", [says(ModelEnd("stop", USAGE)), says(ModelThrottled())])
def test_an_end_without_anything_new_names_the_message_that_was_put_back(speech: Callable[[Call], ModelEvents]) -> None:
    replaced = Message("replaced", "assistant", (Chunk("good"),), "2026-01-01T00:00:00.000Z")

    class PutsBack(Stored):
        def finish(self, answer: Message, end: End) -> Message:  # type: ignore[override]  # the ledger's own type
            super().finish(answer, end)
            return replaced

    end = followed(turn(speech, PutsBack()))[-1]
    if isinstance(end, Error):
        assert (end.code, end.message_id) == ("model_throttled", "replaced")
    else:
        assert isinstance(end, Complete)
        assert (end.ai_message, end.usage) == (replaced, USAGE)


@pytest.mark.parametrize(
    ("failure", "code"), [(ModelThrottled(), "model_throttled"), (ValueError("secret"), "internal")]
)
def test_a_failure_keeps_what_was_said_and_tells_nothing_else(failure: Exception, code: str) -> None:
    store = Stored()
    end = followed(turn(says(Chunk("half"), failure), store))[-1]
    assert isinstance(end, Error)
    assert (end.code, end.message_id) == (code, "answer")
    assert "secret" not in sse.data(native.to_json(end))
    assert (store.answers[0].text, store.answers[0].status) == ("half", "failed")


def test_a_model_that_ends_without_its_own_stop_is_an_error() -> None:
    end = followed(turn(says(Chunk("half")), Stored()))[-1]
    assert isinstance(end, Error)


def test_the_deadline_stops_a_silent_model_and_keeps_the_partial() -> None:
    store = Stored()
    end = followed(turn(falls_silent(Chunk("half")), store, seconds=0.2))[-1]
    assert isinstance(end, Complete)
    assert end.finish_reason == "deadline"
    assert (store.answers[0].text, store.answers[0].status) == ("half", "partial")


def test_a_model_silent_for_too_long_is_an_error() -> None:
    store = Stored()
    end = followed(turn(falls_silent(Chunk("half")), store, idle=0.2))[-1]
    assert isinstance(end, Error)
    assert end.code == "model_timeout"
    assert store.answers[0].text == "half"


def test_a_speaking_model_is_not_silent() -> None:
    def speak(call: Call) -> ModelEvents:
        for _ in range(10):
            call.pause(0.05)
            call.last_received = time.monotonic()  # as the transport does, also for what becomes no event
        yield ModelEnd("stop", USAGE)

    end = followed(turn(speak, Stored(), idle=0.25))[-1]
    assert isinstance(end, Complete)


def test_an_answer_over_its_size_ends_as_length() -> None:
    store = Stored()
    end = followed(turn(says(*[Chunk("x" * 100)] * 20, ModelEnd("stop", USAGE)), store, size=500))[-1]
    assert isinstance(end, Complete)
    assert end.finish_reason == "length"
    assert store.answers[0].text == "x" * 400  # each is stored as JSON, with its name


def test_an_answer_that_cannot_be_stored_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converse_stream.generation.generation.FINISH_SECONDS", 0)
    monkeypatch.setattr("converse_stream.generation.generation.FINISH_RETRY_SECONDS", 0)
    end = followed(turn(says(Chunk("a"), ModelEnd("stop", USAGE)), Stored(fails=True)))[-1]
    assert isinstance(end, Error)
    assert (end.code, end.message_id) == ("storage", None)


def test_a_reader_that_does_not_notice_the_stop_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converse_stream.generation.generation.READER_GRACE_SECONDS", 0.1)
    released = threading.Event()

    def speak(_: Call) -> ModelEvents:
        yield Chunk("half")
        released.wait(10)
        yield Chunk("too late")

    store = Stored()
    running = turn(speak, store, seconds=0.1)
    events: list[Event] = []
    running.__enter__()
    while not (events and isinstance(events[-1], TERMINAL)):
        events += [placed.event for placed in running.wait(len(events), 5)]
    released.set()
    running.join()
    assert store.answers[0].text == "half"
    assert Chunk("too late") not in events


def test_a_keeper_that_fails_still_ends_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise TypeError("secret")

    monkeypatch.setattr(Call, "cancel", broken)
    store = Stored()
    released = threading.Event()

    def speak(_: Call) -> ModelEvents:
        yield Chunk("half")
        released.wait(5)

    running = turn(speak, store, seconds=0.1)
    running.__enter__()
    events: list[Event] = []
    while not (events and isinstance(events[-1], TERMINAL)):
        events += [placed.event for placed in running.wait(len(events), 5)]
    released.set()
    running.join()
    assert store.answers[0].text == "half"
    assert "secret" not in sse.data(native.to_json(events[-1]))


def test_the_time_of_storing_is_not_the_models() -> None:
    class Slow(Stored):
        def finish(self, answer: Message, end: End) -> None:
            time.sleep(0.5)

    end = followed(turn(says(Chunk("a"), ModelEnd("stop", USAGE)), Slow()))[-1]
    assert isinstance(end, Complete)
    assert end.timing.duration_ms < 400


def test_a_fallback_is_named_in_the_stored_answer() -> None:
    store = Stored()
    followed(turn(says(Chunk("a"), ModelEnd("stop", USAGE, "nova-micro")), store))
    assert store.answers[0].model == "nova-micro"


def test_a_fallback_that_is_stopped_is_named_and_pays_its_own_price() -> None:
    store = Stored()
    end = followed(turn(falls_silent(Progress("fallback", "nova-micro"), Chunk("half")), store, seconds=0.1))[-1]
    assert isinstance(end, Complete)
    assert (store.answers[0].model, end.usage.cost) == ("nova-micro", 2)


def test_what_is_gone_on_with_is_not_paid_for_again() -> None:
    end = followed(turn(falls_silent(Chunk("new")), Stored(), seconds=0.1, begun=[Chunk("long ago")]))[-1]
    assert isinstance(end, Complete)
    assert (end.ai_message.text, end.usage.output_tokens) == ("long agonew", 3)


def test_a_refusal_costs_nothing_where_an_answer_is_gone_on_with() -> None:
    store = Stored()
    followed(turn(says(ModelThrottled()), store, begun=[Chunk("long ago")]))
    assert store.ends[0].usage == Usage()


def test_two_followers_see_the_same() -> None:
    running = turn(says(*map(Chunk, "abc"), ModelEnd("stop", USAGE)), Stored())
    first = followed(running)
    assert [placed.event for placed in running.wait(0, 0)] == first


def test_the_model_is_closed_when_the_turn_ends() -> None:
    closed = threading.Event()

    def speak(_: Call) -> Generator[Chunk | ModelEnd, None, None]:
        try:
            yield from [Chunk("x" * 100)] * 20
        finally:
            closed.set()

    followed(turn(speak, Stored(), size=10))
    assert closed.is_set()


# The log, as the keeper keeps it


def speaks_on(*, seconds: float, pause: float = 0.02) -> Callable[[Call], ModelEvents]:
    def speak(call: Call) -> ModelEvents:
        for _ in range(int(seconds / pause)):
            call.pause(pause)
            call.last_received = time.monotonic()
            yield Chunk("word ")
        yield ModelEnd("stop", USAGE)

    return speak


def test_what_was_said_is_durable_long_before_the_end() -> None:
    store = Stored()
    with turn(speaks_on(seconds=5), store, size=100_000) as running:
        deadline = time.monotonic() + 2
        while not store.flushed:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert not running.ended
        store.signals = Signals(cancelled=True, followed=False)
    assert store.answers[0].text == "".join(entry.content for entry in store.flushed if isinstance(entry, Chunk))


def test_a_cancel_stops_the_model_within_one_flush() -> None:
    store = Stored()
    running = turn(speaks_on(seconds=20), store, size=100_000)
    threading.Timer(0.5, lambda: setattr(store, "signals", Signals(cancelled=True, followed=False))).start()
    begun = time.monotonic()
    end = followed(running)[-1]
    assert isinstance(end, Complete)
    assert end.finish_reason == "cancelled"
    assert time.monotonic() - begun < 5
    assert (store.answers[0].status, store.ends[0].status) == ("partial", "cancel")
    assert (end.usage.basis, end.usage.output_tokens > 0) == ("estimated", True)


def test_a_cancel_reaches_a_model_that_has_not_spoken() -> None:
    store = Stored()
    store.signals = Signals(cancelled=True, followed=False)
    end = followed(turn(falls_silent(), store))[-1]
    assert isinstance(end, Complete)
    assert (end.finish_reason, end.usage.basis, end.ai_message.parts) == ("cancelled", "estimated", ())


def test_a_table_that_fails_for_a_while_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("converse_stream.generation.generation.FLUSH_SECONDS", 0.05)
    store = Stored(fails=True)
    threading.Timer(0.5, lambda: setattr(store, "fails", False)).start()
    end = followed(turn(speaks_on(seconds=1), store, size=100_000))[-1]
    assert isinstance(end, Complete)
    assert end_of(store.flushed) == len(end.ai_message.text) == 250


def test_a_table_that_stays_away_ends_the_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (
        ("MAX_UNSAVED_SECONDS", 0.3),
        ("FLUSH_SECONDS", 0.05),
        ("FIRST_FLUSH_SECONDS", 0.05),
        ("FINISH_SECONDS", 0.1),
    ):
        monkeypatch.setattr(f"converse_stream.generation.generation.{name}", value)
    store = Stored(fails=True)
    begun = time.monotonic()
    end = followed(turn(speaks_on(seconds=20), store, size=100_000))[-1]
    assert isinstance(end, Error)
    assert (end.code, end.message_id) == ("storage", None)
    assert time.monotonic() - begun < 10


def test_an_owner_that_was_fenced_stops() -> None:
    class Reaped(Stored):
        def flush(self, entries: Sequence[Entry]) -> Signals:
            raise Fenced

        def finish(self, answer: Message, end: End) -> None:
            raise Fenced

    end = followed(turn(speaks_on(seconds=20), Reaped(), size=100_000))[-1]
    assert isinstance(end, Error)
    assert end.code == "storage"


def test_no_thread_outlives_its_turn() -> None:
    before = threading.active_count()
    followed(turn(says(Chunk("a"), ModelEnd("stop", USAGE)), Stored()))
    assert threading.active_count() <= before
