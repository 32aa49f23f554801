"""The chunks of the AI SDK's UI message stream that `/ai/chat` sends (https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol)."""

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, RootModel

from converse_stream.openapi.answers import ErrorDetail, FinishReason, Usage
from converse_stream.openapi.schemas import View


class UiStartMetadata(View):
    """The fields of the native event `start`, except the id of the message."""

    conversation_id: str
    generation_id: str
    model: str


class UiStart(View):
    """The message begins."""

    type: Literal["start"]
    message_id: str
    message_metadata: UiStartMetadata


class UiStep(View):
    """The one step of a message begins or ends."""

    type: Literal["start-step", "finish-step"]


class UiPart(View):
    """A part of text or reasoning begins or ends."""

    type: Literal["text-start", "text-end", "reasoning-start", "reasoning-end"]
    id: str


class UiDelta(View):
    """A piece of text or reasoning."""

    type: Literal["text-delta", "reasoning-delta"]
    id: str
    delta: str


class UiSourceUrl(View):
    """A citation of a web page."""

    type: Literal["source-url"]
    source_id: str
    url: str
    title: str | None = None
    provider_metadata: dict[str, Any] | None = None


class UiSourceDocument(View):
    """A citation of a document or a fact."""

    type: Literal["source-document"]
    source_id: str
    media_type: str
    title: str
    filename: str | None = None
    provider_metadata: dict[str, Any] | None = None


class UiToolInput(View):
    """A call of a tool that runs on the server."""

    type: Literal["tool-input-available"]
    tool_call_id: str
    tool_name: str
    input: JsonValue
    provider_executed: Literal[True]
    dynamic: Literal[True]


class UiToolOutput(View):
    """The result of a tool."""

    type: Literal["tool-output-available"]
    tool_call_id: str
    output: JsonValue
    provider_executed: Literal[True]
    dynamic: Literal[True]


class UiToolError(View):
    """The error of a tool."""

    type: Literal["tool-output-error"]
    tool_call_id: str
    error_text: str
    provider_executed: Literal[True]
    dynamic: Literal[True]


class UiEndMetadata(View):
    """How the answer ended."""

    finish_reason: FinishReason | None = None
    model: str | None = None
    usage: Usage | None = None
    error: ErrorDetail | None = None


class UiMetadata(View):
    """Metadata of the message, sent before its end."""

    type: Literal["message-metadata"]
    message_metadata: UiEndMetadata


class UiEnd(View):
    """The message has ended; `abort` after a cancellation."""

    type: Literal["finish", "abort"]


class UiError(View):
    """The answer failed, or the stream must end while the generation still runs."""

    type: Literal["error"]
    error_text: str


class UiMessageChunk(
    RootModel[
        Annotated[
            UiStart
            | UiStep
            | UiPart
            | UiDelta
            | UiSourceUrl
            | UiSourceDocument
            | UiToolInput
            | UiToolOutput
            | UiToolError
            | UiMetadata
            | UiEnd
            | UiError,
            Field(discriminator="type"),
        ]
    ]
):
    """A chunk of a UI message stream."""
