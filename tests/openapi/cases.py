"""A request for every response that `openapi.json` describes: function, route, status and error code or media type."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from converse_stream import service
from converse_stream.dialects.ai_sdk.request import parse_question
from converse_stream.http.request import HttpRequest
from converse_stream.limits import Budget, Rate
from converse_stream.model.allowed import AllowedModels
from converse_stream.protocol import errors
from converse_stream.protocol.errors import ChatError
from converse_stream.protocol.ids import now
from converse_stream.store import keys
from tests.fuzz.functions import Context, Name
from tests.openapi.description import Answer
from tests.openapi.environment import CONVERSATION, DELETED, USER, Environment

QUICK = "[[tokens=3 pace=1 first=0]]"
JSON, STREAM = "application/json", "text/event-stream"


def chat_body(text: str = QUICK, **more: Any) -> dict[str, Any]:
    return {"message": {"text": text}, **more}


def ui_body(text: str = QUICK, conversation: str = CONVERSATION, **more: Any) -> dict[str, Any]:
    message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": text}]}
    return {"id": conversation, "trigger": "submit-message", "messages": [message], **more}


def completion_body(text: str = QUICK, **more: Any) -> dict[str, Any]:
    return {"model": "nova-lite", "messages": [{"role": "user", "content": text}], **more}


@dataclass(frozen=True, slots=True)
class ValidRequest:
    """A request whose response is 2xx; `path` contains the id in place of the parameter."""

    method: str
    path: str
    body: Any = None

    def __call__(self, environment: Environment, name: Name, **changes: Any) -> Answer:
        arguments = {"method": self.method, "path": self.path, "body": self.body, **changes}
        return environment.request(name, **arguments)


PROFILE = {"name": "Ana", "assistantName": "Iris", "about": "Rivers", "learning": True}
VALID = {
    "POST /chat": ValidRequest("POST", "/chat", chat_body()),
    "GET /chat/{conversation}/stream": ValidRequest("GET", f"/chat/{CONVERSATION}/stream"),
    "POST /chat/{conversation}/cancel": ValidRequest("POST", f"/chat/{CONVERSATION}/cancel", {}),
    "POST /ai/chat": ValidRequest("POST", "/ai/chat", ui_body()),
    "GET /ai/chat/{conversation}/stream": ValidRequest("GET", f"/ai/chat/{CONVERSATION}/stream"),
    "POST /ai/chat/{conversation}/stop": ValidRequest("POST", f"/ai/chat/{CONVERSATION}/stop", {}),
    "GET /models": ValidRequest("GET", "/models"),
    "POST /v1/chat/completions": ValidRequest("POST", "/v1/chat/completions", completion_body()),
    "GET /v1/models": ValidRequest("GET", "/v1/models"),
    "GET /v1/models/{model}": ValidRequest("GET", "/v1/models/nova-lite"),
    "POST /prompt/preview": ValidRequest("POST", "/prompt/preview", chat_body(conversationId=CONVERSATION)),
    "GET /conversations": ValidRequest("GET", "/conversations?limit=1"),
    "POST /conversations": ValidRequest("POST", "/conversations", {"title": "Rivers"}),
    "GET /conversations/{conversation}": ValidRequest("GET", f"/conversations/{CONVERSATION}"),
    "PATCH /conversations/{conversation}": ValidRequest("PATCH", f"/conversations/{CONVERSATION}", {"title": "Rivers"}),
    "DELETE /conversations/{conversation}": ValidRequest("DELETE", f"/conversations/{CONVERSATION}"),
    "GET /conversations/{conversation}/messages": ValidRequest(
        "GET", f"/conversations/{CONVERSATION}/messages?limit=4"
    ),
    "GET /memory": ValidRequest("GET", "/memory"),
    "POST /memory": ValidRequest("POST", "/memory", {"text": "I have a dog.", "kind": "fact"}),
    "DELETE /memory/{fact}": ValidRequest("DELETE", "/memory/fact-of-user"),
    "GET /profile": ValidRequest("GET", "/profile"),
    "PUT /profile": ValidRequest(
        "PUT", "/profile", {"name": "Ana", "assistantName": "Iris", "about": "Rivers", "learning": True}
    ),
    "PATCH /profile": ValidRequest("PATCH", "/profile", {"assistantName": "Iris", "about": None}),
    "DELETE /me": ValidRequest("DELETE", "/me"),
    "GET /health": ValidRequest("GET", "/health"),
    "GET /openapi.json": ValidRequest("GET", "/openapi.json"),
}
SENDS = ("POST /chat", "POST /ai/chat")
Variant = Callable[[Environment, Name, str], Answer]


def valid_request(environment: Environment, name: Name, route: str) -> Answer:
    if route == "DELETE /memory/{fact}":
        fact = json.loads(environment.request("converse", "POST", "/memory", {"text": "I have a dog."}).body)
        return environment.request(name, "DELETE", f"/memory/{fact['id']}")
    if route == "GET /memory":
        environment.request("converse", "POST", "/memory", {"text": "I have a dog."})
    if route == "GET /conversations/{conversation}/messages":
        for text in ("[[cite]]", "[[fault=no-stop at=2]]"):
            environment.request("stream", "POST", "/chat", chat_body(text + QUICK, conversationId=CONVERSATION))
    if route == "GET /profile":
        environment.request("converse", "PUT", "/profile", PROFILE)
    return VALID[route](environment, name)


# Errors of every route


def without_the_secret(environment: Environment, name: Name, route: str) -> Answer:
    environment.change_settings(name, origin_secret="x" * 32)
    return VALID[route](environment, name)


def from_a_real_account(environment: Environment, name: Name, route: str) -> Answer:
    return VALID[route](environment, name, context=Context(account="111111111111"))


def with_an_invalid_header(environment: Environment, name: Name, route: str) -> Answer:
    return VALID[route](environment, name, headers={"x-bedrock-api-key": "two words"})


def with_an_internal_error(environment: Environment, name: Name, route: str) -> Answer:
    def authenticate(*_: object) -> None:
        raise ZeroDivisionError

    environment.patch.setattr(environment.app(name), "authenticate", authenticate)
    return VALID[route](environment, name)


def with_a_failing_table(environment: Environment, name: Name, route: str) -> Answer:
    environment.table.is_broken = True
    return VALID[route](environment, name)


def with_another_content_type(environment: Environment, name: Name, route: str) -> Answer:
    return VALID[route](environment, name, headers={"content-type": "text/plain"})


def with_a_large_body(environment: Environment, name: Name, route: str) -> Answer:
    large = b" " * (4 * 1024 * 1024) + json.dumps(VALID[route].body).encode()
    return VALID[route](environment, name, body=large)


def while_paused(environment: Environment, name: Name, route: str) -> Answer:
    environment.put({"pk": "R#all", "sk": "paused"})
    return VALID[route](environment, name)


def set_limits(environment: Environment, name: Name, **rules: Any) -> None:
    usages = environment.app(name).usages
    environment.patch.setattr(usages, "rules", replace(usages.rules, **rules))


def over_the_rate_limit(environment: Environment, name: Name, route: str) -> Answer:
    set_limits(environment, name, user=Rate.per_minute(1, 1))
    VALID[route](environment, name)
    again = {"messages": [{**ui_body()["messages"][0], "id": "m2"}]} if route == "POST /ai/chat" else {}
    return VALID[route](environment, name, body={**VALID[route].body, **again})


def over_the_budget(environment: Environment, name: Name, route: str) -> Answer:
    set_limits(environment, name, user_day=Budget(tokens=1, cost=0))
    return VALID[route](environment, name)


def over_the_generation_limit(environment: Environment, name: Name, route: str) -> Answer:
    set_limits(environment, name, generations=0)
    return VALID[route](environment, name)


# Errors of single routes


def unknown(environment: Environment, name: Name, route: str) -> Answer:
    match route:
        case "POST /chat" | "POST /prompt/preview":
            return VALID[route](environment, name, body=chat_body(conversationId=DELETED))
        case "POST /ai/chat":
            return VALID[route](environment, name, body=ui_body(conversation=DELETED))
        case "POST /v1/chat/completions" | "GET /v1/models/{model}":
            return with_a_model("unknown-model")(environment, name, route)
    return VALID[route](environment, name, path=VALID[route].path.replace(CONVERSATION, "unknown-id"))


def with_a_model(name_of_model: str) -> Variant:
    """A request that names this model."""

    def request(environment: Environment, name: Name, route: str) -> Answer:
        match route:
            case "POST /v1/chat/completions":
                body = completion_body(model=name_of_model)
            case "POST /ai/chat":
                body = ui_body(model=name_of_model)
            case "GET /v1/models/{model}":
                return VALID[route](environment, name, path=f"/v1/models/{name_of_model}")
            case _:
                body = chat_body(model=name_of_model)
        return VALID[route](environment, name, body=body)

    return request


def with_an_unpriced_model(environment: Environment, name: Name, route: str) -> Answer:
    set_limits(environment, name, user_day=Budget(tokens=0, cost=10**9))
    models = environment.app(name).models
    environment.patch.setattr(models, "_allowed", AllowedModels(models._catalog, ["*"], "nova-lite"))
    return with_a_model("vendor.new-model-1")(environment, name, route)


def with_an_invalid_id(environment: Environment, name: Name, route: str) -> Answer:
    return VALID[route](environment, name, path=re.sub(r"\{.*?\}", "no:id", route.partition(" ")[2]))


def during_another_generation(environment: Environment, name: Name, route: str) -> Answer:
    environment.start(chat_body())
    if route == "POST /ai/chat":  # this route cancels it first, and waits for its end
        environment.patch.setattr(service, "cancel_and_wait", lambda *_: False)
        return VALID[route](environment, name)
    return VALID[route](environment, name, body=chat_body(conversationId=CONVERSATION))


def during_an_interrupted_erasure(environment: Environment, name: Name, route: str) -> Answer:
    environment.put({"pk": keys.facts(USER.key), "sk": keys.PROFILE, "erasing": "2026-11-30T12:00:00.000Z"})
    return VALID[route](environment, name)


def with_a_reused_idempotency_key(environment: Environment, name: Name, route: str) -> Answer:
    if route == "POST /ai/chat":
        VALID[route](environment, name)
        return VALID[route](environment, name, body=ui_body("Another text"))
    key = {"idempotency-key": "key-of-user"}
    VALID[route](environment, name, headers=key)
    return VALID[route](environment, name, headers=key, body=chat_body("Another text"))


def follow_arguments(environment: Environment, route: str) -> dict[str, Any]:
    """Starts a generation; the arguments of a request that follows it."""
    if route == "POST /chat":
        environment.start(chat_body(), "key-of-user")
        return {"headers": {"idempotency-key": "key-of-user"}, "body": chat_body(conversationId=CONVERSATION)}
    request = HttpRequest("POST", "/ai/chat", {}, {"content-type": JSON}, json.dumps(ui_body()), False, {}, False)
    question = parse_question(request, environment.app("stream").settings)
    chat = question.request("send").model_dump(by_alias=True, exclude_none=True)
    environment.start(chat, question.key())
    return {}


def over_the_follower_limit(environment: Environment, name: Name, route: str) -> Answer:
    arguments = follow_arguments(environment, route)
    record = service.running(environment.app(name), USER, CONVERSATION)
    assert record
    environment.add_maximum_followers(record)
    return VALID[route](environment, name, **arguments)


def cancelling_another_generation(environment: Environment, name: Name, route: str) -> Answer:
    return VALID[route](environment, name, body={"generationId": "another-generation"})


def during_an_erasure(environment: Environment, name: Name, route: str) -> Answer:
    environment.put({"pk": keys.facts(USER.key), "sk": keys.PROFILE, "erasing": now()})
    return VALID[route](environment, name)


def with_an_existing_id(environment: Environment, name: Name, route: str) -> Answer:
    return VALID[route](environment, name, body={"id": CONVERSATION})


def failing_model(text: str, **headers: str) -> Variant:
    """A request without streaming, whose text makes the model fail."""

    def request(environment: Environment, name: Name, route: str) -> Answer:
        text_of = f"{text} {QUICK}"
        if route == "POST /chat":
            return environment.request(name, "POST", "/chat?stream=false", chat_body(text_of), headers)
        return VALID[route](environment, name, body=completion_body(text_of), headers=headers)

    return request


BY_ERROR: dict[type[ChatError], Variant] = {
    errors.BadRequest: with_an_invalid_header,
    errors.Unauthenticated: from_a_real_account,
    errors.Forbidden: without_the_secret,
    ChatError: with_an_internal_error,
    errors.StorageError: with_a_failing_table,
    errors.UnsupportedMediaType: with_another_content_type,
    errors.TooLarge: with_a_large_body,
    errors.Paused: while_paused,
    errors.TooManyRequests: over_the_rate_limit,
    errors.BudgetExhausted: over_the_budget,
    errors.TooManyGenerations: over_the_generation_limit,
    errors.TooManyFollowers: over_the_follower_limit,
    errors.NotFound: unknown,
    errors.ModelNotAllowed: with_a_model("unknown-model"),
    errors.ModelUnpriced: with_an_unpriced_model,
    errors.ConversationBusy: during_another_generation,
    errors.ErasureInProgress: during_an_interrupted_erasure,
    errors.IdempotencyKeyReused: with_a_reused_idempotency_key,
    errors.NotActive: cancelling_another_generation,
    errors.AlreadyExists: with_an_existing_id,
    errors.ErasureInProgress: during_an_erasure,
    errors.ModelError: failing_model("refuse:ConflictException"),
    errors.ModelThrottled: failing_model("[[fault=throttle]]"),
    errors.ModelUnavailable: failing_model("[[fault=unavailable]]"),
    errors.ModelNotReady: failing_model("[[fault=not-ready]]"),
    errors.ModelAccessDenied: failing_model("[[fault=access-denied]]"),
    errors.BedrockKeyRefused: failing_model("[[fault=access-denied]]", **{"x-bedrock-api-key": "key-of-caller"}),
    errors.ModelNotFound: failing_model("refuse:ResourceNotFoundException"),
    errors.ModelEndOfLife: failing_model("[[fault=end-of-life]]"),
    errors.ModelLegacy: failing_model("[[fault=legacy]]"),
    errors.InferenceProfileNeeded: failing_model("[[fault=no-profile]]"),
    errors.ModelInvalidRequest: failing_model("[[fault=invalid]]"),
    errors.ContextLengthExceeded: failing_model("[[fault=too-long]]"),
    errors.ModelTimeout: failing_model("refuse:ModelTimeoutException"),
    errors.ModelTruncated: failing_model("[[fault=no-stop at=2]]"),
    errors.ModelConnectionLost: failing_model("[[fault=reset at=2]]"),
    errors.ModelCorrupt: failing_model("[[fault=bad-crc at=2]]"),
    errors.ModelInternal: failing_model("[[fault=exception at=2 code=internalServerException]]"),
    errors.ModelMalformed: failing_model("stop:malformed_model_output"),
}


# Errors that no described route returns.
NOT_SENT = {
    errors.DispatchFailed,  # only of tasks, as is the next
    errors.FlagsUnavailable,
    errors.CapabilityRefused,  # the model is called again without the capability
    errors.MethodNotAllowed,
    errors.DeletionUnfinished,  # has the code of NotFound
}


def without_time(environment: Environment, name: Name, route: str) -> Answer:
    environment.change_settings(name, buffered_turn_seconds=0.0)
    return VALID[route](environment, name)


# Requests that are sent to every route
FOR_ANY_ROUTE = (
    without_the_secret,
    from_a_real_account,
    with_an_invalid_header,
    with_an_internal_error,
    with_a_failing_table,
    with_another_content_type,
    with_a_large_body,
    while_paused,
    during_an_erasure,
    without_time,
    unknown,
    with_an_invalid_id,
)

# Successful responses


def without_streaming(environment: Environment, name: Name, route: str) -> Answer:
    return VALID[route](environment, name, path=VALID[route].path + "?stream=false")


def still_running(environment: Environment, name: Name, route: str) -> Answer:
    arguments = follow_arguments(environment, route)
    environment.change_settings(name, buffered_turn_seconds=0.5)
    return VALID[route](environment, name, path="/chat?stream=false", context=Context(seconds=8), **arguments)


def streamed(environment: Environment, name: Name, route: str) -> Answer:
    return VALID[route](environment, name, body={**VALID[route].body, "stream": True})


def from_the_beginning(environment: Environment, name: Name, route: str) -> Answer:
    sent = next(
        environment.request(
            "stream", "POST", "/chat", chat_body("[[cite]]" + QUICK, conversationId=CONVERSATION)
        ).events
    )
    generation = json.loads(sent[1])["generationId"]
    return VALID[route](environment, name, headers={"last-event-id": f"{generation}:0"})


def of_an_empty_conversation(environment: Environment, name: Name, route: str) -> Answer:
    environment.request("converse", "POST", "/conversations", {"id": "conversation-empty"})
    return VALID[route](environment, name, path=VALID[route].path.replace(CONVERSATION, "conversation-empty"))


BY_OUTCOME: dict[tuple[str, int, str], Variant] = {
    ("POST /chat", 200, JSON): without_streaming,
    ("POST /chat", 202, JSON): still_running,
    ("GET /chat/{conversation}/stream", 200, STREAM): from_the_beginning,
    ("GET /chat/{conversation}/stream", 204, ""): valid_request,
    ("GET /ai/chat/{conversation}/stream", 204, ""): of_an_empty_conversation,
    ("GET /ai/chat/{conversation}/stream", 404, "not_found"): with_an_invalid_id,
    ("GET /v1/models/{model}", 404, "not_found"): with_an_invalid_id,
    ("POST /v1/chat/completions", 200, STREAM): streamed,
    ("DELETE /conversations/{conversation}", 202, JSON): without_time,
    ("DELETE /me", 202, JSON): without_time,
}

# Described responses without a case, with the reason.
UNTESTED = {
    ("converse", "POST /chat", 200, STREAM): "the function of API Gateway does not stream",
}
BY_CODE = {(error.code, error.status): variant for error, variant in BY_ERROR.items()}
BY_CODE["model_not_found", 404] = unknown  # the code of a missing model at `/v1`


@dataclass(frozen=True, slots=True)
class Case:
    """A described response of a function, and the request that leads to it."""

    name: Name
    route: str
    status: int
    kind: str  # an error's code, or the media type
    variant: Variant

    def __str__(self) -> str:
        return f"{self.name} {self.route} {self.status} {self.kind}".strip()


def cases(outcomes: set[tuple[Name, str, int, str]]) -> list[Case]:
    """One case for each outcome. An outcome without a known request has a valid one, so its test fails."""
    result = []
    for name, route, status, kind in sorted(outcomes - UNTESTED.keys()):
        variant = BY_OUTCOME.get((route, status, kind)) or BY_CODE.get((kind, status), valid_request)
        result.append(Case(name, route, status, kind, variant))
    return result
