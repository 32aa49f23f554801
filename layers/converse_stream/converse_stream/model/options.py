"""Checks the caller's options for a model, and converts adapted options to fields of Converse. Pure."""

import json
import re
from collections.abc import Sequence
from typing import Any

from converse_stream.model import thinking
from converse_stream.model.capabilities import Model
from converse_stream.model.schema import UnsupportedSchema, adapt
from converse_stream.prompts.prompt import ToolSpec
from converse_stream.protocol.errors import BadRequest
from converse_stream.protocol.options import Options
from converse_stream.protocol.tokens import estimate_tokens

# What Claude accepts at the root of a tool's schema (https://platform.claude.com/docs/en/agents-and-tools/tool-use).
_CHOICES = ("oneOf", "anyOf", "allOf")
_PROPERTY = re.compile(r"[a-zA-Z0-9_.-]{1,64}")


def check(model: Model, options: Options, *, tools: Sequence[ToolSpec] = (), prefill: str = "") -> None:
    """Raises BadRequest if the model cannot answer with one of the options or of the caller's tools, or with a prefill.

    Options that are adapted to the model (see `model.adaptation`) are not refused.
    """
    for field, is_unsupported in (
        ("serviceTier", options.service_tier and options.service_tier not in model.service_tiers),
        ("latency", options.latency and not model.optimized_latency),
        ("schema", options.answer_schema and model.structured_output == "forced-tool" and not model.tools),
    ):
        if is_unsupported:
            raise BadRequest(f"options.{field} is not supported by this model.", field=f"options.{field}")
    if prefill and not model.prefill:
        raise BadRequest("The last message must be the user's or a tool's for this model.", field="messages")
    if tools and not model.tools:
        raise BadRequest("This model takes no tools.", field="tools")
    if not model.any_tool_schema:
        for number, tool in enumerate(tools):
            if fault := _fault(tool):
                field = f"tools.{number}.function.parameters"
                raise BadRequest(f"{field} {fault}, which this model does not take.", field=field)
    if options.max_tokens is not None and options.max_tokens > model.max_output_tokens:
        raise BadRequest(
            f"options.maxTokens is larger than {model.max_output_tokens} for this model.", field="options.maxTokens"
        )
    for field, other, conflict in (
        ("options.latency", "options.serviceTier", options.latency and options.service_tier),
        ("options.schema", "tools", options.answer_schema and tools and model.structured_output == "forced-tool"),
    ):
        if conflict:
            raise BadRequest(f"{field} cannot go with {other} for this model.", field=field)
    if not model.blank_stop and any(not each.strip() for each in options.stop or []):
        raise BadRequest("options.stop must not be blank for this model.", field="options.stop")
    if options.answer_schema and model.structured_output == "text-format":
        try:
            adapt(options.answer_schema)
        except UnsupportedSchema as unfit:
            raise BadRequest(
                f"options.schema {unfit}, which this model does not take.", field="options.schema"
            ) from None


def _fault(tool: ToolSpec) -> str | None:
    """Why a model without `any_tool_schema` does not accept the tool's schema; None if it does."""
    if choice := next((each for each in _CHOICES if each in tool.schema), None):
        return f"has {choice} at its root"
    properties = tool.schema.get("properties", {})
    if not isinstance(properties, dict):
        return "has properties that are no object"
    if wrong := next((name for name in properties if not _PROPERTY.fullmatch(name)), None):
        return f"has a property named {wrong!r}"
    return None


def applied(options: Options, latency: str | None, service_tier: str | None) -> Options:
    """The options that Bedrock has applied. `latency` and `service_tier` are from the response, if it has them."""
    update: dict[str, Any] = {}
    if latency:
        update["latency"] = "optimized" if latency == "optimized" else None
    if service_tier:
        update["service_tier"] = None if service_tier == "default" else service_tier
    return options.model_copy(update=update)


def output_tokens(model: Model, options: Options) -> int:
    """The most output tokens of the answer, with its thinking. The options are adapted to the model."""
    text = options.max_tokens or min(model.max_output_tokens, thinking.DEFAULT_OUTPUT_TOKENS)
    return min(model.max_output_tokens, text + thinking.reserved_tokens(model, options.reasoning))


def extra_prompt_tokens(options: Options) -> int:
    """The estimated tokens that the options add to a prompt: a schema counts as input."""
    return estimate_tokens(json.dumps(options.answer_schema, ensure_ascii=False)) if options.answer_schema else 0


def to_fields(model: Model, options: Options) -> dict[str, Any]:
    """The fields of a Converse request for options that are adapted to the model."""
    fields: dict[str, Any] = {}
    if model.thinking and options.reasoning is not None:
        fields = thinking.to_fields(model.thinking, options.reasoning)
    inference = {
        "maxTokens": None if thinking.refuses_limit(model, options.reasoning) else output_tokens(model, options),
        "temperature": options.temperature,
        "topP": options.top_p,
        "stopSequences": options.stop or None,
    }
    fields["inferenceConfig"] = {name: value for name, value in inference.items() if value is not None}
    if options.service_tier:
        fields["serviceTier"] = {"type": options.service_tier}
    if options.latency:
        fields["performanceConfig"] = {"latency": options.latency}
    if options.answer_schema and model.structured_output == "text-format":
        schema = json.dumps(adapt(options.answer_schema), ensure_ascii=False)
        text = {"type": "json_schema", "structure": {"jsonSchema": {"name": "answer", "schema": schema}}}
        fields["outputConfig"] = {**fields.get("outputConfig", {}), "textFormat": text}
    return fields
