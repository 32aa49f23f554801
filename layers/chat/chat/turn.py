"""One turn: from the model's first event to the stored answer, with three threads that never wait for the wrong one.

- The *reader* owns the model's iteration and appends to the turn's log.
- The *keeper* owns what must happen whatever the client does: deadline, silence of the model, storing, the terminal
  event. It wakes by timer and at the end, not per token.
- Whoever *follows* looks at the log from a cursor of its own: a client that stops reading blocks nobody else.

A turn ends exactly once, with one terminal event, and what came before it is stored first. Both threads have ended
when `join` returns.
"""

import json
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self, TypeAlias

from chat.errors import ChatError, ModelError, ModelTimeout, StorageError
from chat.events import (
    TERMINAL,
    Chunk,
    Citation,
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
    fold,
)
from chat.ids import now
from chat.model.stream import Ended
from chat.model.transport import Call, Stopped
from chat.telemetry import count_turn, logger

READER_GRACE = 1  # seconds in which the reader notices that its socket was shut

NOTHING_COUNTED = Usage()

Speech: TypeAlias = Generator[Chunk | Reasoning | Citation | Progress | Ended, None, None]


@dataclass(frozen=True, slots=True)
class Limits:
    """`deadline` is a time of the monotonic clock, `idle` seconds of silence, `size` bytes of the answer's UTF-8."""

    deadline: float
    idle: float
    size: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the model's part ended: with a finish reason, or with an error."""

    finish_reason: FinishReason | None = None
    error: ChatError | None = None
    usage: Usage = NOTHING_COUNTED
    model: str = ""  # the alias that answered, where it is known


class Turn:
    """`speak` yields the model's events; `store` keeps the answer, or raises StorageError."""

    def __init__(
        self,
        start: Start,
        user_message: Message,
        speak: Callable[[Call], Speech],
        store: Callable[[Message], None],
        limits: Limits,
        request_id: str,
        *,
        before: Sequence[Event] = (),
    ) -> None:
        self._start = start
        self._user_message = user_message
        self._speak = speak
        self._store = store
        self._limits = limits
        self._request_id = request_id
        self._log: list[Event] = [start, *before]
        self._changed = threading.Condition()
        self._sealed = False
        self._call = Call()
        self._verdict: Outcome | None = None  # the keeper's, when it stopped the call
        self._outcome: Outcome | None = None  # the reader's
        self._read = threading.Event()
        self._begun = time.monotonic()
        self._first_token: float | None = None
        self._silent: float | None = None  # when the reader ended
        self._threads = [
            threading.Thread(target=self._run_keeper, name="keeper", daemon=True),
            threading.Thread(target=self._run_reader, name="reader", daemon=True),
        ]

    def __enter__(self) -> Self:
        """Begins the turn."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Waits for the turn's end, whether or not anybody still follows."""
        self.join()

    def join(self) -> None:
        """Returns when the answer is stored and both threads have ended."""
        for thread in self._threads:
            thread.join()

    def wait(self, cursor: int, timeout: float) -> Sequence[Event]:
        """The events after the first `cursor` ones; empty when none came within `timeout` seconds."""
        with self._changed:
            if len(self._log) == cursor:
                self._changed.wait(timeout)
            return self._log[cursor:]

    def result(self) -> tuple[Start, Complete | Error]:
        """Runs the turn to its end."""
        with self:
            pass
        end = self._log[-1]
        if not isinstance(end, TERMINAL):
            raise ChatError
        return self._start, end

    # The reader

    def _run_reader(self) -> None:
        try:
            self._outcome = self._listen()
        except Stopped:
            self._outcome = None
        except ModelError as error:
            self._outcome = Outcome(error=error)
        except Exception:
            logger.exception("the turn's reader failed")
            self._outcome = Outcome(error=ChatError())
        finally:
            self._silent = time.monotonic()
            self._read.set()

    def _listen(self) -> Outcome:
        size = 0
        with closing(self._speak(self._call)) as speech:
            for event in speech:
                if isinstance(event, Ended):
                    return Outcome(event.finish_reason, usage=event.usage, model=event.model)
                if self._first_token is None and isinstance(event, (Chunk, Reasoning)):
                    self._first_token = time.monotonic()
                size += len(json.dumps(asdict(event), ensure_ascii=False).encode())
                if size > self._limits.size:
                    return Outcome("length")
                self._append(event)
        return Outcome(error=ModelError())

    def _append(self, event: Event) -> None:
        with self._changed:
            if self._sealed:
                raise Stopped
            self._log.append(event)
            self._changed.notify_all()

    # The keeper

    def _run_keeper(self) -> None:
        try:
            while not self._read.wait(self._until_due()):
                if self._verdict is not None:  # its grace is over, and still it reads
                    break
                self._judge(time.monotonic())
        except Exception:
            logger.exception("the turn's keeper failed")
            self._verdict = Outcome(error=ChatError())
        with self._changed:
            self._sealed = True
        done = self._outcome is not None and self._outcome.finish_reason is not None  # it won the race
        outcome = self._outcome if done else self._verdict or self._outcome
        outcome = outcome or Outcome(error=ModelError())
        timing = self._timing(outcome.usage)
        end = self._finish(outcome, timing)
        with self._changed:
            self._log.append(end)
            self._changed.notify_all()
        count_turn(end, outcome.usage, timing, outcome.model or self._start.model)

    def _until_due(self) -> float:
        if self._verdict is not None:
            return READER_GRACE
        return max(0.0, min(self._limits.deadline, self._call.heard + self._limits.idle) - time.monotonic())

    def _judge(self, time_now: float) -> None:
        if time_now >= self._limits.deadline:
            self._verdict = Outcome("deadline")
        elif time_now >= self._call.heard + self._limits.idle:
            self._verdict = Outcome(error=ModelTimeout())
        else:
            return
        self._call.stop()

    def _finish(self, outcome: Outcome, timing: Timing) -> Complete | Error:
        """Stores the answer, then says how it ended. Never raises."""
        answer = self._message(fold(self._log).parts, outcome)
        stored = self._keep(answer)
        error = outcome.error or (None if stored else StorageError())
        if error is not None:
            return Error(
                code=error.code,
                message=error.message,
                retryable=error.retryable,
                status=error.status,
                request_id=self._request_id,
                message_id=answer.id if stored else None,
            )
        return Complete(outcome.finish_reason or "stop", self._user_message, answer, outcome.usage, timing)

    def _keep(self, answer: Message) -> bool:
        try:
            self._store(answer)
        except Exception:
            logger.exception("an answer could not be stored")
            return False
        return True

    def _message(self, parts: tuple[Part, ...], outcome: Outcome) -> Message:
        return Message(
            id=self._start.message_id,
            role="assistant",
            parts=parts,
            created_at=now(),
            status="failed" if outcome.error else "partial" if outcome.finish_reason == "deadline" else "complete",
            generation_id=self._start.generation_id,
            model=outcome.model or self._start.model,
            finish_reason=outcome.error.code if outcome.error else outcome.finish_reason,
            usage=outcome.usage,
        )

    def _timing(self, usage: Usage) -> Timing:
        end = self._silent or time.monotonic()
        first = self._first_token
        speaking = end - first if first is not None else 0.0
        return Timing(
            duration_ms=round((end - self._begun) * 1000),
            first_token_ms=round((first - self._begun) * 1000) if first is not None else None,
            tokens_per_second=round(usage.output_tokens / speaking, 1) if usage.output_tokens and speaking else None,
        )
