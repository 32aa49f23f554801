"""One tree of errors. Each has a public code, an HTTP status and a word on whether asking again may help.

The messages are ours and are sent to clients; the text of a foreign exception never is: it goes to the log,
beside the request id.
"""

from collections.abc import Iterator
from typing import Any, ClassVar


class ChatError(Exception):
    """Base of everything that a client may be told."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = True
    default: ClassVar[str] = "Something went wrong on our side."

    def __init__(self, message: str | None = None, *, field: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message or self.default)
        self.message = message or self.default
        self.field = field
        self.retry_after = retry_after  # seconds

    @property
    def headers(self) -> dict[str, str]:
        """What goes with an answer that has not started to stream."""
        return {} if self.retry_after is None else {"retry-after": str(self.retry_after)}

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON body of an answer that has not started to stream."""
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "requestId": request_id,
            "retryable": self.retryable,
        }
        if self.field is not None:
            error["field"] = self.field
        return {"error": error}


class BadRequest(ChatError):
    """The request cannot be read or breaks a rule; `field` names what."""

    code, status, retryable, default = "bad_request", 400, False, "The request is not valid."


class Unauthenticated(ChatError):
    """Nobody we know; the same answer whatever was wrong."""

    code, status, retryable, default = "unauthenticated", 401, False, "Authentication is needed."


class Forbidden(ChatError):
    """The request did not come through the host in front."""

    code, status, retryable, default = "forbidden", 403, False, "This address is not open to you."


class NotFound(ChatError):
    """Unknown, or not the caller's: the same answer for both."""

    code, status, retryable, default = "not_found", 404, False, "There is nothing here."


class DeletionUnfinished(NotFound):
    """A conversation whose deletion broke off; a client is told that there is nothing."""

    def __init__(self, conversation: str) -> None:
        super().__init__()
        self.conversation = conversation


class MethodNotAllowed(ChatError):
    """The path exists, the method does not."""

    code, status, retryable, default = "method_not_allowed", 405, False, "This method is not allowed here."


class ConversationBusy(ChatError):
    """An answer to the conversation is being made: `generation`, if it is known."""

    code, status, default = "conversation_busy", 409, "An answer is being made in this conversation."

    def __init__(self, message: str | None = None, *, generation: str | None = None) -> None:
        super().__init__(message)
        self.generation = generation

    def body(self, request_id: str) -> dict[str, Any]:
        """With the running generation, so that the client can follow it."""
        body = super().body(request_id)
        if self.generation:
            body["error"]["generationId"] = self.generation
        return body


class NotActive(ChatError):
    """The generation that was named is not the one that is being made."""

    code, status, retryable, default = "not_active", 409, False, "This answer is not being made any more."


class AlreadyExists(ChatError):
    """There is something with this id already."""

    code, status, retryable, default = "exists", 409, False, "There is something with this id already."


class ErasureInProgress(ChatError):
    """Everything that the user has is being erased; afterwards they may begin again."""

    code, status, default = "being_erased", 409, "Your data is being erased; try again when that is done."
    conversation: ClassVar[None] = None  # all of them

    def __init__(self) -> None:
        super().__init__(retry_after=5)


class IdempotencyKeyReused(ChatError):
    """The same idempotency key came with another payload."""

    code, status, retryable = "idempotency_key_reused", 422, False
    default = "This idempotency key was used for another message."


class TooManyFollowers(ChatError):
    """Too many clients follow one generation."""

    code, status, default = "too_many_followers", 429, "Too many clients follow this answer."

    def __init__(self) -> None:
        super().__init__(retry_after=5)


class TooManyRequests(ChatError):
    """The user, or the address that they come from, asks too often."""

    code, status = "too_many_requests", 429

    def __init__(self, limit: str, seconds: int) -> None:
        super().__init__(f"Too many requests by this {limit}.", retry_after=seconds)


class TooManyGenerations(ChatError):
    """The user has as many answers being made as they may have at once."""

    code, status = "too_many_generations", 429

    def __init__(self, most: int) -> None:
        super().__init__(f"No more than {most} answers can be made at once.", retry_after=5)


class BudgetExhausted(ChatError):
    """The day's tokens or money are used up; `limit` says whose."""

    code, status = "budget_exhausted", 429

    def __init__(self, limit: str, reset: str, seconds: int) -> None:
        super().__init__(f"The {limit}'s budget for today is used up. It is renewed at {reset}.", retry_after=seconds)


class Paused(ChatError):
    """The operator has switched new answers off."""

    code, status, default = "paused", 503, "New answers are paused by the operator."

    def __init__(self) -> None:
        super().__init__(retry_after=60)


class TooLarge(ChatError):
    """A size limit; the message names it."""

    code, status, retryable, default = "too_large", 413, False, "The request is too large."


class UnsupportedMediaType(ChatError):
    """The body is not declared as JSON."""

    code, status, retryable, default = "unsupported_media_type", 415, False, "Send application/json."


class StorageError(ChatError):
    """The table did not answer or refused a write."""

    code, status, default = "storage", 503, "The conversation could not be stored."


class DispatchFailed(ChatError):
    """Lambda did not take work over."""

    code, status, default = "hand_over", 503, "Work could not be handed over."


class FlagsUnavailable(ChatError):
    """Nobody can say what is switched on for the user."""

    code, status, default = "flags", 503, "It is not known what is switched on."


class ModelError(ChatError):
    """Base of what can go wrong with the model. What came before it is kept."""

    code, status, default = "model_failed", 502, "The model failed."


class ModelThrottled(ModelError):
    """Too many requests or tokens for the account or the model."""

    code, status, default = "model_throttled", 503, "The model is busy; try again in a moment."


class ModelUnavailable(ModelError):
    """The service could not be reached or is out of order."""

    code, status, default = "model_unavailable", 503, "The model is not available at the moment."


class ModelNotReady(ModelError):
    """The model is still being loaded."""

    code, status, default = "model_not_ready", 503, "The model is being started; try again in a moment."


class ModelAccessDenied(ModelError):
    """The account or the role may not use the model."""

    code, retryable, default = "model_access_denied", False, "This deployment may not use the model."


class BedrockKeyRefused(ModelError):
    """Bedrock does not know the caller's own key, or it may not use the model."""

    code, status, retryable, default = "key_refused", 403, False, "Bedrock did not accept this key for the model."


class ModelNotFound(ModelError):
    """The model or its inference profile does not exist in this region."""

    code, retryable, default = "model_not_found", False, "The model does not exist in this deployment's region."


class InferenceProfileNeeded(ModelNotFound):
    """The model is called by an inference profile only, and this deployment calls it without one."""

    code, default = (
        "inference_profile_needed",
        "This deployment calls the model without the inference profile it needs.",
    )


class ModelInvalidRequest(ModelError):
    """The model refused the request as it was built."""

    code, retryable, default = "model_invalid_request", False, "The model did not accept this request."


class ContextLengthExceeded(ModelInvalidRequest):
    """The prompt is longer than the model's context window."""

    code, status, default = "context_length_exceeded", 400, "This is longer than the model's context window."


class StreamingRefused(ModelInvalidRequest):
    """This model answers in one piece only. Handled before it reaches a client."""


class ToolStreamingRefused(ModelInvalidRequest):
    """This model streams, but not where there are tools. Handled before it reaches a client."""


class SystemPromptRefused(ModelInvalidRequest):
    """This model takes no system prompt. Handled before it reaches a client."""


class ModelTimeout(ModelError):
    """The model was silent for too long."""

    code, status, default = "model_timeout", 504, "The model was silent for too long."


class ModelTruncated(ModelError):
    """The stream ended without the model's own stop."""

    code, default = "model_truncated", "The answer broke off."


class ModelConnectionLost(ModelError):
    """The connection to the model was reset."""

    code, default = "model_connection_lost", "The connection to the model was lost."


class ModelCorrupt(ModelError):
    """A frame's checksum or shape was wrong."""

    code, default = "model_corrupt", "The model's answer arrived damaged."


class ModelInternal(ModelError):
    """The model's own failure, before or during the stream."""

    code, default = "model_internal", "The model failed while answering."


class ModelMalformed(ModelError):
    """The model wrote something that its own service could not read."""

    code, default = "model_malformed", "The model wrote an answer that could not be read."


# The model's refusals that come before it has read anything that is paid for.
REFUSALS = (
    ModelThrottled,
    ModelUnavailable,
    ModelNotReady,
    ModelAccessDenied,
    BedrockKeyRefused,
    ModelNotFound,
    ModelInvalidRequest,
)


def by_code(code: str) -> ChatError:
    """The error with this public code that ended an answer, as it is told again to whoever asks later."""

    def below(kind: type[ChatError]) -> Iterator[type[ChatError]]:
        yield kind
        for each in kind.__subclasses__():
            yield from below(each)

    kinds: list[type[ChatError]] = [StorageError, *below(ModelError)]
    return next((kind() for kind in kinds if kind.code == code), ChatError())
