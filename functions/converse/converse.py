"""Every answer in one piece: API Gateway's routes, and the tasks that are invoked directly."""

from typing import Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.utilities.typing import LambdaContext

import chat_routes
import conversation_routes
import model_routes
import user_routes
from api import Api, reply
from converse_stream import tasks
from converse_stream.auth import ANONYMOUS
from converse_stream.container import Container
from converse_stream.http.request import HttpRequest, check_origin, error_body
from converse_stream.http.validation import check_json, refusal
from converse_stream.protocol.errors import ChatError, DeletionUnfinished, ErasureInProgress, NotFound
from converse_stream.telemetry import hide_unexpected_errors, log_caller, log_refusal, logger

app = Container.from_environment()
resolver = APIGatewayHttpResolver(enable_validation=True, debug=False)
api = Api(app, resolver)
for routes in (chat_routes, conversation_routes, model_routes, user_routes):
    routes.add_routes(api)

ANONYMOUS_PATHS = frozenset({"/health", "/openapi.json"})
BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})


@logger.inject_lambda_context(clear_state=True, log_event=False)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answers an HTTP event, or runs a task: `{"task": "title" | "classify" | "learn" | "erase", ...}`."""
    if isinstance(event, dict) and "task" in event:
        with hide_unexpected_errors():
            return tasks.run(event, app, context.get_remaining_time_in_millis() / 1000 - 1)
    user, request_id = ANONYMOUS, context.aws_request_id
    try:
        request = HttpRequest.from_event(event)
        check_origin(request, app.settings)
        if request.path not in ANONYMOUS_PATHS:
            user = app.authenticate(request, context)
        log_caller(user.key, request.path)
        body = b""
        if request.raw_body and request.method in BODY_METHODS:
            body = request.json_body(app.settings.max_body_bytes)
            check_json(body)
        api.begin(user, context, request.headers, body)
        response = resolver.resolve(request.as_event(body), context)
        response["headers"]["x-request-id"] = request_id
        return response
    except (ErasureInProgress, DeletionUnfinished) as error:  # a task continues it, in case it was interrupted
        app.deletion.dispatch(user.key, error.conversation)
        return _refused(error, request_id)
    except ChatError as error:
        return _refused(error, request_id)
    except Exception:
        logger.exception("a request failed")
        return _refused(ChatError(), request_id)


def _refused(error: ChatError, request_id: str) -> dict[str, Any]:
    log_refusal(error)
    headers = {"content-type": "application/json", "cache-control": "no-store", "x-request-id": request_id}
    return {
        "statusCode": error.status,
        "headers": headers | error.headers,
        "body": error_body(error, request_id).decode(),
    }


@resolver.exception_handler(RequestValidationError)  # type: ignore[untyped-decorator]  # Powertools' own
def _invalid(error: RequestValidationError) -> Response[str]:
    errors = [{**each, "loc": each["loc"][1:]} for each in error.errors()]  # without "body", "query" or "path"
    raise NotFound if error.errors()[0]["loc"][0] == "path" else refusal(errors)


@resolver.not_found
def _no_route(_: NotFoundError) -> Response[str]:
    raise NotFound


@resolver.get("/health")
def health() -> Response[str]:
    """Whether the function runs and is configured."""
    return reply({"status": "ok"})


@resolver.get("/openapi.json")
def openapi() -> Response[str]:
    """Every route of both functions as OpenAPI."""
    from converse_stream.openapi import document  # here, because no other request needs it

    return Response(200, "application/json", document.text(), {"cache-control": "no-store"})
