"""Between our values and Converse's, pure (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from converse_stream.model.catalog import Model
from converse_stream.model.options import to_fields
from converse_stream.prompts.prompt import (
    Content,
    Prompt,
    PromptMessage,
    ToolResult,
    ToolSpec,
    ToolUse,
)
from converse_stream.protocol.events import Usage
from converse_stream.protocol.options import Options

CACHE_POINT = {"cachePoint": {"type": "default"}}  # at most four in a request; we set three
ANSWER = "answer"  # the tool whose input is the answer, where a model has no other way to keep to a schema


@dataclass(frozen=True, slots=True)
class Guardrail:
    """One of Bedrock's guardrails; `streaming` is `sync` to look at text before it is sent on, `async` beside it."""

    id: str
    version: str
    streaming: str


def streams(model: Model, prompt: Prompt) -> bool:
    """Whether the model is asked to stream."""
    return model.stream and (model.tool_stream or not prompt.tools)


def with_answer_tool(prompt: Prompt, model: Model, options: Options) -> Prompt:
    """The prompt with a tool that must be called, where only that makes the model keep to a schema."""
    if options.answer_schema is None or model.answer_schema:
        return prompt
    return replace(prompt, tools=(ToolSpec(ANSWER, "Gives the answer.", options.answer_schema),), tool_choice=ANSWER)


def to_request(prompt: Prompt, model: Model, options: Options, guardrail: Guardrail | None = None) -> dict[str, Any]:
    """The arguments of `converse` or, where the model `streams`, of `converse_stream`."""
    messages = [_message(turn) for turn in prompt.history]
    request: dict[str, Any] = {"modelId": model.id, "messages": messages, **to_fields(model, options)}
    if prompt.system and model.system:
        request["system"] = [{"text": prompt.system}]
    if model.cache:
        # The last but one is where the request before this one had its last: not every model looks further back.
        answers = [message["content"] for message in messages[1::2]]
        for prefix in (request.get("system"), *answers[-2:]):
            if prefix:
                prefix.append(CACHE_POINT)
    if prompt.tools:
        request["toolConfig"] = _tools(prompt)
    if guardrail:
        request["guardrailConfig"] = {
            "guardrailIdentifier": guardrail.id,
            "guardrailVersion": guardrail.version,
            "trace": "enabled",  # tells masking, after which an answer goes on, from a stop
        }
        if streams(model, prompt):
            request["guardrailConfig"]["streamProcessingMode"] = guardrail.streaming
    known = [{"text": text} for text in (prompt.summary, prompt.facts) if text]
    new = [{"text": text} for text in (prompt.documents,) if text] + _message(prompt.turn)["content"]
    if guardrail and prompt.stored:
        new = [{"guardContent": {"text": block}} for block in new]  # it judges this, and nothing beside it
    messages.append({"role": "user", "content": known + new})
    if prompt.system and not model.system:
        messages[0]["content"].insert(0, {"text": prompt.system})
    return request


def to_usage(usage: dict[str, Any]) -> Usage:
    """Tokens as Bedrock counted them; cached input is counted apart, as Bedrock does."""
    return Usage(
        input_tokens=usage.get("inputTokens", 0),
        output_tokens=usage.get("outputTokens", 0),
        cache_read_tokens=usage.get("cacheReadInputTokens", 0),
        cache_write_tokens=usage.get("cacheWriteInputTokens", 0),
        basis="exact",
    )


def as_stream(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A Converse answer in one piece as the events that ConverseStream would have sent."""
    yield {"messageStart": {"role": "assistant"}}
    for index, block in enumerate(response["output"]["message"]["content"]):
        if used := block.get("toolUse"):
            start = {"toolUse": {"toolUseId": used["toolUseId"], "name": used["name"]}}
            yield {"contentBlockStart": {"contentBlockIndex": index, "start": start}}
        for delta in _deltas(block):
            yield {"contentBlockDelta": {"contentBlockIndex": index, "delta": delta}}
        yield {"contentBlockStop": {"contentBlockIndex": index}}
    yield {"messageStop": {"stopReason": response["stopReason"]}}
    yield {"metadata": {name: value for name, value in response.items() if name not in {"output", "stopReason"}}}


def _deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "text" in block:
        yield {"text": block["text"]}
    if text := block.get("reasoningContent", {}).get("reasoningText", {}).get("text"):
        yield {"reasoningContent": {"text": text}}
    if used := block.get("toolUse"):
        yield {"toolUse": {"input": json.dumps(used["input"], ensure_ascii=False)}}
    if cited := block.get("citationsContent"):
        for piece in cited.get("content", []):
            yield {"text": piece["text"]}
        for citation in cited.get("citations", []):
            yield {"citation": citation}


def _message(turn: PromptMessage) -> dict[str, Any]:
    return {"role": turn.role, "content": list(map(_block, turn.content))}


def _block(content: Content) -> dict[str, Any]:
    match content:
        case ToolUse(identity, name, used):
            return {"toolUse": {"toolUseId": identity, "name": name, "input": used}}
        case ToolResult(identity, text):
            return {"toolResult": {"toolUseId": identity, "content": [{"text": text}]}}
        case text:
            return {"text": text}


def _tools(prompt: Prompt) -> dict[str, Any]:
    specs = [
        {"name": tool.name, "inputSchema": {"json": tool.schema}}
        | ({"description": tool.description} if tool.description else {})
        for tool in prompt.tools
    ]
    config: dict[str, Any] = {"tools": [{"toolSpec": spec} for spec in specs]}
    if prompt.tool_choice == "any":
        config["toolChoice"] = {"any": {}}
    elif prompt.tool_choice:
        config["toolChoice"] = {"tool": {"name": prompt.tool_choice}}
    return config
