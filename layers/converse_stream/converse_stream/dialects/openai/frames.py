"""OpenAI's chat completions, as its SDKs read them: chunks, the answer in one piece, models and errors.

https://platform.openai.com/docs/api-reference/chat. A completion is not stored and cannot be resumed. Events that this
protocol does not have (progress, citations) are left out.
"""

from collections.abc import Iterable
from typing import Any

from converse_stream.dialects import sse
from converse_stream.dialects.openai.reasoning import ReasoningDetails, details
from converse_stream.protocol.errors import ChatError, by_code
from converse_stream.protocol.events import Answer, Chunk, Complete, Error, Reasoning, Start, Tool, Usage
from converse_stream.protocol.finish_reasons import FINISH, UNKNOWN
from converse_stream.protocol.log import PositionedEvent

_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
# The names in this protocol of the options in our error messages. It has no option for the latency.
_PARAMETERS = {
    "options.maxTokens": "max_completion_tokens",
    "options.temperature": "temperature",
    "options.topP": "top_p",
    "options.stop": "stop",
    "options.reasoning": "reasoning_effort",
    "options.serviceTier": "service_tier",
    "options.schema": "response_format.json_schema.schema",
}


class OpenAI:
    """The chunks of one completion. `created` is in seconds since the epoch.

    With `usage`, the last chunk has the tokens. Without `parallel`, only the model's first tool call is sent. With
    `signed`, each block of signed reasoning is sent when it has ended: a client whose request has tools sends it back.
    """

    comment_end = "\n\n"  # some clients split at blank lines

    def __init__(self, created: int, *, usage: bool = False, parallel: bool = True, signed: bool = False) -> None:
        self._created = created
        self._usage = usage
        self._parallel = parallel
        self._signed = signed
        self._details = ReasoningDetails()
        self._calls = 0
        self._head: dict[str, Any] = {}

    def encode(self, positioned: PositionedEvent) -> str:
        """The frames of the event."""
        if self._signed and (items := self._details.take(positioned.event)):
            return self._choice({"reasoning_details": items})
        match positioned.event:
            case Start() as start:
                self._head = _head("chat.completion.chunk", start, self._created)
                return self._choice({"role": "assistant", "content": ""})
            case Chunk(content):
                return self._choice({"content": content})
            case Reasoning(content):
                return self._choice({"reasoning_content": content})
            case Tool(state="call") as tool if self._parallel or not self._calls:
                self._calls += 1
                return self._choice({"tool_calls": [{"index": self._calls - 1, **_call(tool)}]})
            case Complete(finish_reason=reason, usage=usage):
                counted = sse.data({**self._head, "choices": [], "usage": _usage(usage)}) if self._usage else ""
                return self._choice({}, _finish(reason)) + counted + sse.DONE
            case Error(code=code):
                return sse.data(error(by_code(code, self._head.get("model", ""))))
        return ""

    def unfinished_end(self) -> str:
        """An error: a client of this protocol takes each end for the end of the answer."""
        return sse.data(error(ChatError()))

    def _choice(self, delta: dict[str, Any], finish_reason: str | None = None) -> str:
        return sse.data({**self._head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})


def completion(answer: Answer, created: int, *, parallel: bool = True, signed: bool = False) -> dict[str, Any]:
    """The answer in one piece; `parallel` and `signed` as in `OpenAI`. Raises ChatError if it ended with an error."""
    if isinstance(answer.end, Error):
        raise by_code(answer.end.code, answer.start.model if answer.start else "")
    if answer.start is None or answer.end is None:
        raise ChatError
    text = "".join(part.content for part in answer.parts if isinstance(part, Chunk))
    reasoning = "".join(part.content for part in answer.parts if isinstance(part, Reasoning))
    calls = [_call(part) for part in answer.parts if isinstance(part, Tool) and part.state == "call"]
    message: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else ""), "refusal": None}
    if reasoning:
        message["reasoning_content"] = reasoning
    if signed and (items := details(answer.parts)):
        message["reasoning_details"] = items
    if calls:
        message["tool_calls"] = calls if parallel else calls[:1]
    finish_reason = _finish(answer.end.finish_reason)
    return {
        **_head("chat.completion", answer.start, created),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
        "usage": _usage(answer.end.usage),
    }


def error(failure: ChatError) -> dict[str, Any]:
    """The body of an error, as a response or in a stream."""
    message, param, code = failure.message, failure.field, failure.code
    for option, parameter in _PARAMETERS.items():
        message = message.replace(option, parameter)
    if code == "context_length_exceeded":
        param = "messages"
    if param == "model" and failure.status == 404:
        code = "model_not_found"
    kind = _TYPES.get(failure.status, "server_error" if failure.status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "code": code, "param": _PARAMETERS.get(param or "", param)}}


def adapted_header(changes: Iterable[str]) -> dict[str, str]:
    """The header with the fields that the model does not get, or gets with another value. Empty without changes."""
    named = []
    for change in changes:
        field, equals, value = change.partition("=")
        named.append(f"{_PARAMETERS.get(field, field)}{equals}{value}")
    return {"x-adapted": ", ".join(named)} if named else {}


def models(names: Iterable[str]) -> dict[str, Any]:
    """The list of models."""
    return {"object": "list", "data": [model(name) for name in names]}


def model(name: str) -> dict[str, Any]:
    """One model. `created` is 0, because it is unknown."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "amazon-bedrock"}


def _head(kind: str, start: Start, created: int) -> dict[str, Any]:
    return {"id": f"chatcmpl-{start.generation_id}", "object": kind, "created": created, "model": start.model}


def _call(tool: Tool) -> dict[str, Any]:
    return {"id": tool.id, "type": "function", "function": {"name": tool.name, "arguments": tool.input}}


def _finish(reason: str) -> str:
    return FINISH.get(reason, UNKNOWN).openai


def _usage(usage: Usage) -> dict[str, Any]:
    """The usage. Cached tokens are part of the prompt tokens here; Bedrock counts them separately."""
    prompt_tokens = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": prompt_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
    }
