"""Calls of the models: retries, fallbacks, options and prices. No retry after the first event or after a charge."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from converse_stream.aws.cancellation import Cancelled
from converse_stream.limits import Budget
from converse_stream.model import client, options
from converse_stream.model.allowed import AllowedModels
from converse_stream.model.catalog import Catalog
from converse_stream.model.client import ModelClient
from converse_stream.model.stream import ModelEnd
from converse_stream.model.transport import Bedrock, Call
from converse_stream.prompts.prompt import Prompt, PromptMessage, SignedReasoning, ToolResult, ToolSpec, ToolUse
from converse_stream.protocol import errors
from converse_stream.protocol.events import Chunk, Progress, Usage
from converse_stream.protocol.options import Options

PROMPT = Prompt("Be kind.", (), "", PromptMessage("user", ("hi",)))
STREAMED = [
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "hello"}}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2}}},
]
NOT_STREAMED = {
    "output": {"message": {"content": [{"text": "hello"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 2},
}


class ScriptedBedrock(Bedrock):
    """Answers each request with the next step of a script; raises a step that is an error."""

    def __init__(self, *script: Any) -> None:
        self.script = iter(script)
        self.requests: list[tuple[str, Mapping[str, Any]]] = []

    def converse_stream(self, request: Mapping[str, Any], call: Call) -> Generator[dict[str, Any], None, None]:
        self.requests.append(("stream", request))
        yield from self._steps(next(self.script))

    def converse(self, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
        self.requests.append(("whole", request))
        step = next(self.script)
        if isinstance(step, Exception):
            raise step
        return dict(step)

    def _steps(self, step: Any) -> Iterator[dict[str, Any]]:
        for event in step if isinstance(step, list) else [step]:
            if isinstance(event, Exception):
                raise event
            yield event

    @property
    def models(self) -> list[str]:
        return [request["modelId"] for _, request in self.requests]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE", 0)


def client_of(
    bedrock: Bedrock, *, allowed: str = "*", overrides: Mapping[str, Any] | None = None, default: str = "nova-lite"
) -> ModelClient:
    catalog = Catalog("us", overrides=overrides)
    return ModelClient(bedrock, catalog, AllowedModels(catalog, allowed.split(","), default))


def ask(
    bedrock: ScriptedBedrock,
    alias: str = "nova-pro",
    models: ModelClient | None = None,
    prompt: Prompt = PROMPT,
    call: Call | None = None,
    **options: Any,
) -> list[Any]:
    models = models or client_of(bedrock)
    return list(models.answer(prompt, alias, Options.model_validate(options), call or Call()))


def test_streamed_answer_ends_with_exact_usage() -> None:
    bedrock = ScriptedBedrock(STREAMED)
    events = ask(bedrock)
    assert events[0] == Chunk("hello")
    assert isinstance(events[1], ModelEnd)
    assert (events[1].finish_reason, events[1].usage.basis) == ("stop", "exact")


@pytest.mark.parametrize("refusal", [errors.ModelThrottled, errors.ModelUnavailable, errors.ModelNotReady])
def test_error_without_a_charge_is_retried(refusal: type[errors.ModelError]) -> None:
    bedrock = ScriptedBedrock(refusal(), refusal(), STREAMED)
    events = ask(bedrock)
    assert events[:3] == [Progress("retry"), Progress("retry"), Chunk("hello")]
    assert bedrock.models == ["us.amazon.nova-pro-v1:0"] * 3


def test_fallback_is_called_with_its_own_operation() -> None:
    bedrock = ScriptedBedrock(*[errors.ModelThrottled() for _ in range(3)], NOT_STREAMED)
    events = ask(bedrock, "nova-lite")
    assert Progress("fallback", "nova-micro") in events
    assert [operation for operation, _ in bedrock.requests] == ["stream"] * 3 + ["whole"]


def test_end_contains_the_model_that_answered() -> None:
    bedrock = ScriptedBedrock(*[errors.ModelThrottled() for _ in range(3)], NOT_STREAMED)
    assert ask(bedrock, "nova-lite")[-1].model == "nova-micro"


@pytest.mark.parametrize("refusal", [errors.ModelAccessDenied, errors.ModelNotFound, errors.BedrockKeyRefused])
def test_inaccessible_fallback_does_not_replace_the_first_error(refusal: type[errors.ModelError]) -> None:
    """The next fallback is called. If all fail, the error is that of the first model."""
    overrides = {"nova-pro": {"fallbacks": ["claude-haiku", "nova-lite"]}}
    throttled = [errors.ModelThrottled() for _ in range(3)]
    bedrock = ScriptedBedrock(*throttled, refusal(), STREAMED)
    assert ask(bedrock, "nova-pro", client_of(bedrock, overrides=overrides))[-1].model == "nova-lite"
    bedrock = ScriptedBedrock(*throttled, refusal(), refusal())
    with pytest.raises(errors.ModelThrottled):
        ask(bedrock, "nova-pro", client_of(bedrock, overrides=overrides))
    assert len(bedrock.requests) == 5


def test_streaming_refusal_is_not_stored_if_converse_fails_too() -> None:
    bedrock = ScriptedBedrock(errors.CapabilityRefused("streaming"), errors.ModelInternal(), STREAMED)
    models = client_of(bedrock)
    with pytest.raises(errors.ModelInternal):
        ask(bedrock, "nova-pro", models)
    ask(bedrock, "nova-pro", models)
    assert [operation for operation, _ in bedrock.requests] == ["stream", "whole", "stream"]


def test_last_error_is_raised_after_all_attempts() -> None:
    bedrock = ScriptedBedrock(*[errors.ModelThrottled() for _ in range(9)])
    with pytest.raises(errors.ModelThrottled):
        ask(bedrock, "nova-micro")
    assert len(bedrock.requests) == client.ATTEMPTS


@pytest.mark.parametrize(
    "failure",
    [
        errors.ModelTimeout,
        errors.ModelInternal,
        errors.ModelConnectionLost,
        errors.ModelInvalidRequest,
    ],
)
def test_error_after_a_possible_charge_or_a_permanent_error_is_not_retried(failure: type[errors.ModelError]) -> None:
    bedrock = ScriptedBedrock(failure(), STREAMED)
    with pytest.raises(failure):
        ask(bedrock)
    assert len(bedrock.requests) == 1


@pytest.mark.parametrize(
    "gone",
    [
        errors.ModelAccessDenied,
        errors.ModelNotFound,
        errors.ModelEndOfLife,
        errors.ModelLegacy,
        errors.InferenceProfileNeeded,
    ],
)
def test_model_that_cannot_be_used_is_called_once_and_then_its_fallback(gone: type[errors.ModelError]) -> None:
    bedrock = ScriptedBedrock(gone(), STREAMED)
    assert ask(bedrock)[-1].model == "nova-lite"
    assert bedrock.models == ["us.amazon.nova-pro-v1:0", "us.amazon.nova-lite-v1:0"]
    with pytest.raises(gone, match=r"^nova-pro: "):
        ask(ScriptedBedrock(gone(), gone()), models=None)


def test_no_retry_after_the_first_event() -> None:
    bedrock = ScriptedBedrock([STREAMED[0], errors.ModelThrottled()], STREAMED)
    with pytest.raises(errors.ModelThrottled):
        ask(bedrock)
    assert len(bedrock.requests) == 1


def test_model_that_refuses_streaming_is_called_without_it_from_then_on() -> None:
    bedrock = ScriptedBedrock(errors.CapabilityRefused("streaming"), NOT_STREAMED, NOT_STREAMED)
    models = client_of(bedrock)
    for _ in range(2):
        assert ask(bedrock, "nova-pro", models)[:2] == [Progress("adapted", "stream"), Chunk("hello")]
    assert [operation for operation, _ in bedrock.requests] == ["stream", "whole", "whole"]


def test_model_that_refuses_both_ways_to_think_answers_without_thinking() -> None:
    refusals = [errors.CapabilityRefused(way) for way in ("adaptive_thinking", "thinking_budget")]
    bedrock = ScriptedBedrock(*refusals, STREAMED, STREAMED)
    models = client_of(bedrock)
    for calls in (3, 4):
        events = ask(bedrock, "claude-opus-4-7", models, reasoning="low")
        assert events[-1].finish_reason == "stop"
        assert len(bedrock.requests) == calls
    assert "additionalModelRequestFields" not in bedrock.requests[-1][1]


@pytest.mark.parametrize("way", ["adaptive_thinking", "thinking_budget", "signed_reasoning", "forced_tools"])
def test_same_refusal_again_ends_the_answer(way: errors.Capability) -> None:
    bedrock = ScriptedBedrock(*[errors.CapabilityRefused(way) for _ in range(9)])
    with pytest.raises(errors.CapabilityRefused):
        ask(bedrock, "claude-opus-4-7", reasoning="low")
    assert len(bedrock.requests) <= 3


def test_reasoning_blocks_that_the_model_refuses_are_left_out_for_this_request_only() -> None:
    name = "anthropic.claude-haiku-4-5-20251001-v1:0"
    calls = PromptMessage("assistant", (SignedReasoning("hm", "c2ln", name), ToolUse("a", "weather", {})))
    question, results = PromptMessage("user", ("hi",)), PromptMessage("user", (ToolResult("a", "mild"),))
    tools = (ToolSpec("weather", "", {"type": "object"}),)
    prompt = Prompt("", (question, calls), "", results, tools)
    bedrock = ScriptedBedrock(errors.CapabilityRefused("signed_reasoning"), STREAMED, STREAMED)
    models = client_of(bedrock)
    events = ask(bedrock, "claude-haiku-4-5", models, prompt, reasoning="low")
    told = {event.detail for event in events if isinstance(event, Progress)}
    assert told == {"messages.reasoning_details", "options.reasoning=none"}
    ask(bedrock, "claude-haiku-4-5", models, prompt, reasoning="low")
    assert ["reasoningContent" in repr(request) for _, request in bedrock.requests] == [True, False, True]


def test_adaptation_is_told_once_although_the_call_is_repeated() -> None:
    bedrock = ScriptedBedrock(errors.ModelThrottled(), errors.ModelThrottled(), STREAMED)
    events = ask(bedrock, "claude-opus", temperature=0.5)
    assert events.count(Progress("adapted", "options.temperature")) == 1


def test_refused_system_prompt_is_sent_in_the_message() -> None:
    bedrock = ScriptedBedrock(errors.CapabilityRefused("system_prompt"), STREAMED)
    ask(bedrock)
    request = bedrock.requests[1][1]
    assert "system" not in request
    assert request["messages"][-1]["content"][0] == {"text": "Be kind."}


def test_model_that_refuses_streaming_with_tools_still_streams_without_tools() -> None:
    bedrock = ScriptedBedrock(errors.CapabilityRefused("tool_streaming"), NOT_STREAMED, NOT_STREAMED, STREAMED)
    models = client_of(bedrock)
    with_tools = replace(PROMPT, tools=(ToolSpec("weather", "", {"type": "object"}),))
    for prompt, told in ((with_tools, 1), (with_tools, 1), (PROMPT, 0)):
        events = ask(bedrock, "nova-pro", models, prompt)
        assert events[:-1] == [*[Progress("adapted", "stream")] * told, Chunk("hello")]
    assert [operation for operation, _ in bedrock.requests] == ["stream", "whole", "whole", "stream"]


def test_request_with_its_own_bedrock_key_has_no_cost() -> None:
    call = Call()
    call.bedrock_key = SecretStr("key")
    end = ask(ScriptedBedrock(STREAMED), call=call)[-1]
    assert (end.usage.output_tokens, end.usage.cost) == (2, None)


SERVED_AS_STANDARD = [
    ({"latency": "optimized"}, {"performanceConfig": {"latency": "standard"}}),
    ({"serviceTier": "priority"}, {"serviceTier": {"type": "default"}}),
    ({"serviceTier": "flex"}, {"serviceTier": {"type": "default"}}),
]


@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "not-streamed"])
@pytest.mark.parametrize(("options", "served"), SERVED_AS_STANDARD, ids=["latency", "priority", "flex"])
def test_cost_is_that_of_the_tier_that_served_the_answer(
    options: dict[str, Any], served: dict[str, Any], whole: bool
) -> None:
    usage = {"usage": {"inputTokens": 1, "outputTokens": 2}}
    script = (
        [errors.CapabilityRefused("streaming"), NOT_STREAMED | served]
        if whole
        else [[*STREAMED[:-1], {"metadata": usage | served}]]
    )
    assert ask(ScriptedBedrock(*script), **options)[-1].usage.cost == 800 + 2 * 3200


def test_input_over_the_context_window_is_not_sent() -> None:
    """No tokenizer makes a token of more than 8 bytes of usual text; a shorter input is left to the model itself."""
    longest = replace(PROMPT, turn=PromptMessage("user", ("x" * (8 * 300_000 - 100),)))
    bedrock = ScriptedBedrock(STREAMED)
    ask(bedrock, prompt=longest)
    assert len(bedrock.requests) == 1
    with pytest.raises(errors.ContextLengthExceeded):
        ask(
            bedrock,
            prompt=replace(longest, history=(PromptMessage("user", ("y" * 200,)), PromptMessage("assistant", ("z",)))),
        )
    assert len(bedrock.requests) == 1


def test_fallback_is_called_only_if_it_supports_the_tools() -> None:
    overrides = {"nova-pro": {"fallbacks": ["claude-haiku"]}}
    for schema, models in (({"type": "object"}, 2), ({"type": "object", "anyOf": []}, 1)):
        bedrock = ScriptedBedrock(*[errors.ModelThrottled() for _ in range(6)])
        with pytest.raises(errors.ModelThrottled):
            ask(
                bedrock,
                "nova-pro",
                client_of(bedrock, overrides=overrides),
                replace(PROMPT, tools=(ToolSpec("t", "", schema),)),
            )
        assert len(set(bedrock.models)) == models


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"type": "object", "anyOf": [{"required": ["a"]}]}, "anyOf"),
        ({"type": "object", "properties": {"a b": {"type": "string"}}}, "a b"),
        ({"type": "object", "properties": []}, "no object"),
        ({"type": "object", "properties": {"a" * 65: {"type": "string"}}}, "a" * 65),
    ],
    ids=["choice-at-the-root", "property-name", "no-properties", "long-name"],
)
def test_tool_schema_that_claude_refuses_is_named_in_the_error(schema: dict[str, Any], fault: str) -> None:
    models, tools = (
        client_of(ScriptedBedrock()),
        (ToolSpec("a", "", {"type": "object"}), ToolSpec("b", "", schema)),
    )
    models.check("nova-lite", Options(), tools=tools)
    with pytest.raises(errors.BadRequest, match=fault) as error:
        models.check("claude-haiku", Options(), tools=tools)
    assert error.value.field == "tools.1.function.parameters"


def test_priority_and_optimized_latency_cost_more_than_standard() -> None:
    def cost(**options: Any) -> int:
        return int(ask(ScriptedBedrock(STREAMED), **options)[-1].usage.cost)

    standard, flex = cost(), cost(serviceTier="flex")
    priority, optimized = cost(serviceTier="priority"), cost(latency="optimized")
    assert flex < standard < optimized < priority
    assert standard == 800 + 2 * 3200


def test_cached_tokens_have_their_own_price() -> None:
    usage = Usage(1, 2, cache_read_tokens=4, cache_write_tokens=8)
    model = Catalog("global")["claude-haiku-4-5"]
    assert model.priced(usage, Options()).cost == 1_000 + 2 * 5_000 + 4 * 100 + 8 * 1_250


@pytest.mark.parametrize(("options", "factor"), [({"serviceTier": "priority"}, 1.75), ({"latency": "optimized"}, 1.25)])
def test_budget_allows_fewer_tokens_at_a_higher_price(options: dict[str, str], factor: float) -> None:
    model, budget = Catalog("us")["nova-pro"], Budget(0, 1_000_000)
    standard = model.affordable(budget, 100, Options())
    assert standard == pytest.approx((1_000 - 100 * 0.8) / 3.2)
    by_wish = model.affordable(budget, 100, Options.model_validate(options))
    assert by_wish == pytest.approx((1_000 - 100 * 0.8 * factor) / (3.2 * factor))


@pytest.mark.parametrize("options", [{"serviceTier": "flex"}, {"latency": "optimized"}])
def test_fallback_is_called_with_its_own_options_and_price(options: dict[str, Any]) -> None:
    bedrock = ScriptedBedrock(*[errors.ModelThrottled() for _ in range(3)], STREAMED)
    end = ask(bedrock, "nova-pro", **options)[-1]
    assert (end.model, end.usage.cost) == ("nova-lite", 60 + 2 * 240)
    first, *_, last = (request.keys() & {"serviceTier", "performanceConfig"} for _, request in bedrock.requests)
    assert (len(first), len(last)) == (1, 0)


def test_fallback_outside_the_allowed_models_is_not_called() -> None:
    bedrock = ScriptedBedrock(*[errors.ModelThrottled() for _ in range(3)], STREAMED)
    with pytest.raises(errors.ModelThrottled):
        ask(bedrock, "nova-lite", client_of(bedrock, allowed="nova-lite,nova-pro"))


def test_fallback_is_called_only_if_it_supports_the_answer_schema() -> None:
    schema = {"type": "object"}
    tools = replace(PROMPT, tools=(ToolSpec("weather", "", schema),))
    for prompt, models in (
        (PROMPT, 2),
        (tools, 1),
    ):  # Nova needs a forced tool for a schema, so it takes no other tools
        bedrock = ScriptedBedrock(*[errors.ModelThrottled() for _ in range(6)])
        with pytest.raises(errors.ModelThrottled):
            ask(bedrock, "claude-haiku", prompt=prompt, schema=schema)
        assert len(set(bedrock.models)) == models


def test_window_is_the_smallest_of_the_model_and_its_fallbacks() -> None:
    models = client_of(ScriptedBedrock())
    assert models.window("nova-lite", Options()) == 128_000 - 4_096  # nova-micro may take over
    assert client_of(ScriptedBedrock(), allowed="nova-lite").window("nova-lite", Options()) == 300_000 - 4_096


def test_repeated_streaming_refusal_is_an_error() -> None:
    bedrock = ScriptedBedrock(errors.CapabilityRefused("streaming"), errors.CapabilityRefused("streaming"))
    with pytest.raises(errors.ModelInvalidRequest):
        ask(bedrock)


def test_cancelled_call_is_not_retried() -> None:
    call = Call()
    call.cancel()
    bedrock = ScriptedBedrock(errors.ModelThrottled(), STREAMED)
    with pytest.raises(Cancelled):
        list(client_of(bedrock).answer(PROMPT, "nova-pro", Options(), call))
    assert len(bedrock.requests) == 1


@pytest.mark.parametrize(
    ("alias", "options", "field"),
    [
        ("nova-lite", {"maxTokens": 5001}, "options.maxTokens"),
        ("nova-lite", {"serviceTier": "flex"}, "options.serviceTier"),
        ("claude-haiku", {"latency": "optimized"}, "options.latency"),
        ("nova-pro", {"latency": "optimized", "serviceTier": "flex"}, "options.latency"),
        ("claude-haiku", {"stop": ["END", " \n"]}, "options.stop"),
    ],
)
def test_unsupported_option_is_refused_by_name(alias: str, options: dict[str, Any], field: str) -> None:
    models = client_of(ScriptedBedrock())
    with pytest.raises(errors.BadRequest) as error:
        models.check(alias, Options.model_validate(options))
    assert error.value.field == field


def test_geographic_profile_costs_more_than_the_global_one() -> None:
    def cost(profile: str, name: str = "claude-sonnet") -> int:
        return Catalog(profile)[name].priced(Usage(1_000_000), Options()).cost or 0

    assert cost("us") == cost("eu") == cost("jp") == pytest.approx(1.1 * cost("global"))
    assert cost("us", "nova-pro") == cost("none", "nova-pro")


def test_only_allowed_models_are_accepted() -> None:
    models = client_of(ScriptedBedrock(), allowed="nova-lite,nova-pro")
    assert models.names == ["nova-lite", "nova-pro"]
    models.check("nova-lite", Options())
    with pytest.raises(errors.ModelNotAllowed, match=r"one of nova-lite, nova-pro\."):
        models.check("nova-micro", Options())


@pytest.mark.parametrize("tools", [False, True])
def test_tools_or_schema_for_a_model_without_tools_are_refused(tools: bool) -> None:
    model = replace(Catalog("us")["nova-lite"], tools=False)
    requested = Options() if tools else Options.model_validate({"schema": {"type": "object"}})
    with pytest.raises(errors.BadRequest) as error:
        options.check(model, requested, tools=(ToolSpec("weather", "", {"type": "object"}),) if tools else ())
    assert error.value.field == ("tools" if tools else "options.schema")


def test_error_for_an_unknown_model_lists_the_allowed_models() -> None:
    with pytest.raises(errors.ModelNotAllowed, match=r"one of claude-haiku, nova-lite\.") as error:
        client_of(ScriptedBedrock(), allowed="claude-haiku").check("vendor.new-model-1", Options())
    assert (error.value.status, error.value.field) == (404, "model")
