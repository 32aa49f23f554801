"""The JSON responses of the routes. Those of the AI SDK and of OpenAI are in `ai_sdk` and `completions`."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue, RootModel, WithJsonSchema
from typing_extensions import TypeAliasType

from converse_stream.model.capabilities import Input
from converse_stream.openapi.schemas import View
from converse_stream.protocol.finish_reasons import FINISH
from converse_stream.protocol.options import Effort

FinishReason = TypeAliasType(
    "FinishReason",
    Annotated[
        str,
        WithJsonSchema(
            {
                "description": "Why the answer ended: one of these, or another reason of the model.",
                "anyOf": [{"enum": list(FINISH)}, {"type": "string"}],
            }
        ),
    ],
)


class ErrorDetail(View):
    """`code` identifies the error; `retryable` says whether the same request may succeed later."""

    code: str
    message: str
    retryable: bool
    request_id: str
    field: str | None = Field(default=None, description="The field of the request that is wrong.")
    generation_id: str | None = Field(
        default=None, description="`conversation_busy`: the running generation, if it is known."
    )
    message_id: str | None = Field(
        default=None, description="The message with the partial answer, if the model failed after it started."
    )


class ErrorBody(View):
    """All errors except those of `/v1`."""

    error: ErrorDetail
    conversation_id: str | None = Field(
        default=None, description="The conversation with the message, if the generation had started."
    )


class Health(View):
    """The function runs and is configured."""

    status: Literal["ok"]


class Accepted(View):
    """The request was accepted and is being processed."""

    status: Literal["accepted"]


class Running(View):
    """The generation still runs. Send the request again with the same `Idempotency-Key`."""

    status: Literal["running"]
    conversation_id: str
    generation_id: str


class Usage(View):
    """Tokens. `exact` is the count of Bedrock, `estimated` is our estimate after a cancellation or a failure."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: float | None = Field(
        description="US dollars, at the prices of the catalog. Null if the price is not known, "
        "or the request has its own Bedrock key."
    )
    basis: Literal["exact", "estimated", "unknown"]


class Metrics(View):
    """Times of one generation. A generation that was followed from the table has `durationMs` 0 and nothing else."""

    duration_ms: int
    first_token_ms: int | None = None
    tokens_per_second: float | None = None


class Citation(View):
    """The source of a statement. `fact` is the id of a fact about the user."""

    title: str | None = None
    url: str | None = None
    document: str | None = None
    fact: str | None = None
    quote: str | None = None


class Tool(View):
    """A call of a tool, and later its result or error under the same id."""

    id: str
    name: str
    state: Literal["call", "result", "error"]
    input: JsonValue = None
    output: JsonValue = None
    error: str | None = None


class TextPart(View):
    """Text."""

    type: Literal["text"]
    text: str


class ReasoningPart(View):
    """The model's reasoning."""

    type: Literal["reasoning"]
    text: str


class CitationPart(Citation):
    """A citation within a message."""

    type: Literal["citation"]


class ToolPart(Tool):
    """A tool's call, result or error within a message."""

    type: Literal["tool"]


class MessagePart(
    RootModel[Annotated[TextPart | ReasoningPart | CitationPart | ToolPart, Field(discriminator="type")]]
):
    """A part of a message."""


class MessageFailure(View):
    """Why an answer failed, as in its `error` event."""

    code: str
    message: str
    retryable: bool


class Message(View):
    """A stored message. `partial`: cancelled, out of time, out of budget, or lost with its environment."""

    id: str
    role: Literal["user", "assistant"]
    parts: list[MessagePart]
    status: Literal["complete", "partial", "failed"]
    created_at: str
    generation_id: str | None = None
    model: str | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    error: MessageFailure | None = Field(default=None, description="If `status` is `failed`.")


class Answer(View):
    """An answer in one piece."""

    conversation_id: str
    message_id: str
    generation_id: str
    model: str
    finish_reason: FinishReason
    user_message: Message
    ai_message: Message
    usage: Usage
    metrics: Metrics
    adapted: list[str] | None = Field(
        default=None, description="The fields that the model did not get, or got with another value, as in `progress`."
    )
    missing: list[str] | None = Field(
        default=None, description="What the model did not get: late parts of the memory, and parts of the conversation."
    )


class PromptTokens(View):
    """Estimated tokens of each part of a prompt."""

    system: int
    tools: int
    history: int
    summary: int
    facts: int
    documents: int
    message: int


class PromptPreview(View):
    """`request` is the request to Bedrock's `operation`. `missing` has what the model would not get."""

    model: str
    operation: Literal["Converse", "ConverseStream"]
    request: dict[str, JsonValue]
    tokens: PromptTokens
    total_tokens: int
    context_window: int
    missing: list[str]


class ModelReasoning(View):
    """How a model thinks before it answers. It has the effort `none` if a request can disable the thinking."""

    efforts: list[Effort]
    default: Effort | None = Field(description="Of a request without an effort. Null: the model does not think then.")
    always: bool = Field(description="Whether the thinking cannot be disabled.")


class TokenPrice(View):
    """US dollars for a million tokens. Cached tokens without a price of their own cost as much as input."""

    input: float
    output: float
    cache_read: float | None = None
    cache_write: float | None = None


class PriceTier(TokenPrice):
    """The price of requests with more than `above` input tokens, for all of their tokens."""

    above: int


class ModelPrice(TokenPrice):
    """The on-demand price of a model, through the inference profile that the deployment uses."""

    tiers: list[PriceTier] | None = Field(default=None, description="Prices of larger requests, if they differ.")


class ModelInfo(View):
    """A model that requests may name."""

    id: str = Field(description="The name in requests.")
    name: str = Field(description="The name to show.")
    model: str = Field(description="Bedrock's id.")
    inputs: list[Input]
    reasoning: ModelReasoning | None = Field(description="Null if the model does not think.")
    context_tokens: int = Field(description="The most tokens of a prompt and its answer together.")
    output_tokens: int = Field(description="The most tokens of an answer.")
    lifecycle: Literal["active", "legacy"]
    price_per_million: ModelPrice | None = Field(description="Null if it is not known.")


class ModelList(View):
    """The models that requests may name. `default` is the model of a request that names none."""

    default: str
    models: list[ModelInfo]


class Conversation(View):
    """One conversation."""

    id: str
    updated_at: str
    title: str | None = None
    active: str | None = Field(
        default=None, description="The running generation. Only `GET /conversations/{conversation}` has it."
    )


class ConversationPage(View):
    """Newest change first. `cursor` is the query parameter for the next page."""

    conversations: list[Conversation]
    cursor: str | None = None


class MessagePage(View):
    """Oldest first. `cursor` is the query parameter for the page of older messages."""

    messages: list[Message]
    cursor: str | None = None


class Fact(View):
    """A fact about the user. `source` is `user`, or the conversation that it was learned from."""

    id: str
    text: str
    kind: str
    source: str
    created_at: str
    confidence: float | None = None
    message: int | None = None


class FactList(View):
    """All facts, oldest first."""

    facts: list[Fact]


class Profile(View):
    """How the user is addressed, the name of the assistant, and whether it learns from the user's messages."""

    name: str | None = None
    assistant_name: str | None = None
    about: str | None = None
    learning: bool


class OpenApi(View):
    """This document, as specified by OpenAPI 3.1."""

    openapi: str
    info: dict[str, JsonValue]
    security: list[JsonValue]
    paths: dict[str, JsonValue]
    components: dict[str, JsonValue]
