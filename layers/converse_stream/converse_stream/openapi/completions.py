"""The responses of `/v1`, in OpenAI's form (https://platform.openai.com/docs/api-reference/chat)."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from converse_stream.openapi.schemas import View
from converse_stream.protocol.finish_reasons import FINISH

CompletionFinish = Annotated[str, WithJsonSchema({"enum": sorted({each.openai for each in FINISH.values()})})]


class _Snake(View):
    """Field names in snake_case, as in this protocol."""

    model_config = ConfigDict(alias_generator=None)


class CalledTool(_Snake):
    """The function that the model calls. `arguments` is a JSON object as text."""

    name: str
    arguments: str


class ToolCall(_Snake):
    """A call of one of the request's tools."""

    id: str
    type: Literal["function"]
    function: CalledTool


class ToolCallDelta(ToolCall):
    """A call of a tool in a stream. It is sent in one chunk."""

    index: int


class CompletionUsage(_Snake):
    """Tokens. Those read from and written to Bedrock's prompt cache are part of `prompt_tokens`."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[Literal["cached_tokens"], int]


SigningModel = Annotated[
    str, Field(description="Bedrock's id of the model that made the block. Other models do not get it.")
]


class ReasoningText(_Snake):
    """A block of reasoning with its signature. `text` may be empty: some models do not show it."""

    type: Literal["reasoning.text"]
    text: str
    signature: str
    format: Literal["anthropic-claude-v1"]
    index: int
    model: SigningModel


class ReasoningEncrypted(_Snake):
    """A block of reasoning that only the model can read. `data` is base64."""

    type: Literal["reasoning.encrypted"]
    data: str
    format: Literal["anthropic-claude-v1"]
    index: int
    model: SigningModel


ReasoningDetails = Annotated[
    list[Annotated[ReasoningText | ReasoningEncrypted, Field(discriminator="type")]],
    Field(
        description="The blocks of reasoning, if the request has tools. Send them back unchanged with the message, "
        "together with the results of its tool calls."
    ),
]


class CompletionMessage(_Snake):
    """The answer. `content` is null if there are only tool calls."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: str | None = None
    reasoning_details: ReasoningDetails | None = None
    tool_calls: list[ToolCall] | None = None


class CompletionChoice(_Snake):
    """The one choice."""

    index: Literal[0]
    message: CompletionMessage
    logprobs: None
    finish_reason: CompletionFinish


class ChatCompletion(_Snake):
    """A completion in one piece. `created` is in seconds since the epoch."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: CompletionUsage


class CompletionDelta(_Snake):
    """The new part of the answer; empty in the chunk with the finish reason.

    `reasoning_details` has complete blocks: a client joins the lists of all chunks.
    """

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    reasoning_details: ReasoningDetails | None = None
    tool_calls: list[ToolCallDelta] | None = None


class CompletionChunkChoice(_Snake):
    """The one choice. `finish_reason` is null until its last chunk."""

    index: Literal[0]
    delta: CompletionDelta
    finish_reason: CompletionFinish | None


class ChatCompletionChunk(_Snake):
    """A chunk of a streamed completion. The chunk with `usage` has no choices."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[CompletionChunkChoice]
    usage: CompletionUsage | None = None


class CompletionErrorDetail(_Snake):
    """`param` is the field of the request that is wrong, or null."""

    message: str
    type: Literal[
        "invalid_request_error", "authentication_error", "permission_error", "rate_limit_error", "server_error"
    ]
    code: str
    param: str | None


class CompletionError(_Snake):
    """An error of `/v1`, as a response or as the last chunk of a stream."""

    error: CompletionErrorDetail


class CompletionModel(_Snake):
    """A model; `id` is its alias, `created` is always 0."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class CompletionModels(_Snake):
    """The models that a request may use."""

    object: Literal["list"]
    data: list[CompletionModel] = Field(description="In the order of the catalog.")
