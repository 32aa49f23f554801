"""Between our values and Converse's, pure (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html)."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from chat.errors import BadRequest
from chat.events import Usage
from chat.model.catalog import Model
from chat.prompts.prompt import Content, Prompt, ToolResult, ToolUse, Turn
from chat.requests import Options

CACHE_POINT = {"cachePoint": {"type": "default"}}  # at most four in a request; we set two

# Thinking tokens by the caller's wish; the smallest that Claude takes is 1024.
REASONING_TOKENS = {"low": 1_024, "medium": 4_096, "high": 16_384}


def check_options(model: Model, options: Options) -> None:
    """Raises BadRequest for a wish that this model cannot grant."""
    if options.max_tokens is not None and options.max_tokens > model.max_output_tokens:
        raise BadRequest(
            f"options.maxTokens is larger than {model.max_output_tokens} for this model.", field="options.maxTokens"
        )
    both = options.temperature is not None and options.top_p is not None
    if both and not model.temperature_with_top_p:
        raise BadRequest("options.topP cannot go with options.temperature for this model.", field="options.topP")
    if options.reasoning is None:
        return
    if not model.reasoning:
        raise BadRequest("options.reasoning is not supported by this model.", field="options.reasoning")
    for field, value in (("temperature", options.temperature), ("topP", options.top_p)):
        if value is not None:
            raise BadRequest(f"options.{field} cannot go with options.reasoning.", field=f"options.{field}")


def granted(model: Model, options: Options) -> Options:
    """The options as far as a fallback model can grant them."""
    limit = options.max_tokens and min(options.max_tokens, model.max_output_tokens)
    update = {"max_tokens": limit, "reasoning": options.reasoning if model.reasoning else None}
    if options.temperature is not None and not model.temperature_with_top_p:
        update["top_p"] = None
    return options.model_copy(update=update)


def to_request(prompt: Prompt, model: Model, model_id: str, options: Options) -> dict[str, Any]:
    """The arguments of `converse` and `converse_stream`."""
    if prompt.system and not model.system:
        turn = replace(prompt.turn, content=(prompt.system, *prompt.turn.content))
        prompt = replace(prompt, system="", turn=turn)
    request: dict[str, Any] = {
        "modelId": model_id,
        "messages": [_message(turn) for turn in prompt.history],
        "inferenceConfig": _inference(model, options),
    }
    if prompt.system:
        request["system"] = [{"text": prompt.system}]
    if model.cache:
        for prefix in (request.get("system"), request["messages"][-1]["content"] if prompt.history else None):
            if prefix:
                prefix.append(CACHE_POINT)
    if prompt.tools:
        request["toolConfig"] = _tools(prompt)
    known = [{"text": fenced} for fenced in (prompt.facts, prompt.documents) if fenced]
    request["messages"].append({"role": "user", "content": known + _message(prompt.turn)["content"]})
    if options.reasoning:
        budget = REASONING_TOKENS[options.reasoning]
        request["additionalModelRequestFields"] = {"thinking": {"type": "enabled", "budget_tokens": budget}}
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
    yield {"metadata": {"usage": response["usage"]}}


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


def _message(turn: Turn) -> dict[str, Any]:
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


def _inference(model: Model, options: Options) -> dict[str, Any]:
    limit = options.max_tokens or min(model.max_output_tokens, 4_096)
    if options.reasoning:
        limit = min(model.max_output_tokens, limit + REASONING_TOKENS[options.reasoning])
    config = {
        "maxTokens": limit,
        "temperature": options.temperature,
        "topP": options.top_p,
        "stopSequences": options.stop,
    }
    return {name: value for name, value in config.items() if value is not None and value != []}
