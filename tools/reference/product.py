"""Values that the reference reads from the Python code. No other module here imports that code."""

import re
from collections.abc import Iterator

import ai_sdk as ai_sdk_routes
import completions as completion_routes
from converse_stream.dialects import sse
from converse_stream.dialects.ai_sdk.frames import AiSdk
from converse_stream.dialects.ai_sdk.request import MAX_BODY_BYTES
from converse_stream.dialects.openai.frames import error as openai_error
from converse_stream.generation import follower
from converse_stream.generation.generation import IDLE_FLUSH_SECONDS
from converse_stream.http.request import CREDENTIALS_LIMIT
from converse_stream.model.client import ATTEMPTS
from converse_stream.model.thinking import DEFAULT_OUTPUT_TOKENS
from converse_stream.model.thinking import TOKENS as REASONING_TOKENS
from converse_stream.openapi.document import document
from converse_stream.protocol.errors import (
    BudgetExhausted,
    ChatError,
    ModelError,
    ModelNotAllowed,
    ModelUnpriced,
    TooManyGenerations,
    TooManyRequests,
)
from converse_stream.protocol.events import Complete, Message, Timing, Usage
from converse_stream.protocol.finish_reasons import FINISH, UNKNOWN, Finish
from converse_stream.protocol.log import PositionedEvent
from converse_stream.settings import Settings
from converse_stream.store import conversations, erasure
from converse_stream.store.generation_record import LEASE_GRACE_MS, LEASE_MS, LOG_LIFETIME

__all__ = [
    "AI_SDK_BODY_BYTES",
    "AI_SDK_REPLAY_SECONDS",
    "AI_SDK_STOP_SECONDS",
    "ATTACH_SECONDS",
    "CANCEL_SECONDS",
    "CREDENTIALS_LIMIT",
    "DEFAULT_OUTPUT_TOKENS",
    "DELETED_ID_SECONDS",
    "ERASE_SECONDS",
    "FINISH",
    "FOLLOWERS",
    "HEARTBEAT",
    "HEARTBEAT_SECONDS",
    "LEASE_SECONDS",
    "LOG_SECONDS",
    "MODEL_ATTEMPTS",
    "NUDGE",
    "NUDGE_SECONDS",
    "OPENAI_OPENING_SECONDS",
    "REASONING_TOKENS",
    "STREAM_END",
    "UNKNOWN",
    "ChatError",
    "Finish",
    "ModelError",
    "Settings",
    "ai_sdk_ending",
    "document",
    "error_kinds",
    "example",
    "openai_type",
    "retry_after",
]

AI_SDK_BODY_BYTES = MAX_BODY_BYTES
AI_SDK_REPLAY_SECONDS = ai_sdk_routes.REPLAY_SECONDS
AI_SDK_STOP_SECONDS = ai_sdk_routes.CANCEL_SECONDS
ATTACH_SECONDS = follower.ATTACH_SECONDS
CANCEL_SECONDS = IDLE_FLUSH_SECONDS
DELETED_ID_SECONDS = conversations.MARKER_SECONDS
ERASE_SECONDS = erasure.INDEX_LAG
FOLLOWERS = follower.MAX_FOLLOWERS
HEARTBEAT, HEARTBEAT_SECONDS = sse.HEARTBEAT, sse.HEARTBEAT_AFTER
LEASE_SECONDS = (LEASE_MS + LEASE_GRACE_MS) / 1000  # both in milliseconds
LOG_SECONDS = LOG_LIFETIME
MODEL_ATTEMPTS = ATTEMPTS
NUDGE, NUDGE_SECONDS = sse.NUDGE, sse.NUDGE_AFTER
OPENAI_OPENING_SECONDS = completion_routes.FIRST_EVENT_SECONDS
STREAM_END = sse.DONE

# Errors whose message depends on the case.
_EXAMPLES: dict[type[ChatError], ChatError] = {
    TooManyRequests: TooManyRequests("user", 2),
    TooManyGenerations: TooManyGenerations(Settings.model_fields["user_generations"].default),
    ModelNotAllowed: ModelNotAllowed("model must be one of claude-haiku, nova-lite."),
    ModelUnpriced: ModelUnpriced("openai.gpt-6-sol"),
    BudgetExhausted: BudgetExhausted("user", "2026-01-02T00:00:00+00:00", 3600),
}


def error_kinds() -> list[type[ChatError]]:
    """Return the error classes with their own code, in the order of their definition."""

    def below(kind: type[ChatError]) -> Iterator[type[ChatError]]:
        yield kind
        for each in kind.__subclasses__():
            yield from below(each)

    return [kind for kind in below(ChatError) if "code" in vars(kind)]


def example(kind: type[ChatError]) -> ChatError:
    """Return an error of this class with its default message."""
    return _EXAMPLES[kind] if kind in _EXAMPLES else kind()


def retry_after(kind: type[ChatError]) -> str:
    """Return the value of the header `Retry-After` as text, or an empty text."""
    seconds = example(kind).retry_after
    if seconds is None:
        return ""
    return "varies" if kind in (TooManyRequests, BudgetExhausted) else f"{seconds} s"


def openai_type(error: ChatError) -> str:
    """Return the `type` of the error on `/v1`."""
    return str(openai_error(error)["error"]["type"])


def ai_sdk_ending(finish_reason: str) -> str:
    """Return the type of the last chunk of the AI SDK's stream for an answer with this finish reason."""
    question = Message("message-1", "user", (), "2026-01-01T00:00:00.000+00:00")
    answer = Message("message-2", "assistant", (), "2026-01-01T00:00:02.000+00:00", finish_reason=finish_reason)
    end = Complete(finish_reason, question, answer, Usage(), Timing(0))
    types: list[str] = re.findall(r'"type":"([\w-]+)"', AiSdk().encode(PositionedEvent(end, 0)))
    return types[-1]
