"""What the buffered routes answer, for openapi.json; fields that are None here are absent on the wire."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic.alias_generators import to_camel


class View(BaseModel):
    """Base of every answer."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class ErrorDetail(View):
    """`code` tells errors apart; `retryable` whether asking again may help; `field` what was wrong."""

    code: str
    message: str
    retryable: bool
    request_id: str
    field: str | None = None
    message_id: str | None = None


class ErrorView(View):
    """Every error; `conversationId` where a turn had begun."""

    error: ErrorDetail
    conversation_id: str | None = None


class HealthView(View):
    """The function runs and is configured."""

    status: Literal["ok"]


class AcceptedView(View):
    """It will be done."""

    status: Literal["accepted"]


class UsageView(View):
    """Tokens; `basis` says whether Bedrock counted them."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost_usd: float | None = None
    basis: Literal["exact", "estimated", "unknown"]


class PartView(View):
    """Text, reasoning, a citation, or a tool's call or outcome."""

    type: Literal["text", "reasoning", "citation", "tool"]
    text: str | None = None
    title: str | None = None
    url: str | None = None
    document: str | None = None
    fact: str | None = None
    quote: str | None = None
    id: str | None = None
    name: str | None = None
    state: Literal["call", "result", "error"] | None = None
    input: JsonValue = None
    output: JsonValue = None
    error: str | None = None


class MessageView(View):
    """A stored message."""

    id: str
    role: Literal["user", "assistant"]
    parts: list[PartView]
    status: Literal["complete", "partial", "failed"]
    created_at: str
    generation_id: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    usage: UsageView | None = None


class MetricsView(View):
    """Times of one turn."""

    duration_ms: int
    first_token_ms: int | None = None
    tokens_per_second: float | None = None


class AnswerView(View):
    """`POST /chat` in one piece; `missing` names what of the memory did not come in time, if anything."""

    conversation_id: str
    message_id: str
    generation_id: str
    model: str
    finish_reason: str
    user_message: MessageView
    ai_message: MessageView
    usage: UsageView
    metrics: MetricsView
    missing: list[str] | None = None


class PromptTokensView(View):
    """Rough counts, by part."""

    system: int
    tools: int
    history: int
    summary: int
    facts: int
    documents: int
    message: int


class PromptView(View):
    """`request` is what Bedrock's `operation` would get; `missing` names what of the memory did not come in time."""

    model: str
    operation: Literal["Converse", "ConverseStream"]
    request: dict[str, JsonValue]
    tokens: PromptTokensView
    total_tokens: int
    context_window: int
    missing: list[str]


class ConversationView(View):
    """One conversation; `active` where an answer is being made."""

    id: str
    updated_at: str
    title: str | None = None
    active: str | None = None


class ConversationPage(View):
    """Newest change first; `cursor` asks for the next page."""

    conversations: list[ConversationView]
    cursor: str | None = None


class MessagePage(View):
    """Oldest first; `cursor` asks for the page before."""

    messages: list[MessageView]
    cursor: str | None = None


class FactView(View):
    """One thing that the assistant remembers; `source` is `user`, or the conversation that it was learned in."""

    id: str
    text: str
    kind: str
    source: str
    created_at: str
    confidence: float | None = None


class FactList(View):
    """All of them, oldest first."""

    facts: list[FactView]


class ProfileView(View):
    """How the user is addressed, what the assistant is called, and whether it learns from what they say."""

    name: str | None = None
    assistant_name: str | None = None
    about: str | None = None
    learning: bool
