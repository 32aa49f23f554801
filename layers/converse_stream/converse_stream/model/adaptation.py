"""Adapts a request to a model: what the model refuses is replaced by the nearest that it accepts, or left out. Pure.

`changes` tells the caller about each: `options.temperature` was left out, `options.reasoning=high` was replaced.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from converse_stream.model import thinking
from converse_stream.model.capabilities import Model
from converse_stream.model.thinking import DEFAULT_OUTPUT_TOKENS
from converse_stream.prompts.prompt import Prompt
from converse_stream.prompts.reasoning import lacks_reasoning, with_usable_reasoning
from converse_stream.protocol.options import Effort, Options

MIN_TOP_P_WITH_BUDGET = 0.95  # Claude: https://platform.claude.com/docs/en/build-with-claude/extended-thinking

_CALL_A_TOOL = "You must call {} now, before any other answer."


@dataclass(frozen=True, slots=True)
class Adapted:
    """A request that the model accepts, and its changes."""

    prompt: Prompt
    options: Options
    changes: tuple[str, ...] = ()


def adapt(model: Model, prompt: Prompt, options: Options) -> Adapted:
    """The request for this model. The tool for a structured answer is already part of the prompt."""
    prompt = with_usable_reasoning(prompt, model.base_id)
    reasoning = _reasoning(model, prompt, options)
    update: dict[str, Any] = dict.fromkeys(_refused(model, options, reasoning))
    if options.max_tokens and options.max_tokens > model.max_output_tokens:
        update.setdefault("max_tokens", model.max_output_tokens)
    changes = [_change(name, value) for name, value in update.items()]
    if not _is_same_reasoning(options.reasoning, reasoning):
        changes.append(_change("reasoning", reasoning))
    if prompt.tool_choice is not None and model.forced_tools == "never":
        prompt = _with_optional_tools(prompt)
        changes.append("tool_choice=auto")
    if reasoning != options.reasoning:
        update["reasoning"] = reasoning
    adapted = options.model_copy(update=update) if update else options  # most requests change nothing
    return Adapted(prompt, adapted, tuple(changes))


def _reasoning(model: Model, prompt: Prompt, options: Options) -> Effort | int | None:
    """The effort or budget that the model accepts for this prompt.

    A model may refuse to think before a forced tool call. With a budget, it also refuses after the results of tools, if
    the message with their calls does not begin with its reasoning, and with a prefill.
    """
    reasoning = thinking.rounded(model, options.reasoning)
    if reasoning is None:
        return None
    if prompt.tool_choice is not None and model.forced_tools == "without-thinking":
        return "none"
    if isinstance(reasoning, int):
        text = options.max_tokens or DEFAULT_OUTPUT_TOKENS
        free = model.max_output_tokens - min(text, model.max_output_tokens)
        if free < thinking.MIN_BUDGET or lacks_reasoning(prompt) or prompt.prefill:
            return "none"
        return min(reasoning, free)
    return reasoning


def _refused(model: Model, options: Options, reasoning: Effort | int | None) -> Iterator[str]:
    """The names of the options that the model refuses in this request, with the adapted `reasoning`."""
    if options.service_tier and options.service_tier not in model.service_tiers:
        yield "service_tier"
    if options.latency and not model.optimized_latency:
        yield "latency"
    refuses_limit = thinking.refuses_limit(model, reasoning)
    if refuses_limit and options.max_tokens is not None:
        yield "max_tokens"
    style = model.thinking.style if model.thinking else None
    claude_thinks = style in {"budget", "adaptive"} and thinking.effective(model, reasoning) not in {None, "none"}
    temperature = options.temperature
    if temperature is not None and (
        "temperature" not in model.sampling or refuses_limit or (claude_thinks and temperature != 1)
    ):
        yield "temperature"
        temperature = None
    if options.top_p is not None and (
        "topP" not in model.sampling
        or refuses_limit
        or (claude_thinks and options.top_p < MIN_TOP_P_WITH_BUDGET)
        or (temperature is not None and model.sampling_exclusive)
    ):
        yield "top_p"


def _with_optional_tools(prompt: Prompt) -> Prompt:
    """The prompt with the choice of a tool as an instruction, for a model that refuses a forced call."""
    if prompt.tool_choice == "any":
        tools, wanted = prompt.tools, "one of the tools"
    else:
        tools = tuple(tool for tool in prompt.tools if tool.name == prompt.tool_choice)
        wanted = f"the tool {prompt.tool_choice}"
    system = "\n\n".join(filter(None, [prompt.system, _CALL_A_TOOL.format(wanted)]))
    return replace(prompt, system=system, tools=tools, tool_choice=None)


def _is_same_reasoning(old: Effort | int | None, new: Effort | int | None) -> bool:
    """Whether two efforts or budgets are equal. For a model that does not think, the effort `none` is no change."""
    if old in {None, "none"}:
        return new in {None, "none"}
    return old == new or (isinstance(old, str) and thinking.TOKENS[old] == new)


def _change(name: str, value: Any) -> str:
    field = f"options.{Options.model_fields[name].alias}"
    return field if value is None else f"{field}={value}"
