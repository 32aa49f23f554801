"""Every streamed answer: the Function URL, and the REST API where it streams."""

from typing import Any

from aws_lambda_powertools.utilities.typing import LambdaContext

from chat.application import Application
from chat.auth import authenticate
from chat.dialects import native, sse, whole
from chat.errors import ChatError
from chat.http import HttpRequest, error_body, json_bytes, route
from chat.requests import parse_chat
from chat.telemetry import log_refusal, logger
from streaming_runtime import StreamingResponse

app = Application.from_environment()
ROUTES = {"/chat": "POST", "/health": "GET"}
JSON = {"content-type": "application/json", "cache-control": "no-store"}


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: LambdaContext) -> StreamingResponse:
    """Answers one HTTP event; what it raises becomes a JSON error before the first byte."""
    headers = {"x-request-id": context.aws_request_id}
    try:
        request = HttpRequest.from_event(event)
        headers |= request.cors(app.settings.origins)
        if route(request, ROUTES) == "/health":
            return StreamingResponse([json_bytes({"status": "ok"})], headers=JSON | headers)

        user = authenticate(request, context, app.settings)
        body = parse_chat(request, app.settings)
        turn = app.start(user, body, context)
        if request.query.get("stream") != "false":
            return StreamingResponse(sse.frames(turn, native.encode), headers=sse.HEADERS | headers)
        status, answer = whole.answer(*turn.result())
        return StreamingResponse([json_bytes(answer)], status=status, headers=JSON | headers)

    except ChatError as error:
        log_refusal(error)
        body_of_error = error_body(error, context.aws_request_id)
        return StreamingResponse([body_of_error], status=error.status, headers=JSON | headers)
