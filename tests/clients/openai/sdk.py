"""OpenAI's SDKs for Python and for Node behind one interface."""

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import openai
from openai import OpenAI
from openai.types.chat import ChatCompletionChunk

HERE = Path(__file__).parent
Json = dict[str, Any]


@dataclass
class SdkResult:
    """The result of a call. `calls` are tool calls: id, name and arguments as text. `error` is the SDK's exception.

    `details` are the lists of `reasoning_details`, joined.
    """

    text: str = ""
    reasoning: str = ""
    details: list[Json] = field(default_factory=list)
    calls: list[Json] = field(default_factory=list)
    finish: str | None = None
    usage: Json | None = None
    error: Json | None = None
    chunk_count: int = 0


class SDK(Protocol):
    """A call of an SDK. `call` is whole, streamed, model or models; `retries` is the SDK's maximum."""

    def __call__(self, call: str, base: str, headers: Mapping[str, str], retries: int, body: Json) -> SdkResult: ...


class Node:
    """The SDK for Node, in one process for all calls."""

    def __init__(self) -> None:
        command = ["node", str(HERE / "sdk.js")]
        self._process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, call: str, base: str, headers: Mapping[str, str], retries: int, body: Json) -> SdkResult:
        request = {"call": call, "base": base, "headers": dict(headers), "retries": retries, "body": body}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return SdkResult(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


def python(call: str, base: str, headers: Mapping[str, str], retries: int, body: Json) -> SdkResult:
    result = SdkResult()
    with OpenAI(base_url=base, api_key="none", default_headers=headers, max_retries=retries) as client:
        try:
            _CALLS[call](client, body, result)
        except openai.APIError as error:
            status = getattr(error, "status_code", None)
            details = {name: getattr(error, name) for name in ("code", "param", "type", "message")}
            result.error = {"kind": type(error).__name__, "status": status, **details}
    return result


def _models(client: OpenAI, _: Json, result: SdkResult) -> None:
    result.text = "".join(f"{model.id} " for model in client.models.list())


def _model(client: OpenAI, body: Json, result: SdkResult) -> None:
    result.text = client.models.retrieve(body["model"]).id


def _whole(client: OpenAI, body: Json, result: SdkResult) -> None:
    answer = client.chat.completions.create(**body)
    message = answer.choices[0].message
    result.text = message.content or ""
    result.reasoning = getattr(message, "reasoning_content", "")
    result.details = getattr(message, "reasoning_details", [])
    for call in message.tool_calls or []:
        assert call.type == "function"
        result.calls.append({"id": call.id, "name": call.function.name, "arguments": call.function.arguments})
    result.finish = answer.choices[0].finish_reason
    result.usage = answer.usage.model_dump(exclude_unset=True) if answer.usage else None


def _streamed(client: OpenAI, body: Json, result: SdkResult) -> None:
    with client.chat.completions.create(**body, stream=True) as chunks:
        for chunk in chunks:
            assert isinstance(chunk, ChatCompletionChunk)
            result.chunk_count += 1
            result.usage = chunk.usage.model_dump(exclude_unset=True) if chunk.usage else result.usage
            for choice in chunk.choices:
                result.text += choice.delta.content or ""
                result.reasoning += getattr(choice.delta, "reasoning_content", "")
                result.details += getattr(choice.delta, "reasoning_details", [])
                for call in choice.delta.tool_calls or []:
                    assert call.function is not None
                    assert call.index == len(result.calls)
                    result.calls.append(
                        {"id": call.id, "name": call.function.name, "arguments": call.function.arguments}
                    )
                result.finish = choice.finish_reason or result.finish


_CALLS: dict[str, Callable[[OpenAI, Json, SdkResult], None]] = {
    "models": _models,
    "model": _model,
    "whole": _whole,
    "streamed": _streamed,
}
