"""Uses an OpenAI-compatible model server, such as Ollama, instead of the emulated model.

LOCAL_MODEL_URL is its base URL, such as http://127.0.0.1:11434/v1. LOCAL_MODEL_NAME is the name of the model. Only text
is supported: no images, documents, tools or reasoning.
https://platform.openai.com/docs/api-reference/chat
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import h11

from local_stack.bedrock import events
from local_stack.bedrock.conversation import text_of
from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.events import Event, Json
from local_stack.bedrock.usage import count

_READ_SIZE = 64 * 1024
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "content_filter": "content_filtered"}
_ERROR_CODES = {
    400: "ValidationException",
    401: "AccessDeniedException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    503: "ServiceUnavailableException",
}


def configured(environment: Mapping[str, str]) -> "Upstream | None":
    """Return the model server of the environment variables, or None if they are not set."""
    url = environment.get("LOCAL_MODEL_URL")
    return Upstream(url, environment.get("LOCAL_MODEL_NAME", "")) if url else None


class Upstream:
    """A `Model` on an HTTP server. Each answer has its own connection. Closing it cancels the generation."""

    def __init__(self, url: str, name: str) -> None:
        self._url = urlsplit(url.rstrip("/") + "/chat/completions")
        self._name = name

    async def converse(self, model_id: str, body: Json) -> AsyncGenerator[Event, None]:
        clock = asyncio.get_running_loop().time
        started = clock()
        stop_reason, deltas = "", 0
        usage: Json = {}
        async with _post(self._url, _request(self._name or model_id, body)) as answer:
            yield events.MESSAGE_START
            async for chunk in _chunks(answer):
                usage = chunk.get("usage") or usage
                for choice in chunk.get("choices", []):
                    if text := choice.get("delta", {}).get("content"):
                        deltas += 1
                        yield events.delta(0, {"text": text})
                    if reason := choice.get("finish_reason"):
                        stop_reason = _STOP_REASONS.get(reason, reason)
        if not stop_reason:
            raise _broken("the answer has no end")
        yield events.block_stop(0)
        yield events.message_stop(stop_reason)
        yield events.metadata(_usage(usage, body, deltas), round((clock() - started) * 1000))


def _request(name: str, body: Json) -> Json:
    """Convert a Converse request to an OpenAI request."""
    config = body.get("inferenceConfig", {})
    options = {
        "max_tokens": config.get("maxTokens"),
        "temperature": config.get("temperature"),
        "top_p": config.get("topP"),
        "stop": config.get("stopSequences"),
    }
    system = [{"role": "system", "content": _text(body["system"])}] if body.get("system") else []
    messages = [{"role": message["role"], "content": _text(message["content"])} for message in body["messages"]]
    return {
        "model": name,
        "messages": system + messages,
        "stream": True,
        "stream_options": {"include_usage": True},
        **{option: value for option, value in options.items() if value is not None},
    }


def _text(blocks: list[Json]) -> str:
    return "\n\n".join(filter(None, map(text_of, blocks)))


def _usage(usage: Json, body: Json, deltas: int) -> Json:
    """Return the server's token counts, or our own if it sends none."""
    prompt = [body.get("system", []), [message["content"] for message in body["messages"]]]
    input_tokens = usage.get("prompt_tokens", count(prompt))
    output_tokens = usage.get("completion_tokens", deltas)
    return {"inputTokens": input_tokens, "outputTokens": output_tokens, "totalTokens": input_tokens + output_tokens}


@contextlib.asynccontextmanager
async def _post(url: SplitResult, body: Json) -> AsyncIterator[AsyncIterator[bytes]]:
    """Send a request. Yields the body of the response as it is received. Raises BedrockError."""
    secure = url.scheme == "https"
    try:
        reader, writer = await asyncio.open_connection(url.hostname, url.port or (443 if secure else 80), ssl=secure)
    except OSError as error:
        message = f"The model server at {url.geturl()} does not answer."
        raise BedrockError("ServiceUnavailableException", message) from error
    try:
        connection = h11.Connection(h11.CLIENT)
        data = json.dumps(body).encode()
        headers = [("host", url.netloc), ("content-type", "application/json"), ("content-length", str(len(data)))]
        for event in (
            h11.Request(method="POST", target=url.path, headers=headers),
            h11.Data(data=data),
            h11.EndOfMessage(),
        ):
            writer.write(connection.send(event) or b"")
        received = _receive(connection, reader)
        response = await anext(received)
        content = (bytes(event.data) async for event in received if isinstance(event, h11.Data))
        if not isinstance(response, h11.Response) or response.status_code != 200:
            raise await _refusal(response, content)
        yield content
    except (OSError, h11.RemoteProtocolError) as error:
        raise _broken(str(error)) from error
    finally:
        writer.close()


async def _receive(connection: h11.Connection, reader: asyncio.StreamReader) -> AsyncIterator[h11.Event]:
    """Yield the h11 events of the response until its end."""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(_READ_SIZE))
        elif isinstance(event, h11.Event):
            yield event
            if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return


async def _chunks(content: AsyncIterator[bytes]) -> AsyncIterator[Json]:
    """Yield the JSON of each `data:` line. Raises BedrockError for an error in the stream."""
    rest = b""
    async for data in content:
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            value = line.removeprefix(b"data:").strip()
            if value == line.strip() or value == b"[DONE]":
                continue  # a comment, a blank line or the end
            try:
                chunk: Json = json.loads(value)
            except ValueError as error:
                raise _broken("a line is not JSON") from error
            if "error" in chunk:
                raise _broken(_message(chunk))
            yield chunk


async def _refusal(response: h11.Event, content: AsyncIterator[bytes]) -> BedrockError:
    status = response.status_code if isinstance(response, h11.Response) else 500
    body = b"".join([data async for data in content])
    try:
        message = _message(json.loads(body))
    except ValueError:
        message = body.decode(errors="replace")
    return BedrockError(
        _ERROR_CODES.get(status, "ModelErrorException"), f"The model server answered {status}: {message}"
    )


def _message(answer: Any) -> str:
    error = answer.get("error", answer) if isinstance(answer, dict) else answer
    return str(error.get("message", error) if isinstance(error, dict) else error)


def _broken(reason: str) -> BedrockError:
    return BedrockError("ModelStreamErrorException", f"The stream of the model server failed: {reason}.")
