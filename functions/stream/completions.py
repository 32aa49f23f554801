"""The routes of OpenAI's SDKs: completions, which nobody can come back to, and the models."""

import time

from aws_lambda_powertools.utilities.typing import LambdaContext

from chat import errors
from chat.application import Application, Completion
from chat.auth import User
from chat.dialects import openai, openai_prompt, openai_request, sse, whole
from chat.errors import ChatError, NotFound
from chat.events import Error, Event, Progress, Start, fold
from chat.http import HttpRequest, json_bytes
from streaming_runtime import StreamingResponse

JSON = {"content-type": "application/json", "cache-control": "no-store"}
OPENING = 8.0  # seconds that a stream waits for the model, so that its refusal can be an HTTP status


def complete(
    app: Application, request: HttpRequest, user: User, context: LambdaContext, headers: dict[str, str]
) -> StreamingResponse:
    """`POST /v1/chat/completions`, streamed or not."""
    asked = openai_request.parse(request, app.settings)
    check_model(app, asked.model)
    prompt = openai_prompt.prompt(asked)
    turn = app.complete(user, Completion(prompt, asked.model, openai_prompt.options(asked, prompt)), context)
    created, parallel = int(time.time()), asked.parallel_tool_calls is not False
    if not asked.stream:
        answer = openai.completion(fold(whole.events(turn)), created, parallel=parallel)
        return StreamingResponse([json_bytes(answer)], headers=JSON | headers)
    turn.begin()
    begun = first_event(turn)
    if isinstance(begun, Error):
        turn.join()
        raise errors.by_code(begun.code)
    usage = bool(asked.stream_options and asked.stream_options.include_usage)
    dialect = openai.OpenAI(created, usage=usage, parallel=parallel)
    return StreamingResponse(sse.frames(turn, dialect), headers=sse.HEADERS | headers)


def models(app: Application, headers: dict[str, str]) -> StreamingResponse:
    """`GET /v1/models`."""
    return StreamingResponse([json_bytes(openai.models(app.models.aliases))], headers=JSON | headers)


def model(app: Application, alias: str, headers: dict[str, str]) -> StreamingResponse:
    """`GET /v1/models/{alias}`."""
    check_model(app, alias)
    return StreamingResponse([json_bytes(openai.model(alias))], headers=JSON | headers)


def refusal(error: ChatError, headers: dict[str, str]) -> StreamingResponse:
    """An error as the SDKs expect it. What cost something, or was repeated here already, they are not to repeat."""
    repeats = {"x-should-retry": "false"} if error.status >= 500 else {}
    headers = JSON | headers | error.headers | repeats
    return StreamingResponse([json_bytes(openai.error(error))], status=error.status, headers=headers)


def check_model(app: Application, alias: str) -> None:
    """Raises NotFound, which names the models that there are."""
    if alias not in app.models.aliases:
        raise NotFound(f"There is no such model; there are {', '.join(app.models.aliases)}.", field="model")


def first_event(source: sse.Source) -> Event | None:
    """The first thing that the model says, or the end before it; None when it was waited for long enough."""
    cursor, until = 0, time.monotonic() + OPENING
    while batch := source.wait(cursor, max(0.0, until - time.monotonic())):
        cursor += len(batch)
        if not isinstance(last := batch[-1].event, (Start, Progress)):
            return last
    return None
