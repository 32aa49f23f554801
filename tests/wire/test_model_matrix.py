"""Every model of the catalog answers every kind of request at the Bedrock emulator, which refuses what Bedrock refuses.

The emulator has a table of its own. What the model did not get is told by `adapted`, and nothing else is.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from converse_stream.model import client
from converse_stream.model.adaptation import Adapted
from converse_stream.model.allowed import AllowedModels
from converse_stream.model.catalog import Catalog
from converse_stream.model.client import ModelClient
from converse_stream.model.converters import RequestSettings
from converse_stream.model.stream import ModelEnd
from converse_stream.model.transport import Bedrock, Call, bedrock_service
from converse_stream.prompts.prompt import Prompt, PromptMessage, ToolSpec
from converse_stream.protocol import errors
from converse_stream.protocol.events import Chunk, Message, Progress, Reasoning, Tool
from converse_stream.protocol.options import Options
from converse_stream.store.facts import Fact
from converse_stream.tasks.extraction import Limits, extract
from converse_stream.tasks.extraction_prompt import UserMessage
from converse_stream.tasks.labels import label
from converse_stream.tasks.summaries import NumberedMessage, summarize
from converse_stream.tasks.task_model import TaskModel
from converse_stream.tasks.titles import title
from local_stack.bedrock import BedrockServer
from tests.wire.bedrock_standin import last

CATALOG = Catalog("auto", "us-east-1")
NAMES = sorted(CATALOG)
UNKNOWN = [
    "anthropic.claude-sonnet-7-v1:0",
    "vendor.new-model-1",
    "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefgh1234",
]
QUICK = "[[tokens=4 pace=0 first=0]]"
PROMPT = Prompt("Be kind.", (), "", PromptMessage("user", (f"Tell me about rivers {QUICK}",)))
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = tuple(ToolSpec(name, "", SCHEMA) for name in ("weather", "clock"))
THINKING = ("thinking", "reasoningConfig", "reasoning")


@pytest.fixture
def models(server: BedrockServer) -> Iterator[ModelClient]:
    bedrock = Bedrock(bedrock_service(idle_seconds=20, url=server.url))
    yield ModelClient(bedrock, CATALOG, AllowedModels(CATALOG, ["*"], "nova-lite"))
    bedrock.service.close()


def answer(
    models: ModelClient, name: str, prompt: Prompt = PROMPT, *, stream: bool = True, **options: Any
) -> tuple[list[Any], set[str]]:
    """The events of the answer without progress, and what `adapted` told."""
    events = list(models.answer(prompt, name, Options.model_validate(options), Call(), stream=stream))
    told = {event.detail or "" for event in events if isinstance(event, Progress) and event.stage == "adapted"}
    assert {event.stage for event in events if isinstance(event, Progress)} <= {"adapted"}
    return [event for event in events if not isinstance(event, Progress)], told


def chats(models: ModelClient, server: BedrockServer, name: str, *, stream: bool) -> None:
    """All kinds of chats."""
    events, told = answer(models, name, stream=stream)
    assert told == set()
    assert isinstance(events[-1], ModelEnd)
    assert any(isinstance(event, Chunk) for event in events)

    for effort in ("none", "low", "max"):
        answer(models, name, stream=stream, reasoning=effort)
        _, told = answer(models, name, stream=stream, reasoning=effort, maxTokens=200)
        has_fields = any(field in (last(server).body.get("additionalModelRequestFields") or {}) for field in THINKING)
        assert "options.reasoning" not in told or not has_fields
        assert told or has_fields or effort == "none"

    _, told = answer(models, name, stream=stream, temperature=0.5, topP=0.5, maxTokens=200)
    sent = last(server).body["inferenceConfig"]
    assert told == {f"options.{option}" for option in ("temperature", "topP") if option not in sent}

    answer(models, name, stream=stream, temperature=0.5, topP=0.5, reasoning="high")

    events, told = answer(models, name, stream=stream, schema=SCHEMA)
    assert told == set()
    if models[name].structured_output != "prompt":
        assert json.loads("".join(event.content for event in events if isinstance(event, Chunk)))

    for choice in (None, "any", "clock"):
        prompt = replace(PROMPT, tools=TOOLS, tool_choice=choice)
        events, told = answer(models, name, prompt, stream=stream)
        forced = "toolChoice" in last(server).body["toolConfig"]
        assert ("tool_choice=auto" in told) == (choice is not None and not forced)
        assert any(isinstance(event, Tool) for event in events) == forced


def tasks(models: ModelClient, name: str) -> None:
    """The four kinds of tasks."""
    ask = TaskModel(models, name, time.monotonic() + 60)
    text = f"My name is Ana, and I live in Porto. {QUICK}"
    assert title(ask, text)
    assert label(ask, text, ["travel", "billing"]) == ("travel" if models[name].system_prompt else None)
    known = Fact("id", "Ana likes tea.", "fact", "a-conversation", "t")
    message = UserMessage(text, "2026-03-01T10:00:00.000Z", "Where do you live?")
    found = [fact.text for fact in extract(ask, message, [known], Limits(500, 500)).facts]
    # The emulator recognizes a task by its system prompt.
    assert found == (["The user's name is Ana, and I live in Porto."] if models[name].system_prompt else [])
    assert summarize(ask, None, [NumberedMessage(1, Message("m", "user", (Chunk(text),), "t"))])


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "in-one-piece"])
@pytest.mark.parametrize("name", [*NAMES, *UNKNOWN])
def test_model_answers_every_kind_of_request(
    models: ModelClient, server: BedrockServer, name: str, stream: bool
) -> None:
    chats(models, server, name, stream=stream)
    tasks(models, name)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "in-one-piece"])
def test_placeholder_of_the_reasoning_of_nova_is_not_shown(
    models: ModelClient, server: BedrockServer, stream: bool
) -> None:
    events, told = answer(models, "nova-2-lite", stream=stream, reasoning="low")
    assert told == set()
    assert last(server).body["additionalModelRequestFields"]["reasoningConfig"]["maxReasoningEffort"] == "low"
    assert not any(isinstance(event, Reasoning) for event in events)


def unadapted(_model: Any, prompt: Prompt, options: Options) -> Adapted:
    return Adapted(prompt, options)


@pytest.mark.parametrize("name", [name for name in NAMES if CATALOG[name].thinking and name != "gpt-6-luna"])
def test_matrix_finds_a_missing_adaptation(
    models: ModelClient, server: BedrockServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "adapt", unadapted)
    with pytest.raises((errors.ModelInvalidRequest, AssertionError, KeyError)):
        chats(models, server, name, stream=True)


# The fields of an outdated entry, a request that the model refuses because of them, and the calls of the first request.
ALL_EFFORTS = {"style": "adaptive", "efforts": ["low", "medium", "high", "xhigh"]}
OUTDATED: dict[str, tuple[str, dict[str, Any], dict[str, Any], int]] = {
    "sampling": ("claude-opus-4-7", {"sampling": ["temperature", "topP"]}, {"temperature": 0.5, "topP": 0.5}, 3),
    "pair": ("claude-haiku-4-5", {"samplingExclusive": False}, {"temperature": 0.5, "topP": 0.5}, 2),
    "budget": ("claude-sonnet-5", {"thinking": {"style": "budget"}}, {"reasoning": "low"}, 2),
    "adaptive": ("claude-haiku-4-5", {"thinking": {"style": "adaptive"}}, {"reasoning": "low"}, 2),
    "disabled": ("claude-opus", {"thinking": {"style": "adaptive"}}, {"reasoning": "none"}, 2),
    "effort": (
        "claude-sonnet-4-6",
        {"thinking": {"style": "adaptive", "efforts": ["low", "xhigh"]}},
        {"reasoning": "xhigh"},
        2,
    ),
    "no effort": ("gpt", {"thinking": {"style": "openai"}}, {"reasoning": "none"}, 2),
    "no thinking": ("nova-lite", {"thinking": {"style": "nova"}}, {"reasoning": "low"}, 2),
    "text format": ("nova-lite", {"structuredOutput": "text-format"}, {"schema": SCHEMA}, 2),
    "forced tools with thinking": (
        "claude-haiku-4-5",
        {"forcedTools": "always"},
        {"tool_choice": "any", "reasoning": "low"},
        2,
    ),
    "forced tools": ("claude-opus", {"forcedTools": "always"}, {"tool_choice": "any"}, 2),
    "cache": ("grok", {"cache": {}}, {}, 2),
    "lifetime": ("nova-lite", {"cache": {"ttls": ["5m", "1h"]}}, {}, 2),
}


@pytest.mark.parametrize("case", OUTDATED)
def test_refusal_is_learned_and_the_second_request_makes_one_call(
    models: ModelClient, server: BedrockServer, case: str
) -> None:
    name, fields, options, first_calls = OUTDATED[case]
    outdated = Catalog("auto", "us-east-1", {name: fields})
    allowed, settings = AllowedModels(outdated, ["*"], "nova-lite"), RequestSettings(cache_ttl="1h")
    models = ModelClient(models._bedrock, outdated, allowed, settings)
    long = replace(PROMPT, system="Be kind. " * 2_000)  # long enough for a cache point
    prompt = replace(long, tools=TOOLS, tool_choice="any") if options.get("tool_choice") else long
    told = []
    for calls in (first_calls, 1):
        server.requests.clear()
        told.append(answer(models, name, prompt, **{key: options[key] for key in options if key != "tool_choice"})[1])
        assert len(server.requests) == calls
    assert told[0] == told[1]


@pytest.mark.parametrize("name", ["meta.llama4-scout-17b-instruct-v1:0", "mistral.mistral-large-2411-v1:0"])
def test_refused_streaming_with_tools_is_learned(models: ModelClient, server: BedrockServer, name: str) -> None:
    unknown = Catalog("none", "us-east-1", {name: {"toolStreaming": True, "forcedTools": "never"}})
    models = ModelClient(models._bedrock, unknown, AllowedModels(unknown, ["*"], "nova-lite"))
    arn = f"arn:aws:bedrock:us-east-1::foundation-model/{name}"
    for calls in (2, 1):
        server.requests.clear()
        answer(models, arn, replace(PROMPT, tools=TOOLS))
        assert len(server.requests) == calls
