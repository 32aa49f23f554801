"""OpenAI's SDKs for Python and for Node behind one interface: what was asked, and what each of them heard."""

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
class Heard:
    """`calls` are of tools: id, name and the arguments as text; `error` as the SDK typed it; `pieces` counts chunks."""

    text: str = ""
    reasoning: str = ""
    calls: list[Json] = field(default_factory=list)
    finish: str | None = None
    usage: Json | None = None
    error: Json | None = None
    pieces: int = 0


class SDK(Protocol):
    """`call` is whole, streamed, model or models."""

    def __call__(self, call: str, base: str, headers: Mapping[str, str], retries: int, body: Json) -> Heard: ...


class Node:
    """One process for all questions."""

    def __init__(self) -> None:
        command = ["node", str(HERE / "sdk.js")]
        self._process = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, call: str, base: str, headers: Mapping[str, str], retries: int, body: Json) -> Heard:
        question = {"call": call, "base": base, "headers": dict(headers), "retries": retries, "body": body}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(question), file=self._process.stdin, flush=True)
        return Heard(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


def python(call: str, base: str, headers: Mapping[str, str], retries: int, body: Json) -> Heard:
    heard = Heard()
    with OpenAI(base_url=base, api_key="none", default_headers=headers, max_retries=retries) as client:
        try:
            _ASK[call](client, body, heard)
        except openai.APIError as error:
            status = getattr(error, "status_code", None)
            about = {name: getattr(error, name) for name in ("code", "param", "type", "message")}
            heard.error = {"kind": type(error).__name__, "status": status, **about}
    return heard


def _models(client: OpenAI, _: Json, heard: Heard) -> None:
    heard.text = "".join(f"{model.id} " for model in client.models.list())


def _model(client: OpenAI, body: Json, heard: Heard) -> None:
    heard.text = client.models.retrieve(body["model"]).id


def _whole(client: OpenAI, body: Json, heard: Heard) -> None:
    answer = client.chat.completions.create(**body)
    message = answer.choices[0].message
    heard.text = message.content or ""
    heard.reasoning = getattr(message, "reasoning_content", "")
    for call in message.tool_calls or []:
        assert call.type == "function"
        heard.calls.append({"id": call.id, "name": call.function.name, "given": call.function.arguments})
    heard.finish = answer.choices[0].finish_reason
    heard.usage = answer.usage.model_dump(exclude_unset=True) if answer.usage else None


def _streamed(client: OpenAI, body: Json, heard: Heard) -> None:
    with client.chat.completions.create(**body, stream=True) as chunks:
        for chunk in chunks:
            assert isinstance(chunk, ChatCompletionChunk)
            heard.pieces += 1
            heard.usage = chunk.usage.model_dump(exclude_unset=True) if chunk.usage else heard.usage
            for choice in chunk.choices:
                heard.text += choice.delta.content or ""
                heard.reasoning += getattr(choice.delta, "reasoning_content", "")
                for call in choice.delta.tool_calls or []:
                    assert call.function is not None
                    assert call.index == len(heard.calls)
                    heard.calls.append({"id": call.id, "name": call.function.name, "given": call.function.arguments})
                heard.finish = choice.finish_reason or heard.finish


_ASK: dict[str, Callable[[OpenAI, Json, Heard], None]] = {
    "models": _models,
    "model": _model,
    "whole": _whole,
    "streamed": _streamed,
}
