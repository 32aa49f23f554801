"""The errors that clients get: subclasses of ChatError with a public code, an HTTP status and a message.

`retryable` says whether the same request may succeed later.

The text of an exception from a library is never sent to a client. Its type is in the log, with the request id.
"""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, TypeAlias


class ChatError(Exception):
    """An unexpected failure."""

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = True
    default: ClassVar[str] = "An internal error occurred."

    def __init__(self, message: str | None = None, *, field: str | None = None, retry_after: int | None = None) -> None:
        super().__init__(message or self.default)
        self.message = message or self.default
        self.field = field
        self.retry_after = retry_after  # seconds

    @property
    def headers(self) -> dict[str, str]:
        """The headers of an error response."""
        return {} if self.retry_after is None else {"retry-after": str(self.retry_after)}

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON body of an error response. After the first byte of a stream, errors are events."""
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
    """The request cannot be parsed or is not valid; `field` names the wrong field or header."""

    code, status, retryable, default = "bad_request", 400, False, "The request is not valid."


class Unauthenticated(ChatError):
    """No valid identity. The response is the same for every reason."""

    code, status, retryable, default = "unauthenticated", 401, False, "Authentication is required."


class Forbidden(ChatError):
    """The request did not come through the web host."""

    code, status, retryable, default = "forbidden", 403, False, "Requests must be sent to the web host."


class NotFound(ChatError):
    """It does not exist, or belongs to another user. The response is the same for both."""

    code, status, retryable, default = "not_found", 404, False, "Not found."


class DeletionUnfinished(NotFound):
    """The conversation is deleted, but some of its items are still stored. Clients get `not_found`."""

    def __init__(self, conversation: str) -> None:
        super().__init__()
        self.conversation = conversation


class MethodNotAllowed(ChatError):
    """The path exists, but not with this method."""

    code, status, retryable, default = "method_not_allowed", 405, False, "Method not allowed."


class ConversationBusy(ChatError):
    """The conversation has a running generation: `generation`, if its id is known."""

    code, status, default = "conversation_busy", 409, "The conversation has a running generation."

    def __init__(self, message: str | None = None, *, generation: str | None = None) -> None:
        super().__init__(message)
        self.generation = generation

    def body(self, request_id: str) -> dict[str, Any]:
        """The JSON body, with the id of the running generation, which the client can follow."""
        body = super().body(request_id)
        if self.generation:
            body["error"]["generationId"] = self.generation
        return body


class NotActive(ChatError):
    """The generation in the request is not the active one."""

    code, status, retryable, default = "not_active", 409, False, "This generation is not active."


class AlreadyExists(ChatError):
    """The id is already in use."""

    code, status, retryable, default = "exists", 409, False, "This id is already in use."


class ErasureInProgress(ChatError):
    """All data of the user is being erased. New messages are possible afterwards."""

    code, status, default = "being_erased", 409, "Your data is being erased. Try again when that has ended."
    conversation: ClassVar[None] = None  # all conversations

    def __init__(self) -> None:
        super().__init__(retry_after=5)


class IdempotencyKeyReused(ChatError):
    """The idempotency key was already used with another payload."""

    code, status, retryable = "idempotency_key_reused", 422, False
    default = "This Idempotency-Key was already used for another request."


class TooManyFollowers(ChatError):
    """Too many clients follow the generation."""

    code, status, default = "too_many_followers", 429, "Too many clients follow this generation."

    def __init__(self) -> None:
        super().__init__(retry_after=5)


class TooManyRequests(ChatError):
    """The user or the IP address has sent too many requests."""

    code, status = "too_many_requests", 429

    def __init__(self, limit: str, seconds: int) -> None:
        super().__init__(f"Too many requests from this {limit}.", retry_after=seconds)


class TooManyGenerations(ChatError):
    """The user has too many running generations."""

    code, status = "too_many_generations", 429

    def __init__(self, limit: int) -> None:
        super().__init__(f"The limit of running generations is {limit}.", retry_after=5)


class BudgetExhausted(ChatError):
    """The tokens or the money for today are used up, of the user or of the deployment."""

    code, status = "budget_exhausted", 429

    def __init__(self, limit: str, reset: str, seconds: int) -> None:
        super().__init__(f"The {limit}'s budget for today is exhausted. It is renewed at {reset}.", retry_after=seconds)


class Paused(ChatError):
    """The operator has disabled new answers."""

    code, status, default = "paused", 503, "The operator has paused new answers."

    def __init__(self) -> None:
        super().__init__(retry_after=60)


class TooLarge(ChatError):
    """The request is over a size limit, which the message names."""

    code, status, retryable, default = "too_large", 413, False, "The request is too large."


class UnsupportedMediaType(ChatError):
    """The content type of the request is not JSON."""

    code, status, retryable, default = "unsupported_media_type", 415, False, "Content-Type must be application/json."


class StorageError(ChatError):
    """The table did not respond, or refused a write."""

    code, status, default = "storage", 503, "The conversation could not be read or stored."


class DispatchFailed(ChatError):
    """Lambda did not accept the asynchronous invocation of a task."""

    code, status, default = "hand_over", 503, "A background task could not be started."


class FlagsUnavailable(ChatError):
    """The feature flags of the user could not be read."""

    code, status, default = "flags", 503, "The feature flags could not be read."


class ModelError(ChatError):
    """The model failed in a way that has no code of its own. `hint` tells the operator what to do; it is logged."""

    code, status, default = "model_failed", 502, "The model failed."
    hint: ClassVar[str] = ""


class ModelThrottled(ModelError):
    """The account or the model is over its quota of requests or tokens."""

    code, status, default = "model_throttled", 503, "The model is busy. Try again in a moment."


class ModelUnavailable(ModelError):
    """Bedrock could not be reached, or is not available."""

    code, status, default = "model_unavailable", 503, "The model is not available at the moment."


class ModelNotReady(ModelError):
    """The model is still loading."""

    code, status, default = "model_not_ready", 503, "The model is starting. Try again in a moment."


class ModelAccessDenied(ModelError):
    """The account or the role may not use the model."""

    code, retryable, default = "model_access_denied", False, "This deployment may not use the model."
    hint = "Check the parameter ModelArns, and the model's page in the model catalog of the Bedrock console."


class BedrockKeyRefused(ModelError):
    """Bedrock did not accept the key of the request for this model."""

    code, status, retryable, default = "key_refused", 403, False, "Bedrock did not accept this key for the model."


class ModelNotAllowed(ChatError):
    """Callers of this deployment may not use the model, or it is no model. The message lists the allowed ones."""

    code, status, retryable = "model_not_allowed", 404, False


class ModelUnpriced(ChatError):
    """The price of the model is not known, so a budget in dollars cannot hold."""

    code, status, retryable = "model_unpriced", 403, False

    def __init__(self, name: str) -> None:
        message = f"{name} has no price. Set its price in the parameter ModelOverrides, or the budgets in dollars to 0."
        super().__init__(message, field="model")


class ModelNotFound(ModelError):
    """The model or its inference profile does not exist in this region."""

    code, retryable, default = "model_not_found", False, "The model does not exist in this deployment's region."
    hint = "Set InferenceProfile, or another model in DefaultModel, TaskModel or AllowedModels."


class ModelEndOfLife(ModelNotFound):
    """Bedrock does not offer the model any more."""

    code, default = "model_end_of_life", "The model has reached the end of its life."
    hint = "Replace the model in DefaultModel, TaskModel, AllowedModels or ModelOverrides. See docs/models.md."


class ModelLegacy(ModelNotFound):
    """The model is closed to accounts that have not used it recently."""

    code, default = "model_legacy", "The model is closed to this account."
    hint = "Replace the model in DefaultModel, TaskModel, AllowedModels or ModelOverrides. See docs/models.md."


class InferenceProfileNeeded(ModelNotFound):
    """The model needs an inference profile, and this deployment calls it without one."""

    code, default = (
        "inference_profile_needed",
        "The model needs an inference profile, which this deployment does not use.",
    )
    hint = "Set InferenceProfile to a profile that the model has, or name the id of the profile as the model."


class ModelInvalidRequest(ModelError):
    """The model did not accept the request."""

    code, retryable, default = "model_invalid_request", False, "The model did not accept this request."


class ContextLengthExceeded(ModelInvalidRequest):
    """The prompt is longer than the model's context window."""

    code, status, default = "context_length_exceeded", 400, "The prompt is longer than the model's context window."


Capability: TypeAlias = Literal[
    "streaming",
    "tool_streaming",
    "system_prompt",
    "forced_tools",
    "forced_tools_with_thinking",
    "text_format",
    "temperature",
    "topP",
    "sampling_pair",
    "thinking",
    "thinking_budget",
    "adaptive_thinking",
    "no_thinking",
    "effort",
    "cache",
    "cache_ttl",
    "signed_reasoning",
]


class CapabilityRefused(ModelInvalidRequest):
    """The model refused the request because it lacks a capability. It is called again without, if that is possible."""

    def __init__(self, capability: Capability) -> None:
        super().__init__()
        self.capability = capability


class ModelTimeout(ModelError):
    """The model sent nothing for too long."""

    code, status, default = "model_timeout", 504, "The model sent nothing for too long."


class ModelTruncated(ModelError):
    """The stream ended without a stop reason."""

    code, default = "model_truncated", "The answer was interrupted."


class ModelConnectionLost(ModelError):
    """The connection to the model was reset."""

    code, default = "model_connection_lost", "The connection to the model was lost."


class ModelCorrupt(ModelError):
    """A frame of the stream had a wrong checksum or format."""

    code, default = "model_corrupt", "The model's answer was damaged in transit."


class ModelInternal(ModelError):
    """The model failed before or during the stream."""

    code, default = "model_internal", "The model failed while answering."


class ModelMalformed(ModelError):
    """Bedrock could not parse the output of the model."""

    code, default = "model_malformed", "The model's output could not be parsed."


# Errors before the model has read any input: these calls cost nothing.
REFUSALS = (
    ModelThrottled,
    ModelUnavailable,
    ModelNotReady,
    ModelAccessDenied,
    BedrockKeyRefused,
    ModelNotFound,
    ModelInvalidRequest,
)


# Errors of a model that cannot be used at all. Their message names the model.
UNUSABLE = (ModelAccessDenied, ModelNotFound)


def by_code(code: str, model: str = "") -> ChatError:
    """The error that ended a generation, by its code; an internal error for any other code.

    `model` is the name of the requested model.
    """

    def subtree(error: type[ChatError]) -> Iterator[type[ChatError]]:
        yield error
        for subclass in error.__subclasses__():
            yield from subtree(subclass)

    errors: list[type[ChatError]] = [StorageError, *subtree(ModelError)]
    kind = next((error for error in errors if error.code == code), ChatError)
    return kind(f"{model}: {kind.default}") if model and issubclass(kind, UNUSABLE) else kind()
