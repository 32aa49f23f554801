"""Checks the fields of a request that control reasoning, and their rules with other fields.

The messages are Bedrock's, from the reports that the comments name.
"""

import json
from typing import Any

from local_stack.bedrock import errors
from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.events import Json
from local_stack.bedrock.models import ListedModel, is_claude, split
from local_stack.bedrock.thinking import claude_type, effort_of, openai_effort, tool_turn_without_reasoning

LEAST_BUDGET = 1_024
LEAST_TOP_P = 0.95
_FIELDS = ("thinking", "output_config", "reasoningConfig", "reasoning_config", "reasoning", "reasoning_effort")
_ACCEPTED = {
    "claude": {"thinking", "output_config"},
    "nova": {"reasoningConfig"},
    "openai": {"reasoning"},
    "openai-open": {"reasoning", "reasoning_effort"},
    "any": set(_FIELDS),
    "none": set[str](),
}


def check_thinking(model_id: str, model: ListedModel, body: Json) -> None:
    """Raises BedrockError for a request whose reasoning the model refuses."""
    fields = body.get("additionalModelRequestFields") or {}
    style = model.thinking.style
    for name in _FIELDS:
        if name in fields and name not in _ACCEPTED[style]:
            raise _unknown_field(model_id, style, name)
        if name != "reasoning_effort" and not isinstance(fields.get(name) or {}, dict):
            raise errors.model_error(f"{name}: Input should be an object")
    if style == "claude" or (style == "any" and is_claude(model_id)):
        _check_claude(model, fields.get("thinking") or {}, body)
    elif body.get("outputConfig", {}).get("effort") and style != "any":
        raise errors.invalid(  # a guess by analogy with textFormat
            "This model doesn't support the outputConfig.effort field. Remove it and try again."
        )
    if style == "nova":
        _check_nova(model, fields.get("reasoningConfig"), body)
    if style in {"openai", "openai-open"} and (effort := openai_effort(fields)) is not None:
        _check_openai(model_id, model, effort)


def _check_claude(model: ListedModel, field: Json, body: Json) -> None:
    """Check `thinking` and the effort. A Claude that is not listed accepts any type and effort."""
    kind, thinking = claude_type(model, body), model.thinking
    if thinking.style == "claude":
        _check_effort(thinking.efforts, effort_of(body))
        if kind is not None and kind not in thinking.types:
            raise _type_refused(kind, thinking.types)
        if kind == "disabled" and effort_of(body) in {"xhigh", "max"}:
            # Documented for Opus 4.7 to 5 and Haiku 5.5; the message is a guess.
            raise errors.model_error(f'"thinking.type.disabled" is not supported with effort "{effort_of(body)}".')
    if kind == "enabled":
        _check_budget(field.get("budget_tokens"), body.get("inferenceConfig", {}).get("maxTokens"))
    if kind in {"enabled", "adaptive"}:
        _check_sampling(body)
        forced = body.get("toolConfig", {}).get("toolChoice", {}).keys() & {"any", "tool"}
        if forced and (model.forced_tools == "without-thinking" or thinking.style == "any"):
            # can1357/oh-my-pi pull request 333
            raise errors.model_error("Thinking may not be enabled when tool_choice forces tool use.")
    if kind == "enabled" and "adaptive" not in thinking.types and tool_turn_without_reasoning(body):
        # RooCodeInc/Roo-Code pull request 11238. The adaptive models do not refuse it: see thinking.py.
        position = len(body["messages"]) - 2
        found = "tool_use" if "toolUse" in body["messages"][position]["content"][0] else "text"
        raise errors.model_error(
            f"messages.{position}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{found}`. "
            "When `thinking` is enabled, a final `assistant` message must start with a thinking block."
        )


def _check_effort(efforts: tuple[str, ...], effort: str | None) -> None:
    if effort is None or effort in efforts:
        return
    if not efforts:  # anthropics/claude-code issue 30760
        raise errors.model_error("This model does not support the effort parameter.")
    raise errors.model_error(f"output_config.effort: Input should be {_listed(efforts, 'or')}")  # coder/coder 25356


def _type_refused(kind: str, types: frozenset[str]) -> BedrockError:
    """Return the error: earendil-works/pi pull request 7081; pensarai/apex pull request 890 for `adaptive`."""
    if kind == "adaptive":
        return errors.model_error("adaptive thinking is not supported on this model")
    if kind in {"enabled", "disabled"}:
        return errors.model_error(
            f'"thinking.type.{kind}" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        )
    expected = ", ".join(f"'{each}'" for each in sorted(types))
    return errors.model_error(
        f"thinking: Input tag '{kind}' found using 'type' does not match any of the expected tags: {expected}"
    )


def _check_budget(budget: Any, limit: int | None) -> None:
    if not isinstance(budget, int):
        raise errors.model_error("thinking.enabled.budget_tokens: Field required")
    if budget < LEAST_BUDGET:  # danny-avila/LibreChat issue 8346
        raise errors.model_error(
            f"thinking.enabled.budget_tokens: Input should be greater than or equal to {LEAST_BUDGET}"
        )
    if limit is not None and limit <= budget:  # vercel/ai issue 7927
        raise errors.model_error(
            "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at "
            "https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-context-window-size"
        )


def _check_sampling(body: Json) -> None:
    """Check Claude's rules with reasoning: dotCipher/opencode-claude-bridge pull request 1, n8n-io/n8n issue 14288."""
    config, mode = body.get("inferenceConfig", {}), "when thinking is enabled or in adaptive mode"
    if config.get("temperature", 1) != 1:
        raise errors.model_error(f"`temperature` may only be set to 1 {mode}.")
    if config.get("topP", 1) < LEAST_TOP_P:
        raise errors.model_error(f"`top_p` must be greater than or equal to {LEAST_TOP_P} or unset {mode}.")
    if "top_k" in (body.get("additionalModelRequestFields") or {}):
        raise errors.model_error(f"`top_k` must be unset {mode}.")


def _check_nova(model: ListedModel, config: Json | None, body: Json) -> None:
    """Check `reasoningConfig`: https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html."""
    if config is None:
        return
    kind, effort = config.get("type"), config.get("maxReasoningEffort")
    if kind not in model.thinking.types or (kind == "enabled" and effort not in model.thinking.efforts):
        raise errors.malformed("the provided reasoning config value is invalid")
    given = [name for name in ("maxTokens", "temperature", "topP") if name in body.get("inferenceConfig", {})]
    if kind == "enabled" and effort == "high" and given:
        # UKGovernmentBEIS/inspect_ai issue 3767; the message is a guess.
        raise errors.malformed(f"{', '.join(given)} must be unset if maxReasoningEffort is high")


def _check_openai(model_id: str, model: ListedModel, effort: str) -> None:
    """Check the effort: Wei-Shaw/sub2api issue 6622."""
    efforts = model.thinking.efforts
    if effort not in efforts:
        name = split(model_id)[1].removeprefix("openai.")
        message = (
            f"Unsupported value: '{effort}' is not supported with the '{name}' model. "
            f"Supported values are: {_listed(efforts, 'and')}."
        )
        raise _openai_error("unsupported_value", message, "reasoning.effort")


def _unknown_field(model_id: str, style: str, name: str) -> BedrockError:
    """Return the error for a field of other models' reasoning."""
    if style.startswith("openai"):  # agentgateway/agentgateway issue 3442
        return _openai_error("unknown_parameter", f"Unknown parameter: '{name}'.", name)
    if is_claude(model_id):
        return errors.model_error(f"{name}: Extra inputs are not permitted")
    if name == "reasoningConfig":  # UKGovernmentBEIS/inspect_ai issue 5301
        return errors.malformed("the provided reasoning config value is invalid")
    return errors.malformed(f"#: extraneous key [{name}] is not permitted")  # as for top_k, inspect_ai issue 3939


def _openai_error(code: str, message: str, parameter: str) -> BedrockError:
    error = {"code": code, "message": message, "param": parameter, "type": "invalid_request_error"}
    return errors.model_error(json.dumps({"error": error}, separators=(",", ":")))


def _listed(values: tuple[str, ...], word: str) -> str:
    """Return the values in quotes: 'a', 'b' or 'c'."""
    quoted = [f"'{value}'" for value in values]
    return f"{', '.join(quoted[:-1])} {word} {quoted[-1]}"
