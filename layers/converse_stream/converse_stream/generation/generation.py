"""One turn: from the model's first event to the stored answer, with three threads that never wait for the wrong one.

- The *reader* owns the model's iteration and appends to the turn's log.
- The *keeper* owns what must happen whatever the client does: flush, lease, cancel, deadline, silence of the model,
  finish, the terminal event. It wakes by timer and at the end, not per token.
- Whoever *follows* looks at the log from a cursor of its own: a client that stops reading blocks nobody else.

A slow table delays the keeper and no token. A turn ends exactly once, with one terminal event, and what came before it
is stored first. Both threads have ended when `join` returns.
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
from converse_stream.protocol.errors import (
    REFUSALS,
    ChatError,
    ModelError,
    ModelTimeout,
    StorageError,
)
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
    Start,
    Timing,
    Usage,
)
from converse_stream.protocol.ids import now
from converse_stream.protocol.log import (
    ENTRIES,
    Entry,
    PositionedEvent,
    end_of,
    joined,
    length,
)
from converse_stream.protocol.tokens import quarters
from converse_stream.store.generation_record import End, Status
from converse_stream.store.generation_writer import Fenced, GenerationWriter
from converse_stream.telemetry import count_generation, logger

READER_GRACE_SECONDS = 1  # seconds in which the reader notices that its socket was shut

# Seconds between two flushes. Together with their size they make the bill: docs/durability.md.
FIRST_FLUSH_SECONDS = 0.25  # after the first token
FLUSH_SECONDS = 1.0
FOLLOWED_FLUSH_SECONDS = 0.5  # while somebody reads along from the table
IDLE_FLUSH_SECONDS = 2.0  # with nothing new, for the lease and to hear of a cancel
MAX_UNSAVED_SECONDS = 10.0  # seconds that text may wait for a table that fails
FINISH_SECONDS, FINISH_RETRY_SECONDS = 3.0, 0.5  # how long storing the end is tried again, and how often

PARTIAL = frozenset({"deadline", "cancelled", "budget", "lost"})
NOTHING_COUNTED = Usage()

ModelEvents: TypeAlias = Generator[Part | Progress | ModelEnd, None, None]


@dataclass(frozen=True, slots=True)
class GenerationLimits:
    """`deadline` is a time of the monotonic clock, `idle` seconds of silence, `size` bytes of the answer's UTF-8.

    `tokens` is what the answer may say, by our estimate, before a budget is empty.
    """

    deadline: float
    idle: float
    size: int
    tokens: float = inf


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the model's part ended: with a finish reason, or with an error."""

    finish_reason: FinishReason | None = None
    error: ChatError | None = None
    usage: Usage = NOTHING_COUNTED
    model: str = ""  # the alias that answered, where it is known


class Generation:
    """`speak` yields the model's events; `ledger` keeps them; `estimate` guesses what a text without an end cost by a
    model's alias.

    `prefix` is the log so far of an answer that is gone on with: it is durable already, and not sent again.
    """

    def __init__(
        self,
        start: Start,
        user_message: Message,
        speak: Callable[[Call], ModelEvents],
        writer: GenerationWriter,
        estimate: Callable[[str, str], Usage],
        bounds: GenerationLimits,
        request_id: str,
        *,
        before: Sequence[Event] = (),
        prefix: Sequence[Entry] = (),
    ) -> None:
        self._start = start
        self._user_message = user_message
        self._speak = speak
        self._writer = writer
        self._estimate = estimate
        self._bounds = bounds
        self._request_id = request_id
        self._log: list[PositionedEvent] = [PositionedEvent(event, end_of(prefix)) for event in (start, *before)]
        self._entries: list[Entry] = list(prefix)  # an answer that is gone on with
        self._prefix_entries = len(prefix)  # how many of them were paid for before
        self._flushed = len(prefix)  # how many of them are durable
        self._model = start.model  # who speaks
        self._flushed_at: float | None = None
        self._saved = time.monotonic()  # when everything that had come was durable
        self._followed = False
        self._changed = threading.Condition()
        self._sealed = False
        self._call = Call()
        self._early_end: Outcome | None = None  # the keeper's, when it stopped the call
        self._outcome: Outcome | None = None  # the reader's
        self._read = threading.Event()
        self._started = time.monotonic()
        self._first_token: float | None = None
        self._reader_ended: float | None = None  # when the reader ended
        self._threads = [
            threading.Thread(target=self._run_supervisor, name="keeper", daemon=True),
            threading.Thread(target=self._run_reader, name="reader", daemon=True),
        ]

    def __enter__(self) -> Self:
        """Begins the turn, unless `begin` has."""
        self.begin()
        return self

    def begin(self) -> None:
        """From now on the model is asked, and the answer is stored whoever follows it."""
        for thread in self._threads:
            if thread.ident is None:  # it has not been started
                thread.start()

    def __exit__(self, *_: object) -> None:
        """Waits for the turn's end, whether or not anybody still follows."""
        self.join()

    def join(self) -> None:
        """Returns when the answer is stored and both threads have ended."""
        for thread in self._threads:
            thread.join()

    @property
    def generation(self) -> str:
        """Its id."""
        return self._start.generation_id

    @property
    def ended(self) -> bool:
        """Whether the terminal event is there."""
        return isinstance(self._log[-1].event, TERMINAL)

    def wait(self, cursor: int, timeout: float) -> Sequence[PositionedEvent]:
        """The events after the first `cursor` ones; empty when none came within `timeout` seconds."""
        with self._changed:
            if len(self._log) == cursor:
                self._changed.wait(timeout)
            return self._log[cursor:]

    # The reader

    def _run_reader(self) -> None:
        try:
            self._outcome = self._read_model()
        except Cancelled:
            self._outcome = None
        except ModelError as error:
            self._outcome = Outcome(error=error)
        except Exception:
            logger.exception("the turn's reader failed")
            self._outcome = Outcome(error=ChatError())
        finally:
            self._reader_ended = time.monotonic()
            self._read.set()

    def _read_model(self) -> Outcome:
        if self._bounds.tokens <= 0:
            return Outcome("budget")
        size, said = 0, 0
        with closing(self._speak(self._call)) as speech:
            for event in speech:
                if isinstance(event, ModelEnd):
                    return Outcome(event.finish_reason, usage=event.usage, model=event.model)
                if self._first_token is None and isinstance(event, (Chunk, Reasoning)):
                    self._first_token = time.monotonic()
                if isinstance(event, Progress) and event.stage == "fallback" and event.detail:
                    self._model = event.detail
                size += len(json.dumps(asdict(event), ensure_ascii=False).encode())
                if size > self._bounds.size:
                    return Outcome("length")
                self._append(event)
                if isinstance(event, (Chunk, Reasoning)) and self._bounds.tokens < inf:
                    said += quarters(event.content)  # the piece that goes too far was paid for as well
                    if said > 4 * self._bounds.tokens:
                        return Outcome("budget")
        return Outcome(error=ModelError())

    def _append(self, event: Event) -> None:
        with self._changed:
            if self._sealed:
                raise Cancelled
            self._log.append(PositionedEvent(event, self._log[-1].position + length(event)))
            if isinstance(event, ENTRIES):
                self._entries.append(event)
            self._changed.notify_all()

    # The keeper

    def _run_supervisor(self) -> None:
        try:
            while not self._read.wait(self._until_due()):
                if self._early_end is not None:  # its grace is over, and still it reads
                    break
                self._check_limits(time.monotonic())
                if self._early_end is None and time.monotonic() >= self._next_flush():
                    self._flush()
        except Exception:
            logger.exception("the turn's keeper failed")
            self._early_end = Outcome(error=ChatError())
        with self._changed:
            self._sealed = True
        done = self._outcome is not None and self._outcome.finish_reason is not None  # it won the race
        outcome = self._outcome if done else self._early_end or self._outcome
        outcome = self._priced(outcome or Outcome(error=ModelError()))
        timing = self._timing(outcome.usage)
        end = self._finish(outcome, timing)
        with self._changed:
            self._log.append(PositionedEvent(end, self._log[-1].position))
            self._changed.notify_all()
        count_generation(end, outcome.usage, timing, outcome.model or self._model)

    def _until_due(self) -> float:
        if self._early_end is not None:
            return READER_GRACE_SECONDS
        due = min(self._bounds.deadline, self._call.heard + self._bounds.idle, self._next_flush())
        if self._first_token is None:  # the first flush after it comes early
            due = min(due, time.monotonic() + FIRST_FLUSH_SECONDS)
        return max(0.0, due - time.monotonic())

    def _next_flush(self) -> float:
        if self._first_token is not None and self._saved < self._first_token:
            return max(self._first_token, self._flushed_at or 0.0) + FIRST_FLUSH_SECONDS
        waits = len(self._entries) > self._flushed
        pause = (FOLLOWED_FLUSH_SECONDS if self._followed else FLUSH_SECONDS) if waits else IDLE_FLUSH_SECONDS
        return (self._flushed_at or self._started) + pause

    def _flush(self) -> None:
        """Makes durable what has come. A table that fails is asked again at the next turn of the clock."""
        with self._changed:
            entries = self._entries[self._flushed :]
        self._flushed_at = asked = time.monotonic()
        try:
            signals = self._writer.flush(entries)
        except StorageError:
            if entries and asked - self._saved > MAX_UNSAVED_SECONDS:
                self._end_by(Outcome(error=StorageError()))
            return
        except Fenced:
            self._end_by(Outcome(error=StorageError()))
            return
        self._flushed += len(entries)
        self._saved = asked
        self._followed = signals.followed
        if signals.cancelled:
            self._end_by(Outcome("cancelled"))

    def _end_by(self, verdict: Outcome) -> None:
        self._early_end = verdict
        self._call.cancel()

    def _priced(self, outcome: Outcome) -> Outcome:
        """Tokens that Bedrock did not count are guessed: what it had read is paid for, whatever it said."""
        new = self._entries[self._prefix_entries :]
        not_asked = outcome.finish_reason == "budget" or isinstance(outcome.error, REFUSALS)
        if outcome.usage.basis == "exact" or (not_asked and not new):
            return outcome
        said = "".join(entry.content for entry in new if isinstance(entry, (Chunk, Reasoning)))
        return replace(outcome, usage=self._estimate(said, outcome.model or self._model))

    def _check_limits(self, time_now: float) -> None:
        if time_now >= self._bounds.deadline:
            self._end_by(Outcome("deadline"))
        elif time_now >= self._call.heard + self._bounds.idle:
            self._end_by(Outcome(error=ModelTimeout()))

    def _finish(self, outcome: Outcome, timing: Timing) -> Complete | Error:
        """Stores the answer, then says how it ended. Never raises."""
        answer = self._message(tuple(joined(self._entries)), outcome)
        stored = self._keep(answer, outcome)  # another message than `answer` where that had nothing new
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

    def _keep(self, answer: Message, outcome: Outcome) -> Message | None:
        """Stores the end; the message that the conversation has then, None when it could not be stored."""
        status: Status = "error" if outcome.error else "cancel" if outcome.finish_reason == "cancelled" else "done"
        end = End(status, answer.finish_reason or "stop", outcome.usage)
        give_up = time.monotonic() + FINISH_SECONDS
        while True:
            try:
                if entries := self._entries[self._flushed :]:
                    self._writer.flush(entries)
                    self._flushed += len(entries)
                return self._writer.finish(answer, end) or answer
            except StorageError:
                if time.monotonic() > give_up:
                    logger.exception("an answer could not be stored")
                    return None
                time.sleep(FINISH_RETRY_SECONDS)
            except Exception:
                logger.exception("an answer could not be stored")
                return None

    def _message(self, parts: tuple[Part, ...], outcome: Outcome) -> Message:
        return Message(
            id=self._start.message_id,
            role="assistant",
            parts=parts,
            created_at=now(),
            status="failed" if outcome.error else "partial" if outcome.finish_reason in PARTIAL else "complete",
            generation_id=self._start.generation_id,
            model=outcome.model or self._model,
            finish_reason=outcome.error.code if outcome.error else outcome.finish_reason,
            usage=outcome.usage,
        )

    def _timing(self, usage: Usage) -> Timing:
        end = self._reader_ended or time.monotonic()
        first = self._first_token
        speaking = end - first if first is not None else 0.0
        return Timing(
            duration_ms=round((end - self._started) * 1000),
            first_token_ms=round((first - self._started) * 1000) if first is not None else None,
            tokens_per_second=round(usage.output_tokens / speaking, 1) if usage.output_tokens and speaking else None,
        )
