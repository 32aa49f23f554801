"""Converts prompts and answers to and from Converse. Pure (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html)."""

import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from converse_stream.model.cache_points import cache_points
from converse_stream.model.capabilities import Cache, Model
from converse_stream.model.options import to_fields
from converse_stream.prompts.prompt import (
    Content,
    Prompt,
    PromptMessage,
    SignedReasoning,
    ToolResult,
    ToolSpec,
    ToolUse,
)
from converse_stream.prompts.templates import render
from converse_stream.protocol.events import RedactedReasoning, Usage
from converse_stream.protocol.options import Options

ANSWER = "answer"  # the tool whose input is the answer, if the model does not support schemas


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A guardrail of Bedrock. `streaming` is `sync` (checks text before it is sent) or `async` (in parallel)."""

    id: str
    version: str
    streaming: str


@dataclass(frozen=True, slots=True)
class RequestSettings:
    """What the deployment adds to all requests. `cache_ttl` applies to models that support it."""

    guardrail: Guardrail | None = None
    cache_ttl: Literal["5m", "1h"] = "5m"


def streams(model: Model, prompt: Prompt) -> bool:
    """Whether the request is sent to ConverseStream."""
    return model.streaming and (model.tool_streaming or not prompt.tools)


def with_answer_format(prompt: Prompt, model: Model, options: Options) -> Prompt:
    """The prompt with the schema of the answer, if `options` have one and the request has no field for it.

    The schema is that of a tool that must be called, or part of the system prompt.
    """
    if options.answer_schema is None or model.structured_output == "text-format":
        return prompt
    if model.structured_output == "forced-tool":
        tool = ToolSpec(ANSWER, "Gives the answer.", options.answer_schema)
        return replace(prompt, tools=(tool,), tool_choice=ANSWER)
    schema = json.dumps(options.answer_schema, ensure_ascii=False)
    return replace(prompt, system="\n\n".join(filter(None, [prompt.system, render("answer_schema") + "\n" + schema])))


def to_request(prompt: Prompt, model: Model, options: Options, settings: RequestSettings) -> dict[str, Any]:
    """The arguments of `converse`, or of `converse_stream` if the request `streams`."""
    guardrail = settings.guardrail
    messages = [_message(turn) for turn in prompt.history]
    request: dict[str, Any] = {"modelId": model.id, "messages": messages, **to_fields(model, options)}
    if prompt.system and model.system_prompt:
        request["system"] = [{"text": prompt.system}]
    if prompt.tools:
        request["toolConfig"] = _tools(prompt)
    if guardrail:
        request["guardrailConfig"] = {
            "guardrailIdentifier": guardrail.id,
            "guardrailVersion": guardrail.version,
            "trace": "enabled",  # shows whether the guardrail has masked text or stopped the answer
        }
        if streams(model, prompt):
            request["guardrailConfig"]["streamProcessingMode"] = guardrail.streaming
    unguarded = [{"text": text} for text in (prompt.today, prompt.summary, prompt.facts) if text]
    guarded = [{"text": text} for text in (prompt.documents,) if text] + _message(prompt.turn)["content"]
    if guardrail and prompt.stored:
        guarded = [{"guardContent": {"text": block}} for block in guarded]  # the guardrail checks only these blocks
    messages.append({"role": "user", "content": unguarded + guarded})
    if model.cache:
        points = cache_points(prompt, model.cache.min_tokens)
        prefixes = [messages[index]["content"] for index in points.history]
        prefixes += [request["system"]] if points.system and "system" in request else []
        prefixes += [messages[-1]["content"]] if points.turn else []
        for prefix in prefixes:
            prefix.append(_cache_point(model.cache, settings.cache_ttl))
    if prompt.prefill:  # Bedrock refuses white space at its end
        messages.append({"role": "assistant", "content": [{"text": prompt.prefill.rstrip()}]})
    if prompt.system and not model.system_prompt:
        messages[0]["content"].insert(0, {"text": prompt.system})
    return request


def to_usage(usage: dict[str, Any]) -> Usage:
    """The usage that Bedrock reports. Cached input is not part of the input tokens, as in Bedrock."""
    return Usage(
        input_tokens=usage.get("inputTokens", 0),
        output_tokens=usage.get("outputTokens", 0),
        cache_read_tokens=usage.get("cacheReadInputTokens", 0),
        cache_write_tokens=usage.get("cacheWriteInputTokens", 0),
        basis="exact",
    )


def long_cache_writes(usage: dict[str, Any]) -> int:
    """The tokens that were written to the cache with a lifetime of one hour."""
    return sum(detail["inputTokens"] for detail in usage.get("cacheDetails", []) if detail["ttl"] == "1h")


def as_stream(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The events that ConverseStream would have sent for a response of Converse."""
    yield {"messageStart": {"role": "assistant"}}
    for index, block in enumerate(response["output"]["message"]["content"]):
        if call := block.get("toolUse"):
            start = {"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}}
            yield {"contentBlockStart": {"contentBlockIndex": index, "start": start}}
        for delta in _deltas(block):
            yield {"contentBlockDelta": {"contentBlockIndex": index, "delta": delta}}
        yield {"contentBlockStop": {"contentBlockIndex": index}}
    yield {"messageStop": {"stopReason": response["stopReason"]}}
    yield {"metadata": {name: value for name, value in response.items() if name not in {"output", "stopReason"}}}


def _deltas(block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "text" in block:
        yield {"text": block["text"]}
    if reasoning := block.get("reasoningContent"):
        fields = reasoning.get("reasoningText", reasoning)
        for name in ("text", "signature", "redactedContent"):
            if value := fields.get(name):
                yield {"reasoningContent": {name: value}}
    if call := block.get("toolUse"):
        yield {"toolUse": {"input": json.dumps(call["input"], ensure_ascii=False)}}
    if cited := block.get("citationsContent"):
        for piece in cited.get("content", []):
            yield {"text": piece["text"]}
        for citation in cited.get("citations", []):
            yield {"citation": citation}


def _cache_point(cache: Cache, ttl: str) -> dict[str, Any]:
    lifetime = {"ttl": ttl} if ttl != "5m" and ttl in cache.ttls else {}
    return {"cachePoint": {"type": "default", **lifetime}}


def _message(turn: PromptMessage) -> dict[str, Any]:
    return {"role": turn.role, "content": list(map(_block, turn.content))}


def _block(content: Content) -> dict[str, Any]:
    match content:
        case ToolUse(call_id, name, arguments):
            return {"toolUse": {"toolUseId": call_id, "name": name, "input": arguments}}
        case ToolResult(call_id, text):
            return {"toolResult": {"toolUseId": call_id, "content": [{"text": text}]}}
        case SignedReasoning(text, signature):
            return {"reasoningContent": {"reasoningText": {"text": text, "signature": signature}}}
        case RedactedReasoning(data):
            return {"reasoningContent": {"redactedContent": b64decode(data)}}
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
