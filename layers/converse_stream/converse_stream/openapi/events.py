"""The events of a stream: the native dialect's, and the frames of `?dialect=plain`."""

from typing import Annotated, Literal

from pydantic import Field, RootModel

from converse_stream.openapi.answers import Citation, FinishReason, Message, Metrics, Tool, Usage
from converse_stream.openapi.schemas import View
from converse_stream.protocol.events import Stage


class StartEvent(View):
    """The user's message is stored and the generation runs. Always the first event."""

    type: Literal["start"]
    conversation_id: str
    message_id: str
    generation_id: str
    model: str


class ProgressEvent(View):
    """Progress before the first text. It is not stored."""

    type: Literal["progress"]
    stage: Stage
    detail: str | None = None


class ChunkEvent(View):
    """A piece of the text."""

    type: Literal["chunk"]
    content: str


class ReasoningEvent(View):
    """A piece of the model's reasoning."""

    type: Literal["reasoning"]
    content: str


class CitationEvent(Citation):
    """A citation."""

    type: Literal["citation"]


class ToolEvent(Tool):
    """A tool's call, result or error."""

    type: Literal["tool"]


class RollbackEvent(View):
    """The answer ends at `position`: remove the text after it.

    A position counts code points of text and reasoning, and 1 for each citation, each event of a tool, and each entry
    that is not sent: take positions from the ids of events.
    """

    type: Literal["rollback"]
    position: int


class CompleteEvent(View):
    """The answer has ended and is stored. The last event of a stream."""

    type: Literal["complete"]
    finish_reason: FinishReason
    user_message: Message
    ai_message: Message
    usage: Usage
    metrics: Metrics


class ErrorEvent(View):
    """The answer failed. `messageId` is the message with the partial answer. The last event of a stream."""

    type: Literal["error"]
    code: str
    message: str
    retryable: bool
    request_id: str
    message_id: str | None = None


class StreamEvent(
    RootModel[
        Annotated[
            StartEvent
            | ProgressEvent
            | ChunkEvent
            | ReasoningEvent
            | CitationEvent
            | ToolEvent
            | RollbackEvent
            | CompleteEvent
            | ErrorEvent,
            Field(discriminator="type"),
        ]
    ]
):
    """An event of the native dialect. Ignore unknown types."""


class PlainContent(View):
    """A piece of the text, in `?dialect=plain`."""

    content: str


class PlainError(View):
    """The message of an error, in `?dialect=plain`."""

    error: str
