"""Every streamed answer: the Function URL, and the REST API where it streams."""

from collections.abc import Callable
from functools import partial
from typing import Any

from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from aws_lambda_powertools.utilities.typing import LambdaContext

import ai_sdk
import completions
from chat.application import Application
from chat.auth import User
from chat.dialects import sse, whole
from chat.dialects.native import Native
from chat.dialects.plain import Plain
from chat.errors import BadRequest, ChatError
from chat.following import cursor
from chat.http import HttpRequest, check_origin, error_body, json_bytes, route
from chat.requests import client_of, parse_cancel, parse_chat, send_of
from chat.store.head import Head
from chat.telemetry import contained, log_caller, log_refusal, logger
from streaming_runtime import StreamingResponse

app = Application.from_environment()
copy_config_to_registered_loggers(logger, include={"streaming_runtime"})  # it logs what a body raises
ROUTES = {
    "POST /chat": "send",
    "GET /chat/{}/stream": "resume",
    "POST /chat/{}/cancel": "cancel",
    "POST /ai/chat": "ai-sdk send",
    "GET /ai/chat/{}/stream": "ai-sdk resume",
    "POST /ai/chat/{}/stop": "cancel",
    "POST /v1/chat/completions": "openai complete",
    "GET /v1/models": "openai models",
    "GET /v1/models/{}": "openai model",
    "GET /health": "health",
}
DIALECTS: dict[str, Callable[[str], sse.Dialect]] = {"native": Native, "plain": lambda _: Plain()}
JSON = {"content-type": "application/json", "cache-control": "no-store"}


@logger.inject_lambda_context(clear_state=True)
@contained()
def handler(event: dict[str, Any], context: LambdaContext) -> StreamingResponse:
    """Answers one HTTP event; what it raises becomes a JSON error before the first byte."""
    headers, refused = {"x-request-id": context.aws_request_id}, refusal
    try:
        request = HttpRequest.from_event(event)
        if request.path.startswith("/v1/"):
            refused = completions.refusal
        headers |= request.cors(app.settings.origins)
        check_origin(request, app.settings)
        name, named = route(request, ROUTES)
        if name == "health":
            return StreamingResponse([json_bytes({"status": "ok"})], headers=JSON | headers)

        user = app.authenticate(request, context)
        log_caller(user.key, request.path)
        match name:
            case "send":
                return send(request, user, context, headers)
            case "resume":
                return resume(request, user, context, named, headers)
            case "ai-sdk send":
                return ai_sdk.send(app, request, user, context, headers)
            case "ai-sdk resume":
                return ai_sdk.resume(app, request, user, context, named, headers)
            case "openai complete":
                return completions.complete(app, request, user, context, headers)
            case "openai models":
                return completions.models(app, headers)
            case "openai model":
                return completions.model(app, named, headers)
        app.cancel(user, named, parse_cancel(request, app.settings).generation_id)
        return StreamingResponse([json_bytes({"status": "accepted"})], status=202, headers=JSON | headers)

    except ChatError as error:
        log_refusal(error)
        return refused(error, headers)


def send(request: HttpRequest, user: User, context: LambdaContext, headers: dict[str, str]) -> StreamingResponse:
    """`POST /chat`: a new turn, or for a repeated send the turn that it started the first time."""
    body = parse_chat(request, app.settings)
    dialect = dialect_of(request)
    begun = app.start(user, body, send_of(request.headers, body), context)
    generation = begun.gid if isinstance(begun, Head) else begun.generation
    source = app.follow(user, begun, context, client=client_of(request.headers)) if isinstance(begun, Head) else begun
    after = [partial(app.learning.hand_over, user, begun)]
    if request.query.get("stream") != "false":
        return StreamingResponse(sse.frames(source, dialect(generation)), headers=sse.HEADERS | headers, after=after)
    status, answer = whole.answer(source)
    return StreamingResponse([json_bytes(answer)], status=status, headers=JSON | headers, after=after)


def resume(
    request: HttpRequest, user: User, context: LambdaContext, conversation: str, headers: dict[str, str]
) -> StreamingResponse:
    """`GET /chat/{conversation}/stream`: the rest of what is being made, or was, behind a cursor."""
    named = request.headers.get("last-event-id") or request.query.get("after")
    seen = cursor(named) if named else None
    if named and seen is None:
        raise BadRequest("The cursor is not one of ours.", field="after")
    dialect = dialect_of(request)
    head = app.running(user, conversation, seen[0] if seen else None)
    if head is None:
        return StreamingResponse([], status=204, headers=headers)
    after = seen[1] if seen else None
    source = app.follow(user, head, context, after=after, client=client_of(request.headers))
    source.attach()
    return StreamingResponse(sse.frames(source, dialect(head.gid)), headers=sse.HEADERS | headers)


def refusal(error: ChatError, headers: dict[str, str]) -> StreamingResponse:
    """An error before the first byte."""
    body = error_body(error, headers["x-request-id"])
    return StreamingResponse([body], status=error.status, headers=JSON | headers | error.headers)


def dialect_of(request: HttpRequest) -> Callable[[str], sse.Dialect]:
    """The dialect of a generation that `?dialect=` names."""
    named = request.query.get("dialect", "native")
    if named not in DIALECTS:
        raise BadRequest(f"dialect must be one of {', '.join(DIALECTS)}.", field="dialect")
    return DIALECTS[named]
