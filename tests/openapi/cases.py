"""A request for every answer of every route: what `openapi.json` describes, each with the way to get it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from converse_stream import service
from converse_stream.dialects.ai_sdk.request import parse_question
from converse_stream.http.request import HttpRequest
from converse_stream.limits import Budget, Rate
from converse_stream.protocol import errors
from converse_stream.protocol.errors import ChatError
from converse_stream.protocol.ids import now
from converse_stream.store import keys
from tests.fuzz.functions import Context, Name
from tests.openapi.description import Answer
from tests.openapi.world import CONVERSATION, DELETED, USER, World

QUICK = "[[tokens=3 pace=1 first=0]]"
JSON, STREAM = "application/json", "text/event-stream"


def said(text: str = QUICK, **more: Any) -> dict[str, Any]:
    return {"message": {"text": text}, **more}


def ui(text: str = QUICK, conversation: str = CONVERSATION, **more: Any) -> dict[str, Any]:
    message = {"id": "m1", "role": "user", "parts": [{"type": "text", "text": text}]}
    return {"id": conversation, "trigger": "submit-message", "messages": [message], **more}


def completion(text: str = QUICK, **more: Any) -> dict[str, Any]:
    return {"model": "nova-lite", "messages": [{"role": "user", "content": text}], **more}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that is answered with 2xx; `path` has the id that stands for `{}`."""

    method: str
    path: str
    body: Any = None

    def __call__(self, world: World, name: Name, **changes: Any) -> Answer:
        asked = {"method": self.method, "path": self.path, "body": self.body, **changes}
        return world.ask(name, **asked)


PROFILE = {"name": "Ana", "assistantName": "Iris", "about": "Rivers", "learning": True}
GOOD = {
    "POST /chat": Ask("POST", "/chat", said()),
    "GET /chat/{conversation}/stream": Ask("GET", f"/chat/{CONVERSATION}/stream"),
    "POST /chat/{conversation}/cancel": Ask("POST", f"/chat/{CONVERSATION}/cancel", {}),
    "POST /ai/chat": Ask("POST", "/ai/chat", ui()),
    "GET /ai/chat/{conversation}/stream": Ask("GET", f"/ai/chat/{CONVERSATION}/stream"),
    "POST /ai/chat/{conversation}/stop": Ask("POST", f"/ai/chat/{CONVERSATION}/stop", {}),
    "POST /v1/chat/completions": Ask("POST", "/v1/chat/completions", completion()),
    "GET /v1/models": Ask("GET", "/v1/models"),
    "GET /v1/models/{model}": Ask("GET", "/v1/models/nova-lite"),
    "POST /prompt/preview": Ask("POST", "/prompt/preview", said(conversationId=CONVERSATION)),
    "GET /conversations": Ask("GET", "/conversations?limit=1"),
    "POST /conversations": Ask("POST", "/conversations", {"title": "Rivers"}),
    "GET /conversations/{conversation}": Ask("GET", f"/conversations/{CONVERSATION}"),
    "PATCH /conversations/{conversation}": Ask("PATCH", f"/conversations/{CONVERSATION}", {"title": "Rivers"}),
    "DELETE /conversations/{conversation}": Ask("DELETE", f"/conversations/{CONVERSATION}"),
    "GET /conversations/{conversation}/messages": Ask("GET", f"/conversations/{CONVERSATION}/messages?limit=4"),
    "GET /memory": Ask("GET", "/memory"),
    "POST /memory": Ask("POST", "/memory", {"text": "I have a dog.", "kind": "fact"}),
    "DELETE /memory/{fact}": Ask("DELETE", "/memory/fact-of-mine"),
    "GET /profile": Ask("GET", "/profile"),
    "PUT /profile": Ask(
        "PUT", "/profile", {"name": "Ana", "assistantName": "Iris", "about": "Rivers", "learning": True}
    ),
    "PATCH /profile": Ask("PATCH", "/profile", {"assistantName": "Iris", "about": None}),
    "DELETE /me": Ask("DELETE", "/me"),
    "GET /health": Ask("GET", "/health"),
    "GET /openapi.json": Ask("GET", "/openapi.json"),
}
SENDS = ("POST /chat", "POST /ai/chat")
Way = Callable[[World, Name, str], Answer]


def good(world: World, name: Name, route: str) -> Answer:
    if route == "DELETE /memory/{fact}":
        fact = json.loads(world.ask("converse", "POST", "/memory", {"text": "I have a dog."}).body)
        return world.ask(name, "DELETE", f"/memory/{fact['id']}")
    if route == "GET /memory":
        world.ask("converse", "POST", "/memory", {"text": "I have a dog."})
    if route == "GET /conversations/{conversation}/messages":
        for text in ("[[cite]]", "[[fault=no-stop at=2]]"):
            world.ask("stream", "POST", "/chat", said(text + QUICK, conversationId=CONVERSATION))
    if route == "GET /profile":
        world.ask("converse", "PUT", "/profile", PROFILE)
    return GOOD[route](world, name)


# Errors that any route may answer


def without_the_secret(world: World, name: Name, route: str) -> Answer:
    world.set(name, origin_secret="x" * 32)
    return GOOD[route](world, name)


def by_a_stranger(world: World, name: Name, route: str) -> Answer:
    return GOOD[route](world, name, context=Context(account="111111111111"))


def with_an_odd_header(world: World, name: Name, route: str) -> Answer:
    return GOOD[route](world, name, headers={"x-bedrock-api-key": "two words"})


def with_a_bug(world: World, name: Name, route: str) -> Answer:
    def authenticate(*_: object) -> None:
        raise ZeroDivisionError

    world.patch.setattr(world.app(name), "authenticate", authenticate)
    return GOOD[route](world, name)


def without_a_table(world: World, name: Name, route: str) -> Answer:
    world.steering.is_broken = True
    return GOOD[route](world, name)


def of_another_type(world: World, name: Name, route: str) -> Answer:
    return GOOD[route](world, name, headers={"content-type": "text/plain"})


def with_a_large_body(world: World, name: Name, route: str) -> Answer:
    large = b" " * (4 * 1024 * 1024) + json.dumps(GOOD[route].body).encode()
    return GOOD[route](world, name, body=large)


def while_paused(world: World, name: Name, route: str) -> Answer:
    world.put({"pk": "R#all", "sk": "paused"})
    return GOOD[route](world, name)


def limited(world: World, name: Name, **rules: Any) -> None:
    usages = world.app(name).usages
    world.patch.setattr(usages, "rules", replace(usages.rules, **rules))


def too_often(world: World, name: Name, route: str) -> Answer:
    limited(world, name, user=Rate.per_minute(1, 1))
    GOOD[route](world, name)
    again = {"messages": [{**ui()["messages"][0], "id": "m2"}]} if route == "POST /ai/chat" else {}
    return GOOD[route](world, name, body={**GOOD[route].body, **again})


def beyond_the_budget(world: World, name: Name, route: str) -> Answer:
    limited(world, name, user_day=Budget(tokens=1, cost=0))
    return GOOD[route](world, name)


def one_too_many(world: World, name: Name, route: str) -> Answer:
    limited(world, name, generations=0)
    return GOOD[route](world, name)


# Errors of some routes


def unknown(world: World, name: Name, route: str) -> Answer:
    match route:
        case "POST /chat" | "POST /prompt/preview":
            return GOOD[route](world, name, body=said(conversationId=DELETED))
        case "POST /ai/chat":
            return GOOD[route](world, name, body=ui(conversation=DELETED))
        case "POST /v1/chat/completions":
            return GOOD[route](world, name, body=completion(model="nobody"))
    return GOOD[route](
        world, name, path=GOOD[route].path.replace(CONVERSATION, "unknown-one").replace("nova-lite", "x")
    )


def with_an_odd_id(world: World, name: Name, route: str) -> Answer:
    return GOOD[route](world, name, path=re.sub(r"\{.*?\}", "no:id", route.partition(" ")[2]))


def while_another_runs(world: World, name: Name, route: str) -> Answer:
    world.start(said())
    if route == "POST /ai/chat":  # which stops it first, and waits for its end
        world.patch.setattr(service, "cancel_and_wait", lambda *_: False)
        return GOOD[route](world, name)
    return GOOD[route](world, name, body=said(conversationId=CONVERSATION))


def while_all_is_erased(world: World, name: Name, route: str) -> Answer:
    world.put({"pk": keys.facts(USER.key), "sk": keys.PROFILE, "erasing": "2026-11-30T12:00:00.000Z"})
    return GOOD[route](world, name)


def with_a_key_of_another(world: World, name: Name, route: str) -> Answer:
    if route == "POST /ai/chat":
        GOOD[route](world, name)
        return GOOD[route](world, name, body=ui("Another text"))
    key = {"idempotency-key": "a-key-of-mine"}
    GOOD[route](world, name, headers=key)
    return GOOD[route](world, name, headers=key, body=said("Another text"))


def running(world: World, route: str) -> dict[str, Any]:
    """Starts a generation; how to ask so that it is followed."""
    if route == "POST /chat":
        world.start(said(), "a-key-of-mine")
        return {"headers": {"idempotency-key": "a-key-of-mine"}, "body": said(conversationId=CONVERSATION)}
    request = HttpRequest("POST", "/ai/chat", {}, {"content-type": JSON}, json.dumps(ui()), False, {}, False)
    question = parse_question(request, world.app("stream").settings)
    chat = question.request("send").model_dump(by_alias=True, exclude_none=True)
    world.start(chat, question.key())
    return {}


def one_follower_too_many(world: World, name: Name, route: str) -> Answer:
    asked = running(world, route)
    record = service.running(world.app(name), USER, CONVERSATION)
    assert record
    world.crowd(record)
    return GOOD[route](world, name, **asked)


def stopping_another(world: World, name: Name, route: str) -> Answer:
    return GOOD[route](world, name, body={"generationId": "another-generation"})


def while_erased(world: World, name: Name, route: str) -> Answer:
    world.put({"pk": keys.facts(USER.key), "sk": keys.PROFILE, "erasing": now()})
    return GOOD[route](world, name)


def with_a_known_id(world: World, name: Name, route: str) -> Answer:
    return GOOD[route](world, name, body={"id": CONVERSATION})


def broken(text: str, **headers: str) -> Way:
    """An answer in one piece whose model fails in this way."""

    def way(world: World, name: Name, route: str) -> Answer:
        text_of = f"{text} {QUICK}"
        if route == "POST /chat":
            return world.ask(name, "POST", "/chat?stream=false", said(text_of), headers)
        return GOOD[route](world, name, body=completion(text_of), headers=headers)

    return way


BY_ERROR: dict[type[ChatError], Way] = {
    errors.BadRequest: with_an_odd_header,
    errors.Unauthenticated: by_a_stranger,
    errors.Forbidden: without_the_secret,
    ChatError: with_a_bug,
    errors.StorageError: without_a_table,
    errors.UnsupportedMediaType: of_another_type,
    errors.TooLarge: with_a_large_body,
    errors.Paused: while_paused,
    errors.TooManyRequests: too_often,
    errors.BudgetExhausted: beyond_the_budget,
    errors.TooManyGenerations: one_too_many,
    errors.TooManyFollowers: one_follower_too_many,
    errors.NotFound: unknown,
    errors.ConversationBusy: while_another_runs,
    errors.ErasureInProgress: while_all_is_erased,
    errors.IdempotencyKeyReused: with_a_key_of_another,
    errors.NotActive: stopping_another,
    errors.AlreadyExists: with_a_known_id,
    errors.ErasureInProgress: while_erased,
    errors.ModelError: broken("refuse:ConflictException"),
    errors.ModelThrottled: broken("[[fault=throttle]]"),
    errors.ModelUnavailable: broken("[[fault=unavailable]]"),
    errors.ModelNotReady: broken("[[fault=not-ready]]"),
    errors.ModelAccessDenied: broken("[[fault=access-denied]]"),
    errors.BedrockKeyRefused: broken("[[fault=access-denied]]", **{"x-bedrock-api-key": "a-key-of-their-own"}),
    errors.ModelNotFound: broken("refuse:ResourceNotFoundException"),
    errors.InferenceProfileNeeded: broken("[[fault=no-profile]]"),
    errors.ModelInvalidRequest: broken("[[fault=invalid]]"),
    errors.ContextLengthExceeded: broken("[[fault=too-long]]"),
    errors.ModelTimeout: broken("refuse:ModelTimeoutException"),
    errors.ModelTruncated: broken("[[fault=no-stop at=2]]"),
    errors.ModelConnectionLost: broken("[[fault=reset at=2]]"),
    errors.ModelCorrupt: broken("[[fault=bad-crc at=2]]"),
    errors.ModelInternal: broken("[[fault=exception at=2 code=internalServerException]]"),
    errors.ModelMalformed: broken("stop:malformed_model_output"),
}


# What clients do not get from a described route.
NOT_SENT = {
    errors.DispatchFailed,  # of tasks, as the next
    errors.FlagsUnavailable,
    errors.StreamingRefused,  # the model is asked again in another way, as after the next two
    errors.SystemPromptRefused,
    errors.ToolStreamingRefused,
    errors.MethodNotAllowed,
    errors.DeletionUnfinished,  # has the code of NotFound
}


def without_time(world: World, name: Name, route: str) -> Answer:
    world.set(name, buffered_turn_seconds=0.0)
    return GOOD[route](world, name)


# What may happen at any route
AT_ANY = (
    without_the_secret,
    by_a_stranger,
    with_an_odd_header,
    with_a_bug,
    without_a_table,
    of_another_type,
    with_a_large_body,
    while_paused,
    while_erased,
    without_time,
    unknown,
    with_an_odd_id,
)

# Answers that are no errors


def in_one_piece(world: World, name: Name, route: str) -> Answer:
    return GOOD[route](world, name, path=GOOD[route].path + "?stream=false")


def still_running(world: World, name: Name, route: str) -> Answer:
    asked = running(world, route)
    world.set(name, buffered_turn_seconds=0.5)
    return GOOD[route](world, name, path="/chat?stream=false", context=Context(seconds=8), **asked)


def streamed(world: World, name: Name, route: str) -> Answer:
    return GOOD[route](world, name, body={**GOOD[route].body, "stream": True})


def from_its_start(world: World, name: Name, route: str) -> Answer:
    sent = next(world.ask("stream", "POST", "/chat", said("[[cite]]" + QUICK, conversationId=CONVERSATION)).events)
    generation = json.loads(sent[1])["generationId"]
    return GOOD[route](world, name, headers={"last-event-id": f"{generation}:0"})


def of_nothing(world: World, name: Name, route: str) -> Answer:
    world.ask("converse", "POST", "/conversations", {"id": "conversation-empty"})
    return GOOD[route](world, name, path=GOOD[route].path.replace(CONVERSATION, "conversation-empty"))


OTHERS: dict[tuple[str, int, str], Way] = {
    ("POST /chat", 200, JSON): in_one_piece,
    ("POST /chat", 202, JSON): still_running,
    ("GET /chat/{conversation}/stream", 200, STREAM): from_its_start,
    ("GET /chat/{conversation}/stream", 204, ""): good,
    ("GET /ai/chat/{conversation}/stream", 204, ""): of_nothing,
    ("GET /ai/chat/{conversation}/stream", 404, "not_found"): with_an_odd_id,
    ("GET /v1/models/{model}", 404, "not_found"): with_an_odd_id,
    ("POST /v1/chat/completions", 200, STREAM): streamed,
    ("DELETE /conversations/{conversation}", 202, JSON): without_time,
    ("DELETE /me", 202, JSON): without_time,
}

# What is described and has no case, and why.
UNREACHED = {
    ("converse", "POST /chat", 200, STREAM): "API Gateway's function answers in one piece only",
}
BY_CODE = {(error.code, error.status): way for error, way in BY_ERROR.items()}
BY_CODE["model_not_found", 404] = unknown  # as `/v1` calls it


@dataclass(frozen=True, slots=True)
class Case:
    """A described answer of a function, and the way to get it."""

    name: Name
    route: str
    status: int
    kind: str  # an error's code, or the media type
    way: Way

    def __str__(self) -> str:
        return f"{self.name} {self.route} {self.status} {self.kind}".strip()


def cases(outcomes: set[tuple[Name, str, int, str]]) -> list[Case]:
    """One for each; where no way is known, a good request, which will get another answer."""
    found = []
    for name, route, status, kind in sorted(outcomes - UNREACHED.keys()):
        way = OTHERS.get((route, status, kind)) or BY_CODE.get((kind, status), good)
        found.append(Case(name, route, status, kind, way))
    return found
