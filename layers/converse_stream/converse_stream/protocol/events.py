"""The closed union of events that a turn yields, and the fold over them.

A dialect turns these into bytes; `accumulate` turns them into the answer in one piece. Nothing else may know
what the model said, so a streamed and a buffered answer cannot differ.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

FinishReason: TypeAlias = str  # one of chat.finish, or a model's unknown reason as it is
Stage: TypeAlias = Literal["memory", "search", "retry", "fallback"]


@dataclass(frozen=True, slots=True)
class Start:
    """The turn is stored and begins; sent before the model is asked."""

    conversation_id: str
    message_id: str  # of the answer
    generation_id: str
    model: str  # the alias


@dataclass(frozen=True, slots=True)
class Progress:
    """For the waiting user; never stored."""

    stage: Stage
    detail: str | None = None
    missing: str | None = None  # the part of the memory that the answer does without


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of the answer's text."""

    content: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of the model's reasoning, shown apart from the text."""

    content: str


@dataclass(frozen=True, slots=True)
class Citation:
    """Where something in the answer comes from; `fact` is the id of one that the user's memory holds."""

    title: str | None = None
    url: str | None = None
    document: str | None = None
    quote: str | None = None
    fact: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool's call, and what it came to: another event with the same id. `input` and `output` are JSON text."""

    id: str
    name: str
    state: Literal["call", "result", "error"] = "call"
    input: str | None = None
    output: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as Bedrock counted them (`exact`), or as we guess after a stop or a cut (`estimated`)."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    basis: Literal["exact", "estimated", "unknown"] = "unknown"
    cost: int | None = None  # billionths of a US dollar, by the catalog's prices


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds from the turn's begin; `first_token_ms` is None when there was no token."""

    duration_ms: int
    first_token_ms: int | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Rollback:
    """The log ends at `position`: a client that has seen more cuts back."""

    position: int


Part: TypeAlias = Chunk | Reasoning | Citation | Tool  # what is logged, and what a message holds


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message. `status` is complete, partial (stopped, out of time, lost) or failed."""

    id: str
    role: Literal["user", "assistant"]
    parts: tuple[Part, ...]
    created_at: str  # ISO 8601, UTC
    status: Literal["complete", "partial", "failed"] = "complete"
    generation_id: str | None = None
    model: str | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None

    @property
    def text(self) -> str:
        """The text alone."""
        return "".join(part.content for part in self.parts if isinstance(part, Chunk))


@dataclass(frozen=True, slots=True)
class Complete:
    """Terminal: the answer is stored."""

    finish_reason: FinishReason
    user_message: Message
    ai_message: Message
    usage: Usage
    timing: Timing


@dataclass(frozen=True, slots=True)
class Error:
    """Terminal: the answer failed. What had come is stored under `message_id`; None when it could not be."""

    code: str
    message: str
    retryable: bool
    status: int  # of the HTTP answer, where nothing was streamed
    request_id: str
    message_id: str | None


Event: TypeAlias = Start | Progress | Part | Rollback | Complete | Error
TERMINAL = (Complete, Error)


def merge(events: Iterable[Event]) -> Iterator[Event]:
    """Joins neighbouring pieces of text, and of reasoning; batching never changes what an answer says."""
    kind: type[Chunk | Reasoning] | None = None
    pieces: list[str] = []
    for event in events:
        if isinstance(event, (Chunk, Reasoning)):
            if kind is not None and not isinstance(event, kind):
                yield kind("".join(pieces))
                pieces = []
            kind = type(event)
            pieces.append(event.content)
            continue
        if kind is not None:
            yield kind("".join(pieces))
            kind, pieces = None, []
        yield event
    if kind is not None:
        yield kind("".join(pieces))


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer so far: what `accumulate` makes of the events seen."""

    start: Start | None = None
    parts: tuple[Part, ...] = ()
    missing: tuple[str, ...] = ()  # parts of the memory that it does without
    end: Complete | Error | None = None


def accumulate(answer: Answer, event: Event) -> Answer:
    """The answer after one more event. Pure; feed it `merge`d events when there are many."""
    match event:
        case Start():
            return replace(answer, start=event)
        case Chunk() | Reasoning() | Citation() | Tool():
            return replace(answer, parts=_joined(answer.parts, event))
        case Complete() | Error():
            return replace(answer, end=event)
        case Rollback(position):
            return replace(answer, parts=_until(answer.parts, position))
        case Progress():
            return replace(answer, missing=(*answer.missing, event.missing)) if event.missing else answer


def fold(events: Iterable[Event]) -> Answer:
    """The whole answer."""
    answer = Answer()
    for event in merge(events):
        answer = accumulate(answer, event)
    return answer


def _until(parts: tuple[Part, ...], position: int) -> tuple[Part, ...]:
    kept: list[Part] = []
    for part in parts:
        if position <= 0:
            break
        if isinstance(part, (Chunk, Reasoning)):
            kept.append(type(part)(part.content[:position]))
            position -= len(part.content)
        else:
            kept.append(part)
            position -= 1
    return tuple(kept)


def _joined(parts: tuple[Part, ...], part: Part) -> tuple[Part, ...]:
    if parts and isinstance(part, (Chunk, Reasoning)):
        last = parts[-1]
        if isinstance(last, type(part)):
            return (*parts[:-1], type(part)(last.content + part.content))
    return (*parts, part)
