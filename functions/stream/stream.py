"""Every streamed answer: the Function URL, and a REST API with response streaming."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from aws_lambda_powertools.logging.utils import copy_config_to_registered_loggers
from aws_lambda_powertools.utilities.typing import LambdaContext

import ai_sdk
import completions
from converse_stream import service
from converse_stream.auth import ANONYMOUS
from converse_stream.container import Container
from converse_stream.dialects import buffered
from converse_stream.dialects.native import Native
from converse_stream.dialects.plain import Plain
from converse_stream.dialects.sse import Dialect
from converse_stream.generation.follower import cursor
from converse_stream.http.bodies import parse_cancel, parse_chat, parse_send
from converse_stream.http.request import HttpRequest, check_origin, error_body
from converse_stream.http.routing import route
from converse_stream.protocol.errors import BadRequest, ChatError, DeletionUnfinished, ErasureInProgress
from converse_stream.store.generation_record import GenerationRecord
from converse_stream.telemetry import hide_unexpected_errors, log_caller, log_refusal, logger
from exchange import JSON, Exchange
from streaming_runtime import StreamingResponse, error_response

app = Container.from_environment()
copy_config_to_registered_loggers(logger, include={"streaming_runtime"})  # it logs errors of a response body


@logger.inject_lambda_context(clear_state=True, log_event=False)
@hide_unexpected_errors()
def handler(event: dict[str, Any], context: LambdaContext) -> StreamingResponse:
    """Answers one HTTP event. An error before the first byte is a JSON response."""
    headers, error_response, user = {"x-request-id": context.aws_request_id}, refusal, ANONYMOUS
    try:
        request = HttpRequest.from_event(event)
        if request.path.startswith("/v1/"):
            error_response = completions.refusal
        headers |= request.cors(app.settings.origins)
        check_origin(request, app.settings)
        respond, path_id = route(request, ROUTES)
        if respond is not health:
            user = app.authenticate(request, context)
        log_caller(user.key, request.path)
        return respond(Exchange(app, request, user, context, path_id, headers))
    except ChatError as error:
        # A task continues the deletion, in case it was interrupted.
        if isinstance(error, (ErasureInProgress, DeletionUnfinished)):
            app.deletion.dispatch(user.key, error.conversation)
        log_refusal(error)
        return error_response(error, headers)


@error_response
def unexpected(event: object, request_id: str) -> StreamingResponse:
    """The response if the handler or a body fails before the first byte. The runtime has logged the exception."""
    headers, make = {"x-request-id": request_id}, refusal
    with suppress(ChatError):
        request = HttpRequest.from_event(event)
        headers |= request.cors(app.settings.origins)
        make = completions.refusal if request.path.startswith("/v1/") else refusal
    return make(ChatError(), headers)


def send(exchange: Exchange) -> StreamingResponse:
    """`POST /chat`: starts a generation; a repeated send follows the generation that the first one started."""
    request = exchange.request
    body, dialect = parse_chat(request, app.settings), dialect_of(request)
    started = service.start(app, exchange.user, body, parse_send(request.headers, body), exchange.context)
    source, after = exchange.source(started), exchange.after(started)
    if request.query.get("stream") == "false":
        status, answer = buffered.answer(source)
        return exchange.json(answer, status, after)
    gid = started.gid if isinstance(started, GenerationRecord) else started.generation_id
    return exchange.stream(source, dialect(gid), after=after)


def resume(exchange: Exchange) -> StreamingResponse:
    """`GET /chat/{conversation}/stream`: the events behind a cursor, of a running or ended generation."""
    request = exchange.request
    given = request.headers.get("last-event-id") or request.query.get("after")
    seen = cursor(given) if given else None
    if given and seen is None:
        raise BadRequest("The cursor is not valid.", field="after")
    gid, position = seen or (None, None)
    dialect = dialect_of(request)
    record = service.running(app, exchange.user, exchange.path_id, gid)
    if record is None:
        return exchange.no_content()
    return exchange.stream(exchange.source(record, position), dialect(record.gid))


def cancel(exchange: Exchange) -> StreamingResponse:
    """`POST /chat/{conversation}/cancel`: cancels the generation, and with it the model's call."""
    body = parse_cancel(exchange.request, app.settings)
    service.cancel(app, exchange.user, exchange.path_id, body.generation_id)
    return exchange.json({"status": "accepted"}, 202)


def models(exchange: Exchange) -> StreamingResponse:
    """`GET /models`: the models that requests may name."""
    return exchange.json(service.models(app, exchange.user))


def health(exchange: Exchange) -> StreamingResponse:
    """`GET /health`, without authentication: the function runs and is configured."""
    return exchange.json({"status": "ok"})


def refusal(error: ChatError, headers: dict[str, str]) -> StreamingResponse:
    """The response for an error before the first byte."""
    body = error_body(error, headers["x-request-id"])
    return StreamingResponse([body], status=error.status, headers=JSON | headers | error.headers)


def dialect_of(request: HttpRequest) -> Callable[[str], Dialect]:
    """The dialect that `?dialect=` names, by generation id. Raises BadRequest."""
    named = request.query.get("dialect", "native")
    if named not in DIALECTS:
        raise BadRequest(f"dialect must be one of {', '.join(DIALECTS)}.", field="dialect")
    return DIALECTS[named]


DIALECTS: dict[str, Callable[[str], Dialect]] = {"native": Native, "plain": lambda _: Plain()}
ROUTES: dict[str, Callable[[Exchange], StreamingResponse]] = {
    "POST /chat": send,
    "GET /chat/{}/stream": resume,
    "POST /chat/{}/cancel": cancel,
    "POST /ai/chat": ai_sdk.send,
    "GET /ai/chat/{}/stream": ai_sdk.resume,
    "POST /ai/chat/{}/stop": cancel,
    "GET /models": models,
    "POST /v1/chat/completions": completions.complete,
    "GET /v1/models": completions.models,
    "GET /v1/models/{}": completions.model,
    "GET /health": health,
}
