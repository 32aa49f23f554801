"""The events of a generation, and their fold into one answer.

A dialect encodes events as bytes, and `accumulate` collects them into an answer. Both read the same events, so a
streamed and a non-streamed answer cannot differ.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

FinishReason: TypeAlias = str  # one of `finish_reasons.FINISH`, or an unknown reason of a model, unchanged
Stage: TypeAlias = Literal["memory", "history", "search", "adapted", "retry", "fallback"]


@dataclass(frozen=True, slots=True)
class Start:
    """The generation is stored and starts. Sent before the model is called."""

    conversation_id: str
    message_id: str  # of the answer
    generation_id: str
    model: str  # the alias


@dataclass(frozen=True, slots=True)
class Progress:
    """What happens while the user waits; not stored.

    `detail` is the model of a `fallback`. For `adapted` it is a field of the request that the model did not get, or
    `<field>=<value>` for another value.
    """

    stage: Stage
    detail: str | None = None
    missing: str | None = None  # a part of the memory that the model does not get


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of the text of the answer."""

    content: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A part of the model's reasoning, which is not part of the text."""

    content: str


@dataclass(frozen=True, slots=True)
class ReasoningSignature:
    """The end of a reasoning block: the `Reasoning` since the last event of another kind, which may be none.

    The signature is valid only with exactly this text. It is empty if it was too long to be kept. `model` is Bedrock's
    id of the model that made the block, without the prefix of an inference profile: other models do not accept it.
    """

    signature: str
    model: str


@dataclass(frozen=True, slots=True)
class RedactedReasoning:
    """A reasoning block whose text only the model can read. `data` is base64; `model` as in `ReasoningSignature`."""

    data: str
    model: str


@dataclass(frozen=True, slots=True)
class Citation:
    """A source of the answer. `fact` is the id of a fact in the user's memory."""

    title: str | None = None
    url: str | None = None
    document: str | None = None
    quote: str | None = None
    fact: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool call, or its result as another event with the same id. `input` and `output` are JSON text."""

    id: str
    name: str
    state: Literal["call", "result", "error"] = "call"
    input: str | None = None
    output: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as reported by Bedrock (`exact`), or our estimate if it reported none (`estimated`)."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    basis: Literal["exact", "estimated", "unknown"] = "unknown"
    cost: int | None = None  # in billionths of a US dollar, by the prices of the catalog


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds since the start of the generation. `first_token_ms` is None if there was no token."""

    duration_ms: int
    first_token_ms: int | None = None
    tokens_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Rollback:
    """The log ends at `position`. A client removes what it has received after it."""

    position: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """An entry that a later version stored: its JSON text. It is kept, and written again unchanged."""

    stored: str


VisiblePart: TypeAlias = Chunk | Reasoning | Citation | Tool
HiddenPart: TypeAlias = ReasoningSignature | RedactedReasoning | Unknown  # has a position, and clients do not get it
HIDDEN = (ReasoningSignature, RedactedReasoning, Unknown)
Part: TypeAlias = VisiblePart | HiddenPart  # in the log and in messages


@dataclass(frozen=True, slots=True)
class SentPrompt:
    """What the model got for an answer: the number of the first message of the history, and the estimated tokens."""

    first_message: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message. `status` is complete, partial (cancelled, deadline, budget, lost) or failed.

    `sent` is known for an answer if the model has ended it.
    """

    id: str
    role: Literal["user", "assistant"]
    parts: tuple[Part, ...]
    created_at: str  # ISO 8601, UTC
    status: Literal["complete", "partial", "failed"] = "complete"
    generation_id: str | None = None
    model: str | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    sent: SentPrompt | None = None

    @property
    def text(self) -> str:
        """The text, without reasoning, citations and tools."""
        return "".join(part.content for part in self.parts if isinstance(part, Chunk))

    @property
    def visible_parts(self) -> tuple[VisiblePart, ...]:
        """The parts that clients get."""
        return tuple(part for part in self.parts if not isinstance(part, HIDDEN))


@dataclass(frozen=True, slots=True)
class Complete:
    """Terminal event: the answer is stored."""

    finish_reason: FinishReason
    user_message: Message
    ai_message: Message
    usage: Usage
    timing: Timing


@dataclass(frozen=True, slots=True)
class Error:
    """Terminal event: the generation failed. The answer so far is stored as `message_id`; None if it is not stored."""

    code: str
    message: str
    retryable: bool
    status: int  # of the HTTP response, if it is not streamed
    request_id: str
    message_id: str | None


VisibleEvent: TypeAlias = Start | Progress | VisiblePart | Rollback | Complete | Error
Event: TypeAlias = VisibleEvent | HiddenPart
TERMINAL = (Complete, Error)


def merge(events: Iterable[Event]) -> Iterator[Event]:
    """Joins consecutive chunks of text, and of reasoning. The answer stays the same."""
    kind: type[Chunk | Reasoning] | None = None  # of `pieces`
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
    """The state of an answer after some of its events."""

    start: Start | None = None
    parts: tuple[Part, ...] = ()
    missing: tuple[str, ...] = ()  # parts of the memory that the model did not get
    adapted: tuple[str, ...] = ()  # what the model did not get, as in `Progress`
    end: Complete | Error | None = None


def accumulate(answer: Answer, event: Event) -> Answer:
    """Returns the answer after one more event. `merge` the events first if there are many."""
    match event:
        case Start():
            return replace(answer, start=event)
        case Chunk() | Reasoning() | Citation() | Tool() | ReasoningSignature() | RedactedReasoning() | Unknown():
            return replace(answer, parts=_append(answer.parts, event))
        case Complete() | Error():
            return replace(answer, end=event)
        case Rollback(position):
            return replace(answer, parts=_cut_at(answer.parts, position))
        case Progress(stage="adapted", detail=str(change)):
            return replace(answer, adapted=(*answer.adapted, change))
        case Progress(missing=str(part)):
            return replace(answer, missing=(*answer.missing, part))
        case Progress():
            return answer


def fold(events: Iterable[Event]) -> Answer:
    """Returns the answer after all events."""
    answer = Answer()
    for event in merge(events):
        answer = accumulate(answer, event)
    return answer


def _cut_at(parts: tuple[Part, ...], position: int) -> tuple[Part, ...]:
    prefix: list[Part] = []
    for part in parts:
        if position <= 0:
            break
        if isinstance(part, (Chunk, Reasoning)):
            prefix.append(type(part)(part.content[:position]))
            position -= len(part.content)
        else:
            prefix.append(part)
            position -= 1
    return tuple(prefix)


def _append(parts: tuple[Part, ...], part: Part) -> tuple[Part, ...]:
    if parts and isinstance(part, (Chunk, Reasoning)):
        last = parts[-1]
        if isinstance(last, type(part)):
            return (*parts[:-1], type(part)(last.content + part.content))
    return (*parts, part)
