"""Cache points: where the next request has the same prefix, and only if the model caches a prefix of this size."""

from dataclasses import replace
from typing import Any

import pytest

from converse_stream.model import converters
from converse_stream.model.cache_points import CachePoints, cache_points
from converse_stream.model.catalog import Catalog
from converse_stream.model.converters import RequestSettings
from converse_stream.prompts.prompt import Prompt, PromptMessage, ToolResult, ToolSpec, ToolUse
from converse_stream.protocol.options import Options
from converse_stream.protocol.tokens import estimate_tokens

CATALOG = Catalog("eu")
SHORT, LONG = "Be kind.", "Be kind to everyone. " * 400
TOOL = ToolSpec("weather", "Tells the weather.", {"type": "object"})


def conversation(turns: int, tokens: float = 500) -> tuple[PromptMessage, ...]:
    """A history of questions and answers, each of about this many tokens."""
    roles: Any = ("user", "assistant") * turns
    words = round(tokens / estimate_tokens(" word" * 100) * 100)
    return tuple(PromptMessage(role, (f"{number}" + " word" * words,)) for number, role in enumerate(roles))


def prompt(history: tuple[PromptMessage, ...] = (), system: str = SHORT, **fields: Any) -> Prompt:
    return Prompt(system, history, "", PromptMessage("user", ("And now?",)), stored=True, **fields)


def tool_loop(calls: int, result: str = "sunny " * 400) -> Prompt:
    """A request of a caller that keeps the history: a question, and the results of several calls."""
    messages = [PromptMessage("user", ("Where is it sunny?",))]
    for number in range(calls):
        messages.append(PromptMessage("assistant", (ToolUse(f"{number}", "weather", {"city": number}),)))
        messages.append(PromptMessage("user", (ToolResult(f"{number}", result),)))
    return Prompt(SHORT, tuple(messages[:-1]), "", messages[-1], tools=(TOOL,))


def marked(request: dict[str, Any]) -> list[Any]:
    """The indexes of the messages that end with a cache point, and `system`."""
    parts: list[tuple[Any, Any]] = [("system", request.get("system", []))]
    parts += [(index, message["content"]) for index, message in enumerate(request["messages"])]
    return [name for name, blocks in parts if blocks and "cachePoint" in blocks[-1]]


def request(built: Prompt, name: str = "claude-haiku", ttl: Any = "5m") -> dict[str, Any]:
    return converters.to_request(built, CATALOG[name], Options(), RequestSettings(cache_ttl=ttl))


def test_request_contains_the_cached_prefix_of_the_previous_one() -> None:
    """Its last cache point is one of the next request too, so that each model finds the prefix."""
    talk = conversation(4)
    earlier, later = (request(prompt(talk[:length], LONG), "nova-lite") for length in (6, 8))
    assert marked(earlier) == ["system", 3, 5]
    assert marked(later) == ["system", 5, 7]
    assert earlier["messages"][:6] == [*later["messages"][:3], earlier["messages"][3], *later["messages"][4:6]]


@pytest.mark.parametrize("name", ["claude-haiku", "nova-lite", "claude-haiku-4-5"])
def test_prefix_below_the_minimum_of_the_model_has_no_cache_point(name: str) -> None:
    """An estimate that may be too low does not prevent a cache point."""
    cache = CATALOG[name].cache
    assert cache is not None
    assert marked(request(prompt(conversation(2, cache.min_tokens / 4.5)), name)) == [3]
    assert marked(request(prompt(conversation(2, cache.min_tokens / 6)), name)) == []
    assert cache_points(prompt(conversation(2, 100)), 200) == CachePoints(history=(1, 3))


def test_short_system_prompt_has_no_cache_point_and_a_long_one_has() -> None:
    assert marked(request(prompt())) == []
    assert marked(request(prompt(system=LONG))) == ["system"]


def test_tools_count_as_part_of_the_prefix() -> None:
    """Bedrock puts them before the system prompt."""
    large = replace(TOOL, description="Tells the weather. " * 200)
    assert marked(request(prompt(tools=(large,)))) == ["system"]


def test_results_of_tools_end_with_a_cache_point_if_the_caller_keeps_the_history() -> None:
    first, second = (request(tool_loop(calls)) for calls in (1, 2))
    assert marked(first) == [2]
    assert marked(second) == [2, 3, 4], "the end of the first request too: some models do not search further back"
    assert marked(request(replace(tool_loop(2), stored=True))) == [3], "facts and documents may follow"


def test_request_has_at_most_four_cache_points() -> None:
    assert len(marked(request(replace(tool_loop(5), system=LONG)))) == 4


def test_model_without_a_cache_gets_no_cache_point() -> None:
    without = replace(CATALOG["nova-lite"], cache=None)
    assert marked(converters.to_request(prompt(conversation(4), LONG), without, Options(), RequestSettings())) == []


@pytest.mark.parametrize(("name", "ttl"), [("claude-haiku", {"ttl": "1h"}), ("nova-lite", {})])
def test_lifetime_of_the_cache_is_sent_to_models_that_support_it(name: str, ttl: dict[str, str]) -> None:
    built = request(prompt(system=LONG), name, "1h")
    assert built["system"][-1] == {"cachePoint": {"type": "default", **ttl}}
