"""Adaptation of requests: what a model refuses is replaced or left out, and told."""

from dataclasses import replace
from typing import Any

import pytest

from converse_stream.model.adaptation import Adapted, adapt
from converse_stream.model.catalog import Catalog
from converse_stream.model.options import to_fields
from converse_stream.prompts.prompt import Prompt, PromptMessage, ToolSpec
from converse_stream.protocol.options import Options

PROMPT = Prompt("Be kind.", (), "", PromptMessage("user", ("hi",)))
TOOLS = tuple(ToolSpec(name, "", {"type": "object"}) for name in ("weather", "clock"))
CATALOG = Catalog("global")


def adapted(name: str, prompt: Prompt = PROMPT, **options: Any) -> Adapted:
    return adapt(CATALOG[name], prompt, Options.model_validate(options))


def fields(name: str, **options: Any) -> dict[str, Any]:
    return to_fields(CATALOG[name], adapted(name, **options).options)


ADAPTIVE = {"thinking": {"type": "adaptive", "display": "summarized"}}


LEAST_BUDGET = {"thinking": {"type": "enabled", "budget_tokens": 1_024}}


@pytest.mark.parametrize(
    ("name", "reasoning", "thinking", "effort", "told"),
    [
        ("claude-opus", "low", ADAPTIVE, "low", ()),
        ("claude-opus", {"effort": "xhigh"}, ADAPTIVE, "xhigh", ()),
        ("claude-opus", "none", ADAPTIVE, "low", ("options.reasoning=low",)),
        ("claude-opus", "minimal", ADAPTIVE, "low", ("options.reasoning=low",)),
        ("claude-opus", 5_000, ADAPTIVE, "medium", ("options.reasoning=medium",)),
        ("claude-opus", None, None, None, ()),
        ("claude-haiku", "none", {"thinking": {"type": "disabled"}}, None, ()),
        ("claude-sonnet-4-6", "max", ADAPTIVE, "max", ()),
        ("claude-sonnet-4-6", "xhigh", ADAPTIVE, "high", ("options.reasoning=high",)),
        ("claude-haiku-4-5", "medium", {"thinking": {"type": "enabled", "budget_tokens": 4_096}}, None, ()),
        ("claude-haiku-4-5", 3_000, {"thinking": {"type": "enabled", "budget_tokens": 3_000}}, None, ()),
        ("claude-haiku-4-5", 10, LEAST_BUDGET, None, ("options.reasoning=1024",)),
        ("claude-haiku-4-5", "none", None, None, ()),
        ("nova-2-lite", "high", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}, None, ()),
        ("nova-2-lite", "none", None, None, ()),
        ("gpt", "none", {"reasoning": {"effort": "low"}}, None, ("options.reasoning=low",)),
        ("gpt-oss", "none", {"reasoning": {"effort": "none"}}, None, ()),
        ("gpt-oss", "max", {"reasoning": {"effort": "high"}}, None, ("options.reasoning=high",)),
        ("nova-lite", "none", None, None, ()),
        ("nova-lite", "low", None, None, ("options.reasoning",)),
    ],
)  # fmt: skip
def test_effort_is_rounded_to_what_the_model_accepts(
    name: str, reasoning: Any, thinking: Any, effort: str | None, told: tuple[str, ...]
) -> None:
    request = fields(name, reasoning=reasoning)
    assert request.get("additionalModelRequestFields") == thinking
    assert request.get("outputConfig", {}).get("effort") == effort
    assert adapted(name, reasoning=reasoning).changes == told


@pytest.mark.parametrize(
    ("name", "options", "inference"),
    [
        ("claude-haiku-4-5", {"maxTokens": 100, "reasoning": "low"}, {"maxTokens": 1_124}),
        ("claude-haiku-4-5", {"maxTokens": 64_000, "reasoning": "low"}, {"maxTokens": 64_000}),
        ("claude-haiku-4-5", {"reasoning": "max"}, {"maxTokens": 64_000}),
        ("claude-opus", {"maxTokens": 100}, {"maxTokens": 4_196}),
        ("claude-opus", {"maxTokens": 30, "reasoning": "none"}, {"maxTokens": 1_054}),
        ("claude-haiku", {"maxTokens": 30}, {"maxTokens": 4_126}),
        ("claude-haiku", {"maxTokens": 30, "reasoning": "none"}, {"maxTokens": 30}),
        ("nova-2-lite", {"reasoning": "high", "maxTokens": 10, "temperature": 0.5}, {}),
        ("nova-2-lite", {"reasoning": "high", "maxTokens": 100_000}, {}),
    ],
)
def test_room_for_the_answer_is_reserved_beside_the_thinking(
    name: str, options: dict[str, Any], inference: dict[str, int]
) -> None:
    assert fields(name, **options)["inferenceConfig"] == inference


@pytest.mark.parametrize("reasoning", ["max", 64_000, 128_000])
def test_budget_is_lower_than_the_limit_of_the_output(reasoning: Any) -> None:
    sent = fields("claude-haiku-4-5", reasoning=reasoning)
    assert sent["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 64_000 - 4_096


def test_budget_without_room_beside_the_answer_is_left_out_and_told() -> None:
    changed = adapted("claude-haiku-4-5", maxTokens=63_500, reasoning="low")
    assert changed.changes == ("options.reasoning=none",)
    assert "additionalModelRequestFields" not in to_fields(CATALOG["claude-haiku-4-5"], changed.options)


@pytest.mark.parametrize(
    ("name", "options", "kept", "told"),
    [
        ("nova-lite", {}, {"temperature", "topP"}, set()),
        ("claude-opus", {}, set(), {"options.temperature", "options.topP"}),
        ("claude-haiku-4-5", {}, {"temperature"}, {"options.topP"}),
        ("claude-haiku-4-5", {"reasoning": "low"}, set(), {"options.temperature", "options.topP"}),
        ("claude-haiku-4-5", {"reasoning": "low", "topP": 0.96}, {"topP"}, {"options.temperature"}),
        ("claude-haiku-4-5", {"reasoning": "low", "temperature": 1}, {"temperature"}, {"options.topP"}),
        ("nova-2-lite", {"reasoning": "low"}, {"temperature", "topP"}, set()),
        ("nova-2-lite", {"reasoning": "high"}, set(), {"options.temperature", "options.topP"}),
    ],
)
def test_refused_sampling_option_is_left_out_and_told(
    name: str, options: dict[str, Any], kept: set[str], told: set[str]
) -> None:
    requested = {"temperature": 0.5, "topP": 0.5, **options}
    assert fields(name, **requested)["inferenceConfig"].keys() - {"maxTokens"} == kept
    assert set(adapted(name, **requested).changes) == told


@pytest.mark.parametrize(("choice", "offered"), [("any", TOOLS), ("weather", TOOLS[:1])])
def test_forced_tool_becomes_an_instruction_for_a_model_that_refuses_it(
    choice: str, offered: tuple[ToolSpec, ...]
) -> None:
    changed = adapted("claude-opus", replace(PROMPT, tools=TOOLS, tool_choice=choice))
    assert (changed.prompt.tools, changed.prompt.tool_choice) == (offered, None)
    assert changed.prompt.system.startswith("Be kind.\n\nYou must call ")
    assert changed.changes == ("tool_choice=auto",)


@pytest.mark.parametrize("name", ["claude-haiku-4-5", "claude-opus-4-6", "claude-opus-4-7"])
def test_forced_tool_switches_thinking_off(name: str) -> None:
    changed = adapted(name, replace(PROMPT, tools=TOOLS, tool_choice="any"), reasoning="high")
    assert (changed.prompt.tool_choice, changed.options.reasoning) == ("any", "none")
    assert changed.changes == ("options.reasoning=none",)


def test_options_of_the_service_that_a_fallback_lacks_are_told() -> None:
    changed = adapted("nova-lite", maxTokens=60_000, serviceTier="flex")
    assert set(changed.changes) == {"options.maxTokens=5000", "options.serviceTier"}
