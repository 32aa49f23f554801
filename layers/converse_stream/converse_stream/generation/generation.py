"""The generation of one answer: from the model's first event to the stored answer.

A generation uses three threads. None of them blocks another.

- The *reader* iterates over the model's events and appends them to the log in memory.
- The *supervisor* does what must happen even if the client is gone: it writes the log to the table and renews the
  lease, reads cancellations, watches the deadline and the silence of the model, stores the answer, and appends the
  terminal event. It wakes up by timer and when the reader ends, not for each token.
- A *consumer* reads the log from its own cursor with `wait`. It may be slow.

A slow table delays the supervisor, but no token. A generation ends exactly once, with one terminal event. The answer is
stored before the terminal event is visible. Both threads have ended when `join` returns.
"""

import json
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from math import inf
from typing import Self, TypeAlias

from converse_stream.aws.cancellation import Cancelled
from converse_stream.model.stream import ModelEnd
from converse_stream.model.transport import Call
from converse_stream.protocol.errors import REFUSALS, UNUSABLE, ChatError, ModelError, ModelTimeout, StorageError
from converse_stream.protocol.events import (
    TERMINAL,
    Chunk,
    Complete,
    Error,
    Event,
    FinishReason,
    Message,
    Part,
    Progress,
    Reasoning,
    SentPrompt,
    Start,
    Timing,
    Usage,
)
from converse_stream.protocol.ids import now
from converse_stream.protocol.log import ENTRIES, Entry, PositionedEvent, end_of, joined, length
from converse_stream.protocol.tokens import TokenCounter
from converse_stream.store.generation_record import End, Status
from converse_stream.store.generation_writer import Fenced, GenerationWriter
from converse_stream.telemetry import count_generation, logger

READER_GRACE_SECONDS = 1  # time for the reader to end after its socket was shut down

# Seconds between two flushes. Together with the size of a flush they determine the costs: docs/durability.md.
FIRST_FLUSH_SECONDS = 0.25  # after the first token
FLUSH_SECONDS = 1.0
FOLLOWED_FLUSH_SECONDS = 0.5  # while a follower reads from the table
IDLE_FLUSH_SECONDS = 2.0  # without new entries: renews the lease and reads cancellations
MAX_UNSAVED_SECONDS = 10.0  # the generation fails if entries could not be stored for longer
FINISH_SECONDS, FINISH_RETRY_SECONDS = 3.0, 0.5  # how long storing the answer is retried, and how often

PARTIAL = frozenset({"deadline", "cancelled", "budget", "lost"})  # finish reasons of incomplete answers
UNKNOWN_USAGE = Usage()

ModelEvents: TypeAlias = Generator[Part | Progress | ModelEnd, None, None]


@dataclass(frozen=True, slots=True)
class GenerationLimits:
    """The limits of one generation.

    `deadline` is a time of the monotonic clock. `idle_seconds` is the longest silence of the model. `max_bytes` is the
    size of the answer's events in UTF-8. `max_tokens` is the estimated number of output tokens that the budgets allow.
    """

    deadline: float
    idle_seconds: float
    max_bytes: int
    max_tokens: float = inf


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the model call ended: with a finish reason or with an error."""

    finish_reason: FinishReason | None = None
    error: ChatError | None = None
    usage: Usage = UNKNOWN_USAGE
    model: str = ""  # name of the model that answered, empty if unknown


def _size(event: Part | Progress) -> int:
    """The size of an event in bytes, as part of a stored answer."""
    if isinstance(event, (Chunk, Reasoning)):
        return len(event.content.encode())
    return len(json.dumps(asdict(event), ensure_ascii=False).encode())


class Generation:
    """Generates one answer in two threads, and provides its events.

    `call_model` yields the model's events and ends when its `Call` is cancelled. `writer` stores the log and the
    answer. `estimate_usage` returns the estimated usage for a text and a model's name; it is used if Bedrock did not
    report the usage. `sent_prompt` describes the prompt; it returns None if the model was not called. `preamble` has
    the events to send before the model's first one. `prefix` is the stored log that this generation continues: it is
    part of the answer, and is not sent again.
    """

    def __init__(
        self,
        start: Start,
        user_message: Message,
        call_model: Callable[[Call], ModelEvents],
        writer: GenerationWriter,
        estimate_usage: Callable[[str, str], Usage],
        limits: GenerationLimits,
        request_id: str,
        *,
        sent_prompt: Callable[[], SentPrompt | None] = lambda: None,
        preamble: Sequence[Event] = (),
        prefix: Sequence[Entry] = (),
    ) -> None:
        self._start = start
        self._user_message = user_message
        self._call_model = call_model
        self._writer = writer
        self._estimate_usage = estimate_usage
        self._limits = limits
        self._request_id = request_id
        self._sent_prompt = sent_prompt
        self._log: list[PositionedEvent] = [PositionedEvent(event, end_of(prefix)) for event in (start, *preamble)]
        self._entries: list[Entry] = list(prefix)
        self._prefix_count = len(prefix)  # entries that an earlier generation was charged for
        self._flushed_count = len(prefix)  # entries in the table
        self._model = start.model  # name of the model that is called now
        self._flushed_at: float | None = None
        self._all_saved_at = time.monotonic()  # start of the last flush after which the table had all entries
        self._is_followed = False
        self._changed = threading.Condition()
        self._is_closed = False  # the reader may not append any more
        self._call = Call()
        self._early_outcome: Outcome | None = None  # set by the supervisor when it cancels the call
        self._reader_outcome: Outcome | None = None
        self._reader_done = threading.Event()
        self._started_at = time.monotonic()
        self._first_token_at: float | None = None
        self._reader_ended_at: float | None = None
        self._threads = [
            threading.Thread(target=self._run_supervisor, name="supervisor", daemon=True),
            threading.Thread(target=self._run_reader, name="reader", daemon=True),
        ]

    def __enter__(self) -> Self:
        """Begins the generation, unless `begin` was called before."""
        self.begin()
        return self

    def begin(self) -> None:
        """Starts the threads. From now on the model is called, and the answer is stored even without a consumer."""
        for thread in self._threads:
            if thread.ident is None:  # not started yet
                thread.start()

    def __exit__(self, *_: object) -> None:
        """Waits for the end of the generation."""
        self.join()

    def join(self) -> None:
        """Returns when the answer is stored and both threads have ended."""
        for thread in self._threads:
            thread.join()

    @property
    def generation_id(self) -> str:
        """The id of the generation."""
        return self._start.generation_id

    @property
    def ended(self) -> bool:
        """Whether the log has its terminal event."""
        return isinstance(self._log[-1].event, TERMINAL)

    def wait(self, cursor: int, timeout: float) -> Sequence[PositionedEvent]:
        """Returns the events after the first `cursor` ones; an empty list if none come within `timeout` seconds."""
        with self._changed:
            if len(self._log) == cursor:
                self._changed.wait(timeout)
            return self._log[cursor:]

    # The reader

    def _run_reader(self) -> None:
        try:
            self._reader_outcome = self._read_model()
        except Cancelled:
            self._reader_outcome = None
        except ModelError as error:
            self._reader_outcome = Outcome(error=error)
        except Exception:
            logger.exception("generation reader failed")
            self._reader_outcome = Outcome(error=ChatError())
        finally:
            self._reader_ended_at = time.monotonic()
            self._reader_done.set()

    def _read_model(self) -> Outcome:
        if self._limits.max_tokens <= 0:
            return Outcome("budget")
        size, counter = 0, TokenCounter()
        with closing(self._call_model(self._call)) as events:
            for event in events:
                if isinstance(event, ModelEnd):
                    return Outcome(event.finish_reason, usage=event.usage, model=event.model)
                if self._first_token_at is None and isinstance(event, (Chunk, Reasoning)):
                    self._first_token_at = time.monotonic()
                if isinstance(event, Progress) and event.stage == "fallback" and event.detail:
                    self._model = event.detail
                size += _size(event)
                if size > self._limits.max_bytes:
                    return Outcome("length")
                self._append(event)
                if isinstance(event, (Chunk, Reasoning)) and self._limits.max_tokens < inf:
                    counter.add(event.content)  # the chunk over the limit is sent: it is charged too
                    if counter.tokens > self._limits.max_tokens:
                        return Outcome("budget")
        return Outcome(error=ModelError())

    def _append(self, event: Event) -> None:
        with self._changed:
            if self._is_closed:
                raise Cancelled
            self._log.append(PositionedEvent(event, self._log[-1].position + length(event)))
            if isinstance(event, ENTRIES):
                self._entries.append(event)
            self._changed.notify_all()

    # The supervisor

    def _run_supervisor(self) -> None:
        try:
            while not self._reader_done.wait(self._seconds_until_due()):
                if self._early_outcome is not None:  # the reader did not end within its grace period
                    break
                self._check_limits(time.monotonic())
                if self._early_outcome is None and time.monotonic() >= self._next_flush_at():
                    self._flush()
        except Exception:
            logger.exception("generation supervisor failed")
            self._early_outcome = Outcome(error=ChatError())
        with self._changed:
            self._is_closed = True
        outcome = self._with_usage(self._final_outcome())
        timing = self._timing(outcome.usage)
        terminal = self._finish(outcome, timing)
        with self._changed:
            self._log.append(PositionedEvent(terminal, self._log[-1].position))
            self._changed.notify_all()
        count_generation(terminal, outcome.usage, timing, outcome.model or self._model)

    def _final_outcome(self) -> Outcome:
        """The reader's outcome if the model finished; otherwise the supervisor's, if it cancelled the call."""
        if self._reader_outcome is not None and self._reader_outcome.finish_reason is not None:
            return self._reader_outcome
        return self._early_outcome or self._reader_outcome or Outcome(error=ModelError())

    def _seconds_until_due(self) -> float:
        """How long the supervisor may wait for the reader before it has something to do."""
        if self._early_outcome is not None:
            return READER_GRACE_SECONDS
        due = min(self._limits.deadline, self._call.last_received + self._limits.idle_seconds, self._next_flush_at())
        if self._first_token_at is None:  # wake up often: the flush after the first token comes early
            due = min(due, time.monotonic() + FIRST_FLUSH_SECONDS)
        return max(0.0, due - time.monotonic())

    def _next_flush_at(self) -> float:
        if self._first_token_at is not None and self._all_saved_at < self._first_token_at:
            return max(self._first_token_at, self._flushed_at or 0.0) + FIRST_FLUSH_SECONDS
        if len(self._entries) > self._flushed_count:
            pause = FOLLOWED_FLUSH_SECONDS if self._is_followed else FLUSH_SECONDS
        else:
            pause = IDLE_FLUSH_SECONDS
        return (self._flushed_at or self._started_at) + pause

    def _flush(self) -> None:
        """Stores the new entries and reads the signals. After a failure the next flush tries again."""
        with self._changed:
            entries = self._entries[self._flushed_count :]
        self._flushed_at = flush_started_at = time.monotonic()
        try:
            signals = self._writer.flush(entries)
        except StorageError:
            if entries and flush_started_at - self._all_saved_at > MAX_UNSAVED_SECONDS:
                self._end_early(Outcome(error=StorageError()))
            return
        except Fenced:
            self._end_early(Outcome(error=StorageError()))
            return
        self._flushed_count += len(entries)
        self._all_saved_at = flush_started_at
        self._is_followed = signals.followed
        if signals.cancelled:
            self._end_early(Outcome("cancelled"))

    def _check_limits(self, monotonic_now: float) -> None:
        if monotonic_now >= self._limits.deadline:
            self._end_early(Outcome("deadline"))
        elif monotonic_now >= self._call.last_received + self._limits.idle_seconds:
            self._end_early(Outcome(error=ModelTimeout()))

    def _end_early(self, outcome: Outcome) -> None:
        self._early_outcome = outcome
        self._call.cancel()

    def _with_usage(self, outcome: Outcome) -> Outcome:
        """The outcome with estimated usage if Bedrock reported none. A call that Bedrock never accepted has none."""
        new_entries = self._entries[self._prefix_count :]
        is_free = outcome.finish_reason == "budget" or isinstance(outcome.error, REFUSALS)
        if outcome.usage.basis == "exact" or (is_free and not new_entries):
            return outcome
        text = "".join(entry.content for entry in new_entries if isinstance(entry, (Chunk, Reasoning)))
        return replace(outcome, usage=self._estimate_usage(text, outcome.model or self._model))

    def _finish(self, outcome: Outcome, timing: Timing) -> Complete | Error:
        """Stores the answer and returns the terminal event. Never raises."""
        answer = self._answer(tuple(joined(self._entries)), outcome)
        stored = self._store(answer, outcome)
        error = outcome.error or (None if stored else StorageError())
        if error is not None:
            return Error(
                code=error.code,
                message=error.message,
                retryable=error.retryable,
                status=error.status,
                request_id=self._request_id,
                message_id=stored.id if stored else None,
            )
        return Complete(outcome.finish_reason or "stop", self._user_message, stored or answer, outcome.usage, timing)

    def _store(self, answer: Message, outcome: Outcome) -> Message | None:
        """Stores the end of the generation. Returns the answer that the conversation has now, None after a failure.

        That is the replaced answer, and not `answer`, if this generation had no new entries.
        """
        status: Status = "error" if outcome.error else "cancel" if outcome.finish_reason == "cancelled" else "done"
        end = End(status, answer.finish_reason or "stop", outcome.usage)
        retry_until = time.monotonic() + FINISH_SECONDS
        while True:
            try:
                if entries := self._entries[self._flushed_count :]:
                    self._writer.flush(entries)
                    self._flushed_count += len(entries)
                return self._writer.finish(answer, end) or answer
            except StorageError:
                if time.monotonic() > retry_until:
                    logger.exception("answer not stored")
                    return None
                time.sleep(FINISH_RETRY_SECONDS)
            except Exception:
                logger.exception("answer not stored")
                return None

    def _answer(self, parts: tuple[Part, ...], outcome: Outcome) -> Message:
        return Message(
            id=self._start.message_id,
            role="assistant",
            parts=parts,
            created_at=now(),
            status="failed" if outcome.error else "partial" if outcome.finish_reason in PARTIAL else "complete",
            generation_id=self._start.generation_id,
            # The error is that of the requested model, although its fallbacks were called after it.
            model=self._start.model if isinstance(outcome.error, UNUSABLE) else outcome.model or self._model,
            finish_reason=outcome.error.code if outcome.error else outcome.finish_reason,
            usage=outcome.usage,
            sent=self._sent_prompt(),
        )

    def _timing(self, usage: Usage) -> Timing:
        end = self._reader_ended_at or time.monotonic()
        first = self._first_token_at
        seconds = end - first if first is not None else 0.0
        return Timing(
            duration_ms=round((end - self._started_at) * 1000),
            first_token_ms=round((first - self._started_at) * 1000) if first is not None else None,
            tokens_per_second=round(usage.output_tokens / seconds, 1) if usage.output_tokens and seconds else None,
        )
