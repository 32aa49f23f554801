"""The routes of OpenAI's SDKs: chat completions, which cannot be resumed, and the models."""

import time

from converse_stream import service
from converse_stream.dialects import buffered, sse
from converse_stream.dialects.openai import frames as openai_frames
from converse_stream.dialects.openai import prompt as openai_prompt
from converse_stream.dialects.openai import request as openai_request
from converse_stream.generation.completion import Completion
from converse_stream.http.request import json_bytes
from converse_stream.protocol import errors
from converse_stream.protocol.errors import ChatError
from converse_stream.protocol.events import Error, Event, Progress, Start, fold
from exchange import JSON, Exchange
from streaming_runtime import StreamingResponse

FIRST_EVENT_SECONDS = 8.0  # that a stream waits for the model, so that its refusal can be an HTTP status


def complete(exchange: Exchange) -> StreamingResponse:
    """`POST /v1/chat/completions`, streamed or not."""
    app, asked = exchange.app, openai_request.parse(exchange.request, exchange.app.settings)
    app.models.check_allowed(asked.model)
    prompt = openai_prompt.prompt(asked)
    completion = Completion(prompt, asked.model, openai_prompt.options(asked))
    headers = openai_frames.adapted_header(app.models.adapted(prompt, asked.model, completion.options).changes)
    generation = service.complete(app, exchange.user, completion, exchange.context)
    created, parallel = int(time.time()), asked.parallel_tool_calls is not False
    # Without tools, the next request cannot use it. Without parallel calls, a call that it belongs to may be left out.
    signed = bool(prompt.tools) and parallel
    if not asked.stream:
        answer = openai_frames.completion(fold(buffered.events(generation)), created, parallel=parallel, signed=signed)
        return exchange.json(answer, headers=headers)
    generation.begin()
    started = first_event(generation)
    if isinstance(started, Error):
        generation.join()
        raise errors.by_code(started.code, asked.model)
    usage = bool(asked.stream_options and asked.stream_options.include_usage)
    dialect = openai_frames.OpenAI(created, usage=usage, parallel=parallel, signed=signed)
    return exchange.stream(generation, dialect, {**sse.HEADERS, **headers})


def models(exchange: Exchange) -> StreamingResponse:
    """`GET /v1/models`."""
    return exchange.json(openai_frames.models(exchange.app.models.names))


def model(exchange: Exchange) -> StreamingResponse:
    """`GET /v1/models/{alias}`."""
    exchange.app.models.check_allowed(exchange.path_id)
    return exchange.json(openai_frames.model(exchange.path_id))


def refusal(error: ChatError, headers: dict[str, str]) -> StreamingResponse:
    """An error as the SDKs expect it. They must not retry server errors: those were retried here, or had a cost."""
    repeats = {"x-should-retry": "false"} if error.status >= 500 else {}
    headers = JSON | headers | error.headers | repeats
    return StreamingResponse([json_bytes(openai_frames.error(error))], status=error.status, headers=headers)


def first_event(source: sse.Source) -> Event | None:
    """The first event of the model, or the end; None after FIRST_EVENT_SECONDS."""
    cursor, until = 0, time.monotonic() + FIRST_EVENT_SECONDS
    while batch := source.wait(cursor, max(0.0, until - time.monotonic())):
        cursor += len(batch)
        if not isinstance(last := batch[-1].event, (Start, Progress)):
            return last
    return None
