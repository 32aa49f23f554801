"""Chat: an answer in one piece, the preview of a prompt, and cancel."""

from aws_lambda_powertools.event_handler import Response

from api import Api, Id, reply
from converse_stream import service
from converse_stream.dialects import buffered
from converse_stream.http.bodies import CancelRequest, ChatRequest, check_chat, parse_send
from converse_stream.http.validation import parse
from converse_stream.store.generation_record import GenerationRecord


def add_routes(api: Api) -> None:
    """Adds the routes to the resolver."""
    app, resolver = api.app, api.resolver
    seconds = app.settings.buffered_turn_seconds

    @resolver.post("/chat")
    def chat(body: ChatRequest) -> Response[str]:
        """Sends a message and returns the answer in one piece, within API Gateway's time limit."""
        check_chat(body, app.settings)
        send = parse_send(api.headers, body)
        started = service.start(app, api.user, body, send, api.context, max_seconds=seconds)
        if isinstance(started, GenerationRecord):
            status, answer = buffered.answer(service.follow(app, api.user, started, api.context, max_seconds=seconds))
        else:
            status, answer = buffered.answer(started)
        app.learning.dispatch(api.user, started)  # before the response, because nothing runs after it
        return reply(answer, status, {"retry-after": "2"} if status == 202 else {})

    @resolver.post("/prompt/preview")
    def preview(body: ChatRequest) -> Response[str]:
        """Returns the model request for this message and an estimate of its tokens. Calls no model."""
        shown = service.preview(app, api.user, check_chat(body, app.settings))
        completion = shown.completion
        operation, request = app.models.request(
            completion.prompt, completion.model, completion.options, stream=completion.stream
        )
        return reply(
            {
                "model": completion.model,
                "operation": operation,
                "request": request,
                "tokens": completion.token_counts,
                "totalTokens": completion.tokens,
                "contextWindow": app.models[completion.model].context_window,
                "missing": shown.missing,
            }
        )

    @resolver.post("/chat/<conversation>/cancel")
    @resolver.post("/ai/chat/<conversation>/stop")
    def cancel(conversation: Id) -> Response[str]:
        """Cancels the active generation; a body `{"generationId"}` cancels only that one."""
        request = parse(CancelRequest, api.body) if api.body else CancelRequest()
        service.cancel(app, api.user, conversation, request.generation_id)
        return reply({"status": "accepted"}, 202)
