"""Whether and how the model reasons in an answer.

A request asks for it in one of these fields of `additionalModelRequestFields`:

    claude       thinking: {type: enabled, budget_tokens}, or {type: adaptive, display}, with outputConfig.effort
    nova         reasoningConfig: {type: enabled, maxReasoningEffort}
    openai       reasoning: {effort}
    openai-open  reasoning: {effort}, or reasoning_effort
"""

from dataclasses import dataclass
from typing import Literal

from local_stack.bedrock.events import Json
from local_stack.bedrock.models import ListedModel

# Sentences of the reasoning. With the default efforts it has more than 30 words.
_SENTENCES = {"minimal": 1, "low": 2, "medium": 5, "high": 7, "xhigh": 9, "max": 12}
_BUDGET_SENTENCES = 3
_OLD_FIELDS = ("thinking", "reasoningConfig", "reasoning_config")

Form = Literal["text", "unsigned", "omitted", "redacted", "marker"]


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The reasoning of an answer.

    `form`: `text` with a signature, `unsigned` text, `omitted` text with a signature, `redacted` content, or the
    `marker` of Nova instead of the text. In the last three the client pays for tokens that it does not see.
    """

    sentences: int
    form: Form = "text"


def reasoning_of(model: ListedModel, body: Json) -> Reasoning | None:
    """Return the reasoning that a valid request asks for, or None."""
    fields = body.get("additionalModelRequestFields") or {}
    match model.thinking.style:
        case "claude":
            return _of_claude(model, fields, body)
        case "nova":
            config = fields.get("reasoningConfig", {})
            if config.get("type") != "enabled":
                return None
            return Reasoning(_SENTENCES[config["maxReasoningEffort"]], "marker")
        case "openai" | "openai-open" as style:
            effort = openai_effort(fields) or model.thinking.effort
            form: Form = "redacted" if style == "openai" else "unsigned"
            return None if effort == "none" else Reasoning(_SENTENCES[effort], form)
        case "any":
            asked = any((fields.get(name) or {}).get("type") in {"enabled", "adaptive"} for name in _OLD_FIELDS)
            return Reasoning(_BUDGET_SENTENCES) if asked else None
    return None


def effort_of(body: Json) -> str | None:
    """Return the effort that a request for Claude names, or None. Claude's own field is accepted too."""
    fields = body.get("additionalModelRequestFields") or {}
    effort: str | None = body.get("outputConfig", {}).get("effort") or fields.get("output_config", {}).get("effort")
    return effort


def openai_effort(fields: Json) -> str | None:
    """Return the effort that a request for a model of OpenAI names, or None."""
    effort: str | None = fields.get("reasoning", {}).get("effort") or fields.get("reasoning_effort")
    return effort


def claude_type(model: ListedModel, body: Json) -> str | None:
    """Return `thinking.type` of the request, or `adaptive` if the model reasons by default, or None."""
    field = (body.get("additionalModelRequestFields") or {}).get("thinking")
    if field is None:
        return "adaptive" if model.thinking.on else None
    kind: str | None = field.get("type")
    return kind


def tool_turn_without_reasoning(body: Json) -> bool:
    """Return whether the request has results of tools, and the answer that called them has no reasoning in front."""
    *before, last = body["messages"]
    has_results = any("toolResult" in block for block in last["content"])
    return bool(has_results and before) and "reasoningContent" not in before[-1]["content"][0]


def _of_claude(model: ListedModel, fields: Json, body: Json) -> Reasoning | None:
    kind = claude_type(model, body)
    if kind not in {"enabled", "adaptive"} or tool_turn_without_reasoning(body):
        return None  # without its blocks the model stops to reason: pydantic/pydantic-ai pull request 5326
    display = (fields.get("thinking") or {}).get("display", "omitted" if model.thinking.omits else "summarized")
    sentences = _BUDGET_SENTENCES if kind == "enabled" else _SENTENCES[effort_of(body) or model.thinking.effort]
    return Reasoning(sentences, "omitted" if display == "omitted" else "text")
