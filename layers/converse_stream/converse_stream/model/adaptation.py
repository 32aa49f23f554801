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
    forced = prompt.tool_choice is not None
    adapted = _limited(model, _with_reasoning(model, options, prompt))
    adapted = adapted.model_copy(update=dict.fromkeys(_refused_sampling(model, adapted)))
    changes = [_change(name, getattr(adapted, name)) for name in _changed(options, adapted)]
    if forced and model.forced_tools == "never":
        prompt = _with_optional_tools(prompt)
        changes.append("tool_choice=auto")
    return Adapted(prompt, adapted, tuple(changes))


def _limited(model: Model, options: Options) -> Options:
    """The options without those that only other models have."""
    limit = options.max_tokens and min(options.max_tokens, model.max_output_tokens)
    update = {
        "max_tokens": limit,
        "service_tier": options.service_tier if options.service_tier in model.service_tiers else None,
        "latency": options.latency if model.optimized_latency else None,
    }
    return options.model_copy(update=update)


def _with_reasoning(model: Model, options: Options, prompt: Prompt) -> Options:
    """The options with an effort or budget of the model.

    A model may refuse to think before a forced tool call. With a budget, it also refuses after the results of tools, if
    the message with their calls does not begin with its reasoning, and with a prefill.
    """
    reasoning = thinking.rounded(model, options.reasoning)
    if isinstance(reasoning, int):
        text = options.max_tokens or DEFAULT_OUTPUT_TOKENS
        free = model.max_output_tokens - min(text, model.max_output_tokens)
        reasoning = min(reasoning, free) if free >= thinking.MIN_BUDGET else "none"
    is_budget = isinstance(reasoning, int)
    is_refused = (prompt.tool_choice is not None and model.forced_tools == "without-thinking") or (
        is_budget and (lacks_reasoning(prompt) or bool(prompt.prefill))
    )
    if is_refused and reasoning is not None:
        reasoning = "none"
    return options.model_copy(update={"reasoning": reasoning})


def _refused_sampling(model: Model, options: Options) -> Iterator[str]:
    """The names of the sampling options that the model refuses in this request."""
    temperature, top_p = options.temperature is not None, options.top_p is not None
    thinks = thinking.thinks(model, options)
    style = model.thinking.style if model.thinking else None
    claude_thinks = thinks and style in {"budget", "adaptive"}
    refused = thinking.refuses_limit(model, options)
    if temperature and ("temperature" not in model.sampling or refused or (claude_thinks and options.temperature != 1)):
        yield "temperature"
        temperature = False
    low_top_p = claude_thinks and (options.top_p or 0) < MIN_TOP_P_WITH_BUDGET
    if top_p and ("topP" not in model.sampling or refused or low_top_p or (temperature and model.sampling_exclusive)):
        yield "top_p"
    if refused and options.max_tokens is not None:
        yield "max_tokens"


def _with_optional_tools(prompt: Prompt) -> Prompt:
    """The prompt with the choice of a tool as an instruction, for a model that refuses a forced call."""
    if prompt.tool_choice == "any":
        tools, wanted = prompt.tools, "one of the tools"
    else:
        tools = tuple(tool for tool in prompt.tools if tool.name == prompt.tool_choice)
        wanted = f"the tool {prompt.tool_choice}"
    system = "\n\n".join(filter(None, [prompt.system, _CALL_A_TOOL.format(wanted)]))
    return replace(prompt, system=system, tools=tools, tool_choice=None)


def _changed(before: Options, after: Options) -> Iterator[str]:
    """The names of the changed options. To a model that does not think, the effort `none` is no change."""
    for name in type(before).model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if old != new and not (name == "reasoning" and _same_reasoning(old, new)):
            yield name


def _same_reasoning(old: Effort | int | None, new: Effort | int | None) -> bool:
    if old in {None, "none"}:
        return new in {None, "none"}
    return isinstance(old, str) and thinking.TOKENS[old] == new


def _change(name: str, value: Any) -> str:
    field = f"options.{Options.model_fields[name].alias}"
    return field if value is None else f"{field}={value}"
