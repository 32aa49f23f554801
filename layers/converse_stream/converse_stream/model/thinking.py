"""Thinking: one notion of effort for all models, rounded to what a model accepts, and the fields of a request. Pure."""

from typing import Any

from converse_stream.model.capabilities import Model, Thinking
from converse_stream.protocol.options import EFFORTS, Effort

# Tokens of thinking by effort: the budget in the style `budget`, else an estimate, which is reserved in the output.
TOKENS: dict[Effort, int] = {
    "none": 0,
    "minimal": 1_024,
    "low": 1_024,
    "medium": 4_096,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 65_536,
}
DEFAULT_OUTPUT_TOKENS = 4_096  # of the answer, without the option `maxTokens`
MIN_BUDGET = 1_024  # of Claude, in tokens


def rounded(model: Model, requested: Effort | int | None) -> Effort | int | None:
    """The nearest effort or budget that the model accepts. None if it does not think, or uses its default."""
    thinking = model.thinking
    if requested is None or thinking is None:
        return None
    if thinking.style == "budget":
        tokens = TOKENS[requested] if isinstance(requested, str) else requested
        return "none" if requested == "none" else max(MIN_BUDGET, tokens)
    if isinstance(requested, int):
        return min(thinking.efforts, key=lambda effort: abs(TOKENS[effort] - requested))
    if requested in thinking.efforts or (requested == "none" and thinking.can_disable):
        return requested
    return min(thinking.efforts, key=lambda effort: abs(EFFORTS.index(effort) - EFFORTS.index(requested)))


def effective(model: Model, reasoning: Effort | int | None) -> Effort | int | None:
    """The effort or budget of an answer, with the model's default if the options have none."""
    if model.thinking is None:
        return None
    return model.thinking.default if reasoning is None else reasoning


def reserved_tokens(model: Model, reasoning: Effort | int | None) -> int:
    """The output tokens that are reserved for thinking: it counts in the output, beside the answer."""
    effort = effective(model, reasoning)
    return effort if isinstance(effort, int) else TOKENS[effort or "none"]


def refuses_limit(model: Model, reasoning: Effort | int | None) -> bool:
    """Whether the model refuses a limit of output tokens and sampling options: Nova 2 at its highest effort."""
    return model.thinking is not None and model.thinking.style == "nova" and reasoning == "high"


def to_fields(thinking: Thinking, effort: Effort | int) -> dict[str, Any]:
    """The fields of a Converse request for a rounded effort or budget.

    From Claude Opus 5.5 on, the text of thinking is left out without `display`.
    """
    disabled = effort == "none"
    match thinking.style:
        case "budget":
            return {} if disabled else _additional("thinking", {"type": "enabled", "budget_tokens": effort})
        case "adaptive" if disabled:
            return _additional("thinking", {"type": "disabled"})
        case "adaptive":
            fields = _additional("thinking", {"type": "adaptive", "display": "summarized"})
            return fields | {"outputConfig": {"effort": effort}}
        case "nova":
            return {} if disabled else _additional("reasoningConfig", {"type": "enabled", "maxReasoningEffort": effort})
        case "openai":
            return _additional("reasoning", {"effort": effort})


def _additional(name: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"additionalModelRequestFields": {name: value}}
