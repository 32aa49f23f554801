"""All routes of both functions: parameters, body, and all statuses of their responses.

`ROUTES` is the complete description; `document` writes it as OpenAPI. Responses of API Gateway, Lambda and CloudFront
themselves are not described: throttling, unknown routes, a body over 6 MB.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from re import Pattern
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel

from converse_stream.dialects.ai_sdk.request import AiChatRequest
from converse_stream.dialects.openai.request import CompletionRequest
from converse_stream.generation.follower import CURSOR
from converse_stream.http import bodies
from converse_stream.http.request import BEDROCK_API_KEY, ID
from converse_stream.openapi import answers
from converse_stream.openapi.ai_sdk import UiMessageChunk
from converse_stream.openapi.completions import (
    ChatCompletion,
    ChatCompletionChunk,
    CompletionError,
    CompletionModel,
    CompletionModels,
)
from converse_stream.openapi.events import PlainContent, PlainError, StreamEvent
from converse_stream.protocol import errors
from converse_stream.protocol.errors import ChatError

Function: TypeAlias = Literal["stream", "converse"]
BOTH: tuple[Function, ...] = ("stream", "converse")
STREAM: tuple[Function, ...] = ("stream",)
CONVERSE: tuple[Function, ...] = ("converse",)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query, the path or the headers. `schema` is JSON Schema."""

    name: str
    location: Literal["query", "path", "header"]
    schema: Mapping[str, Any]
    description: str


@dataclass(frozen=True, slots=True)
class Reply:
    """A response of a route with one status.

    `body` has the possible JSON objects, `events` the possible `data` of a stream's events: a model or a literal text.
    `headers` has names from `HEADERS`.
    """

    description: str
    body: tuple[type[BaseModel], ...] = ()
    events: tuple[type[BaseModel] | str, ...] = ()
    headers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `functions` serve it. `errors` are all errors of its responses, in the form `error`."""

    method: str
    path: str
    functions: tuple[Function, ...]
    summary: str
    replies: Mapping[int, Reply]
    errors: tuple[type[ChatError], ...] = ()
    parameters: Sequence[Parameter] = ()
    body: type[BaseModel] | None = None
    body_required: bool = True
    is_open: bool = False
    error: tuple[type[BaseModel], ...] = (answers.ErrorBody,)


def _whole(pattern: Pattern[str]) -> dict[str, str]:
    return {"type": "string", "pattern": f"^{pattern.pattern}$"}


HEADERS: dict[str, tuple[Mapping[str, Any], str]] = {
    "x-request-id": ({"type": "string"}, "Lambda's id of the request. The log has it too."),
    "retry-after": ({"type": "integer", "minimum": 1}, "Seconds to wait before the next attempt."),
    "x-vercel-ai-ui-message-stream": ({"const": "v1"}, "The version of the AI SDK's protocol."),
    "x-adapted": ({"type": "string"}, "The fields that the model did not get, or got with another value."),
    "x-should-retry": ({"const": "false"}, "Tells OpenAI's SDKs not to repeat a request that was already repeated."),
}

# Parameters

PATH_ID = {"type": "string", "pattern": ID}
CONVERSATION = Parameter("conversation", "path", PATH_ID, "The id of a conversation.")
FACT = Parameter("fact", "path", PATH_ID, "The id of a fact.")
MODEL = Parameter("model", "path", PATH_ID, "The name of a model.")
LIMIT = Parameter(
    "limit",
    "query",
    {"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
    "Entries of a page; a page may have fewer.",
)
PAGE = Parameter("cursor", "query", {"type": "string", "maxLength": 300}, "The `cursor` of the page before.")
DIALECT = Parameter(
    "dialect",
    "query",
    {"type": "string", "enum": ["native", "plain"], "default": "native"},
    "The encoding of the events of a stream.",
)
IN_ONE_PIECE = Parameter(
    "stream", "query", {"type": "string"}, "`false` answers as one JSON object, as API Gateway always does."
)
IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "header",
    _whole(bodies.IDEMPOTENCY_KEY),
    "Identifies the send. A request with the same key gets the generation that the first one has started.",
)
BEDROCK_KEY = Parameter(
    "X-Bedrock-Api-Key",
    "header",
    _whole(BEDROCK_API_KEY),
    "The client's own key for Bedrock. The answer is billed to it.",
)
CLIENT_ID = Parameter(
    "X-Client-Id",
    "header",
    _whole(bodies.CLIENT_ID),
    "Identifies a client, such as a browser tab. Its new stream of a generation ends its older stream.",
)
LAST_EVENT_ID = Parameter(
    "Last-Event-ID",
    "header",
    _whole(CURSOR),
    "The `id` of the last event that was received. It has precedence over `after`.",
)
AFTER = Parameter("after", "query", _whole(CURSOR), "The same as `Last-Event-ID`.")

# Errors

OPEN = (errors.Forbidden,)
KNOWN = (errors.BadRequest, errors.Unauthenticated, errors.Forbidden, ChatError)  # of every route that needs a user
BODY = (errors.UnsupportedMediaType, errors.TooLarge)
STORED = (*KNOWN, errors.StorageError)
PAID = (*STORED, *BODY, errors.TooManyRequests, errors.BudgetExhausted, errors.Paused, errors.ModelUnpriced)
STARTED = (
    *PAID,
    errors.ModelNotAllowed,
    errors.NotFound,
    errors.ConversationBusy,
    errors.ErasureInProgress,
    errors.IdempotencyKeyReused,
    errors.TooManyGenerations,
    errors.TooManyFollowers,
)
OF_MODELS = (  # before the first byte, where the answer comes in one piece
    errors.ModelError,
    errors.ModelThrottled,
    errors.ModelUnavailable,
    errors.ModelNotReady,
    errors.ModelAccessDenied,
    errors.BedrockKeyRefused,
    errors.ModelNotFound,
    errors.ModelEndOfLife,
    errors.ModelLegacy,
    errors.InferenceProfileNeeded,
    errors.ModelInvalidRequest,
    errors.ContextLengthExceeded,
    errors.ModelTimeout,
    errors.ModelTruncated,
    errors.ModelConnectionLost,
    errors.ModelCorrupt,
    errors.ModelInternal,
    errors.ModelMalformed,
)


class ModelUnknown(errors.ModelNotAllowed):
    """`ModelNotAllowed`, with the code of `/v1`."""

    code = "model_not_found"


COMPLETION_ERROR = (CompletionError, answers.ErrorBody)  # the second: the streaming runtime, for unexpected errors

# Replies

IDS = "Native events of the log have the `id` `<generation>:<position>`, from which a client can resume."
NATIVE_STREAM: tuple[type[BaseModel] | str, ...] = (StreamEvent, PlainContent, PlainError, "[DONE]")
UI_STREAM = Reply(
    "The AI SDK's UI message stream.",
    events=(UiMessageChunk, "[DONE]"),
    headers=("x-vercel-ai-ui-message-stream",),
)
NOTHING_RUNS = Reply("There is no generation to follow.")
ACCEPTED = Reply("The generation is being cancelled.", (answers.Accepted,))
DELETING = Reply(
    "It takes longer than a request may. A task continues it. Send the request again to see whether it is complete.",
    (answers.Accepted,),
    headers=("retry-after",),
)


def _json(model: type[BaseModel], description: str) -> Reply:
    return Reply(description, (model,))


ROUTES = (
    Route(
        "POST",
        "/chat",
        BOTH,
        "Sends a message, answers the last message again, or continues the last answer. The Function URL streams the "
        "answer. API Gateway returns it in one piece, after 25 s at most.",
        {
            200: Reply(f"The answer, as a stream or in one piece. {IDS}", (answers.Answer,), NATIVE_STREAM),
            202: Reply(
                "In one piece: the generation of an earlier request still runs.",
                (answers.Running,),
                headers=("retry-after",),
            ),
        },
        (*STARTED, *OF_MODELS),
        (IDEMPOTENCY_KEY, BEDROCK_KEY, CLIENT_ID, IN_ONE_PIECE, DIALECT),
        bodies.ChatRequest,
    ),
    Route(
        "GET",
        "/chat/{conversation}/stream",
        STREAM,
        "Streams the rest of the cursor's generation, or without a cursor the running generation from its start. With "
        "a cursor, the stream ends after 60 s, also without `complete` or `error`: then send the request again.",
        {
            200: Reply(f"The events after the cursor. {IDS}", events=NATIVE_STREAM),
            204: NOTHING_RUNS,
        },
        (*STORED, errors.NotFound, errors.TooManyFollowers),
        (CONVERSATION, LAST_EVENT_ID, AFTER, CLIENT_ID, DIALECT),
    ),
    Route(
        "POST",
        "/chat/{conversation}/cancel",
        BOTH,
        "Cancels the running generation; with a body, only if it is the generation in the body.",
        {202: ACCEPTED},
        (*STORED, *BODY, errors.NotFound, errors.NotActive),
        (CONVERSATION,),
        bodies.CancelRequest,
        body_required=False,
    ),
    Route(
        "POST",
        "/ai/chat",
        STREAM,
        "Answers the last message of the AI SDK's `useChat`, or answers it again.",
        {200: UI_STREAM},
        STARTED,
        (BEDROCK_KEY, CLIENT_ID),
        AiChatRequest,
    ),
    Route(
        "GET",
        "/ai/chat/{conversation}/stream",
        STREAM,
        "Streams the running generation, or one that ended in the last ten minutes, from its start.",
        {200: UI_STREAM, 204: Reply("There is no such generation or no such conversation.")},
        (*STORED, errors.NotFound, errors.TooManyFollowers),  # not found: an invalid id
        (CONVERSATION, CLIENT_ID),
    ),
    Route(
        "POST",
        "/ai/chat/{conversation}/stop",
        BOTH,
        "The same as `POST /chat/{conversation}/cancel`.",
        {202: ACCEPTED},
        (*STORED, *BODY, errors.NotFound, errors.NotActive),
        (CONVERSATION,),
        bodies.CancelRequest,
        body_required=False,
    ),
    Route(
        "GET",
        "/models",
        BOTH,
        "The models that requests may name, with what they accept and cost.",
        {200: _json(answers.ModelList, "The models.")},
        KNOWN,
    ),
    Route(
        "POST",
        "/v1/chat/completions",
        STREAM,
        "OpenAI's chat completions. Nothing is stored, and a stream cannot be resumed.",
        {
            200: Reply(
                "The completion, as a stream or in one piece.",
                (ChatCompletion,),
                (ChatCompletionChunk, CompletionError, "[DONE]"),
                ("x-adapted",),
            )
        },
        (*PAID, ModelUnknown, errors.TooManyGenerations, *OF_MODELS),
        (BEDROCK_KEY,),
        CompletionRequest,
        error=COMPLETION_ERROR,
    ),
    Route(
        "GET",
        "/v1/models",
        STREAM,
        "The models, as OpenAI lists them.",
        {200: _json(CompletionModels, "The models.")},
        KNOWN,
        error=COMPLETION_ERROR,
    ),
    Route(
        "GET",
        "/v1/models/{model}",
        STREAM,
        "One model, as OpenAI shows it.",
        {200: _json(CompletionModel, "The model.")},
        (*KNOWN, errors.NotFound, ModelUnknown),
        (MODEL,),
        error=COMPLETION_ERROR,
    ),
    Route(
        "POST",
        "/prompt/preview",
        CONVERSE,
        "The request that `POST /chat` would send to the model, and its estimated tokens. Nothing is sent or stored.",
        {200: _json(answers.PromptPreview, "The prompt.")},
        (*PAID, errors.NotFound, errors.ModelNotAllowed),
        (BEDROCK_KEY,),
        bodies.ChatRequest,
    ),
    Route(
        "GET",
        "/conversations",
        CONVERSE,
        "The user's conversations, newest change first.",
        {200: _json(answers.ConversationPage, "A page of conversations.")},
        STORED,
        (LIMIT, PAGE),
    ),
    Route(
        "POST",
        "/conversations",
        CONVERSE,
        "Creates a conversation before its first message.",
        {201: _json(answers.Conversation, "The conversation.")},
        (*STORED, *BODY, errors.AlreadyExists, errors.ErasureInProgress),
        body=bodies.NewConversation,
    ),
    Route(
        "GET",
        "/conversations/{conversation}",
        CONVERSE,
        "One conversation. `active` is the running generation.",
        {200: _json(answers.Conversation, "The conversation.")},
        (*STORED, errors.NotFound),
        (CONVERSATION,),
    ),
    Route(
        "PATCH",
        "/conversations/{conversation}",
        CONVERSE,
        "Changes the title of a conversation.",
        {200: _json(answers.Conversation, "The conversation.")},
        (*STORED, *BODY, errors.NotFound),
        (CONVERSATION,),
        bodies.ConversationChange,
    ),
    Route(
        "DELETE",
        "/conversations/{conversation}",
        CONVERSE,
        "Deletes a conversation with its messages, and cancels its running generation.",
        {202: DELETING, 204: Reply("It is deleted.")},
        (*STORED, errors.NotFound),
        (CONVERSATION,),
    ),
    Route(
        "GET",
        "/conversations/{conversation}/messages",
        CONVERSE,
        "The newest messages of a conversation, oldest first; `cursor` leads to older ones.",
        {200: _json(answers.MessagePage, "A page of messages.")},
        (*STORED, errors.NotFound),
        (CONVERSATION, LIMIT, PAGE),
    ),
    Route(
        "GET",
        "/memory",
        CONVERSE,
        "The facts that the assistant knows about the user.",
        {200: _json(answers.FactList, "All facts.")},
        STORED,
    ),
    Route(
        "POST",
        "/memory",
        CONVERSE,
        "Adds a fact.",
        {201: _json(answers.Fact, "The fact.")},
        (*STORED, *BODY),
        body=bodies.NewFact,
    ),
    Route(
        "DELETE",
        "/memory/{fact}",
        CONVERSE,
        "Deletes a fact.",
        {204: Reply("It is deleted.")},
        (*STORED, errors.NotFound),
        (FACT,),
    ),
    Route(
        "GET",
        "/profile",
        CONVERSE,
        "How the user is addressed, what the assistant is called, and whether it learns from the user's messages.",
        {200: _json(answers.Profile, "The profile.")},
        STORED,
    ),
    Route(
        "PUT",
        "/profile",
        CONVERSE,
        "Replaces the profile. `learning` stays unchanged if it is left out.",
        {200: _json(answers.Profile, "The profile.")},
        (*STORED, *BODY),
        body=bodies.NewProfile,
    ),
    Route(
        "PATCH",
        "/profile",
        CONVERSE,
        "Changes the fields of the profile that the body has. Null removes a text.",
        {200: _json(answers.Profile, "The profile.")},
        (*STORED, *BODY),
        body=bodies.ProfileChange,
    ),
    Route(
        "DELETE",
        "/me",
        CONVERSE,
        "Deletes all data of the user: conversations, facts and profile. It takes at least three seconds.",
        {202: DELETING, 204: Reply("Everything is erased.")},
        STORED,
    ),
    Route(
        "GET",
        "/health",
        BOTH,
        "Whether the function runs and is configured.",
        {200: _json(answers.Health, "The function runs and is configured.")},
        OPEN,
        is_open=True,
    ),
    Route(
        "GET",
        "/openapi.json",
        CONVERSE,
        "This description.",
        {200: Reply("An OpenAPI 3.1 document.", (answers.OpenApi,))},
        OPEN,
        is_open=True,
    ),
)
