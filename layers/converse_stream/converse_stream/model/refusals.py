"""Capabilities that a model was found to lack when it refused a request. Pure."""

from collections.abc import Iterator
from dataclasses import replace

from converse_stream.model.capabilities import Model, Thinking
from converse_stream.prompts.prompt import Prompt
from converse_stream.protocol.errors import Capability
from converse_stream.protocol.options import Effort, Options

_COMMON_EFFORTS: tuple[Effort, ...] = ("low", "medium", "high")


def without(model: Model, capability: Capability) -> Model:
    """The model without a capability. It is the same model if the refusal cannot be avoided in this way."""
    thinking = model.thinking
    match capability:
        case "streaming" if model.streaming:
            return replace(model, streaming=False)
        case "tool_streaming" if model.tool_streaming:
            return replace(model, tool_streaming=False)
        case "system_prompt" if model.system_prompt:
            return replace(model, system_prompt=False)
        case "temperature":
            return replace(model, sampling=tuple(name for name in model.sampling if name != "temperature"))
        case "topP":
            return replace(model, sampling=tuple(name for name in model.sampling if name != "topP"))
        case "sampling_pair" if not model.sampling_exclusive:
            return replace(model, sampling_exclusive=True)
        case "thinking_budget" if thinking and thinking.style == "budget":
            return replace(model, thinking=Thinking(style="adaptive"))
        case "adaptive_thinking" if thinking and thinking.style == "adaptive":
            return replace(model, thinking=Thinking(style="budget"))
        case "no_thinking" if thinking and thinking.can_disable:
            default = thinking.default or thinking.efforts[0]
            return replace(model, thinking=replace(thinking, can_disable=False, default=default))
        case "effort" if thinking and thinking.efforts != _COMMON_EFFORTS:
            return replace(model, thinking=replace(thinking, efforts=_COMMON_EFFORTS))
        case "thinking" if thinking:
            return replace(model, thinking=None)
        case "forced_tools_with_thinking" if model.forced_tools == "always":
            return replace(model, forced_tools="without-thinking")
        case "forced_tools" if model.forced_tools != "never":
            output = "prompt" if model.structured_output == "forced-tool" else model.structured_output
            return replace(model, forced_tools="never", structured_output=output)
        case "text_format" if model.structured_output == "text-format":
            return replace(model, structured_output="prompt")
        case "cache" if model.cache:
            return replace(model, cache=None)
        case "cache_ttl" if model.cache and len(model.cache.ttls) > 1:
            return replace(model, cache=replace(model.cache, ttls=("5m",)))
    return model


def learned(missing: tuple[Capability, ...], capability: Capability) -> tuple[Capability, ...]:
    """The missing capabilities with one more. A model that refuses both ways to think does not think."""
    ways: set[Capability] = {"thinking_budget", "adaptive_thinking"}
    if capability in ways and ways & set(missing):
        capability = "thinking"
    return missing if capability in missing else (*missing, capability)


# What is told of a missing capability that no option asks for.
_FIELDS: dict[Capability, str] = {
    "streaming": "stream",
    "tool_streaming": "stream",
    "system_prompt": "system",
    "cache": "cachePoint",
    "cache_ttl": "cachePoint.ttl",
}


def left_out(missing: tuple[Capability, ...], prompt: Prompt, options: Options) -> Iterator[str]:
    """What a request does not get, because the model was found to lack these capabilities. See `Adapted.changes`."""
    for capability in missing:
        if capability == "tool_streaming" and not prompt.tools:
            continue
        if capability in _FIELDS:
            yield _FIELDS[capability]
        elif capability in {"text_format", "forced_tools"} and options.answer_schema:
            yield "options.schema=prompt"
