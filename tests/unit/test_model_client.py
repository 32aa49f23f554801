"""Which model is asked, how often, and how: nothing is paid twice, nothing is retried after the first event."""

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from pydantic import SecretStr

from converse_stream.aws.cancellation import Cancelled
from converse_stream.limits import Budget
from converse_stream.model import client, options
from converse_stream.model.catalog import Catalog
from converse_stream.model.client import ModelClient
from converse_stream.model.stream import ModelEnd
from converse_stream.model.transport import Bedrock, Call
from converse_stream.prompts.prompt import Prompt, PromptMessage, ToolSpec
from converse_stream.protocol import errors
from converse_stream.protocol.events import Chunk, Progress, Usage
from converse_stream.protocol.options import Options

PROMPT = Prompt("Be kind.", (), "", PromptMessage("user", ("hi",)))
SPEECH = [
    {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "hello"}}},
    {"messageStop": {"stopReason": "end_turn"}},
    {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 2}}},
]
IN_ONE_PIECE = {
    "output": {"message": {"content": [{"text": "hello"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 2},
}


class Scripted(Bedrock):
    """Answers each request with the next step of a script; an error in it is raised."""

    def __init__(self, *script: Any) -> None:
        self.script = iter(script)
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def converse_stream(self, request: Mapping[str, Any], call: Call) -> Generator[dict[str, Any], None, None]:
        self.asked.append(("stream", request))
        yield from self._steps(next(self.script))

    def converse(self, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
        self.asked.append(("whole", request))
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
        return [request["modelId"] for _, request in self.asked]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE", 0)


def ask(
    bedrock: Scripted,
    alias: str = "nova-pro",
    models: ModelClient | None = None,
    prompt: Prompt = PROMPT,
    call: Call | None = None,
    **options: Any,
) -> list[Any]:
    models = models or ModelClient(bedrock, Catalog("us"))
    return list(models.answer(prompt, alias, Options.model_validate(options), call or Call()))


def test_a_plain_answer() -> None:
    bedrock = Scripted(SPEECH)
    events = ask(bedrock)
    assert events[0] == Chunk("hello")
    assert isinstance(events[1], ModelEnd)
    assert (events[1].finish_reason, events[1].usage.basis) == ("stop", "exact")


@pytest.mark.parametrize("refusal", [errors.ModelThrottled, errors.ModelUnavailable, errors.ModelNotReady])
def test_a_refusal_that_costs_nothing_is_tried_again(refusal: type[errors.ModelError]) -> None:
    bedrock = Scripted(refusal(), refusal(), SPEECH)
    events = ask(bedrock)
    assert events[:3] == [Progress("retry"), Progress("retry"), Chunk("hello")]
    assert bedrock.models == ["us.amazon.nova-pro-v1:0"] * 3


def test_then_the_next_model_is_asked_and_in_its_own_way() -> None:
    bedrock = Scripted(*[errors.ModelThrottled() for _ in range(3)], IN_ONE_PIECE)
    events = ask(bedrock, "nova-lite")
    assert Progress("fallback", "nova-micro") in events
    assert [way for way, _ in bedrock.asked] == ["stream"] * 3 + ["whole"]


def test_the_end_names_the_model_that_answered() -> None:
    bedrock = Scripted(*[errors.ModelThrottled() for _ in range(3)], IN_ONE_PIECE)
    assert ask(bedrock, "nova-lite")[-1].model == "nova-micro"


@pytest.mark.parametrize("refusal", [errors.ModelAccessDenied, errors.ModelNotFound, errors.BedrockKeyRefused])
def test_a_fallback_that_may_not_be_used_hides_nothing(refusal: type[errors.ModelError]) -> None:
    """The next is asked, and at the end it is told why the first did not answer."""
    catalog = Catalog("us")
    catalog._models["nova-pro"] = catalog["nova-pro"].model_copy(update={"fallbacks": ("claude-haiku", "nova-lite")})
    busy = [errors.ModelThrottled() for _ in range(3)]
    bedrock = Scripted(*busy, refusal(), SPEECH)
    assert ask(bedrock, "nova-pro", ModelClient(bedrock, catalog))[-1].model == "nova-lite"
    bedrock = Scripted(*busy, refusal(), refusal())
    with pytest.raises(errors.ModelThrottled):
        ask(bedrock, "nova-pro", ModelClient(bedrock, catalog))
    assert len(bedrock.asked) == 5


def test_a_refusal_is_not_remembered_when_the_other_way_fails_too() -> None:
    bedrock = Scripted(errors.StreamingRefused(), errors.ModelInternal(), SPEECH)
    models = ModelClient(bedrock, Catalog("us"))
    with pytest.raises(errors.ModelInternal):
        ask(bedrock, "nova-pro", models)
    ask(bedrock, "nova-pro", models)
    assert [way for way, _ in bedrock.asked] == ["stream", "whole", "stream"]


def test_the_last_refusal_is_the_error() -> None:
    bedrock = Scripted(*[errors.ModelThrottled() for _ in range(9)])
    with pytest.raises(errors.ModelThrottled):
        ask(bedrock, "nova-micro")
    assert len(bedrock.asked) == client.ATTEMPTS


@pytest.mark.parametrize(
    "failure",
    [
        errors.ModelTimeout,
        errors.ModelInternal,
        errors.ModelConnectionLost,
        errors.ModelInvalidRequest,
        errors.ModelAccessDenied,
    ],
)
def test_what_may_have_been_paid_for_or_cannot_help_is_not_tried_again(failure: type[errors.ModelError]) -> None:
    bedrock = Scripted(failure(), SPEECH)
    with pytest.raises(failure):
        ask(bedrock)
    assert len(bedrock.asked) == 1


def test_no_retry_after_the_first_event() -> None:
    bedrock = Scripted([SPEECH[0], errors.ModelThrottled()], SPEECH)
    with pytest.raises(errors.ModelThrottled):
        ask(bedrock)
    assert len(bedrock.asked) == 1


def test_a_model_that_refuses_to_stream_answers_in_one_piece_and_is_remembered() -> None:
    bedrock = Scripted(errors.StreamingRefused(), IN_ONE_PIECE, IN_ONE_PIECE)
    models = ModelClient(bedrock, Catalog("us"))
    for _ in range(2):
        events = ask(bedrock, "nova-pro", models)
        assert events[0] == Chunk("hello")
    assert [way for way, _ in bedrock.asked] == ["stream", "whole", "whole"]


def test_a_model_that_refuses_a_system_prompt_gets_it_in_the_message() -> None:
    bedrock = Scripted(errors.SystemPromptRefused(), SPEECH)
    ask(bedrock)
    request = bedrock.asked[1][1]
    assert "system" not in request
    assert request["messages"][-1]["content"][0] == {"text": "Be kind."}


def test_a_model_that_does_not_stream_with_tools_streams_without_them() -> None:
    bedrock = Scripted(errors.ToolStreamingRefused(), IN_ONE_PIECE, IN_ONE_PIECE, SPEECH)
    models = ModelClient(bedrock, Catalog("us"))
    with_tools = replace(PROMPT, tools=(ToolSpec("weather", "", {"type": "object"}),))
    for prompt in (with_tools, with_tools, PROMPT):
        assert ask(bedrock, "nova-pro", models, prompt)[0] == Chunk("hello")
    assert [way for way, _ in bedrock.asked] == ["stream", "whole", "whole", "stream"]


def test_an_own_key_costs_the_deployment_nothing() -> None:
    call = Call()
    call.bedrock_key = SecretStr("key")
    ended = ask(Scripted(SPEECH), call=call)[-1]
    assert (ended.usage.output_tokens, ended.usage.cost) == (2, None)


SERVED_AS_STANDARD = [
    ({"latency": "optimized"}, {"performanceConfig": {"latency": "standard"}}),
    ({"serviceTier": "priority"}, {"serviceTier": {"type": "default"}}),
    ({"serviceTier": "flex"}, {"serviceTier": {"type": "default"}}),
]


@pytest.mark.parametrize("whole", [False, True], ids=["streamed", "one piece"])
@pytest.mark.parametrize(("wish", "told"), SERVED_AS_STANDARD, ids=["latency", "priority", "flex"])
def test_an_answer_costs_what_it_was_served_as(wish: dict[str, Any], told: dict[str, Any], whole: bool) -> None:
    usage = {"usage": {"inputTokens": 1, "outputTokens": 2}}
    script = [errors.StreamingRefused(), IN_ONE_PIECE | told] if whole else [[*SPEECH[:-1], {"metadata": usage | told}]]
    assert ask(Scripted(*script), **wish)[-1].usage.cost == 800 + 2 * 3200


def test_an_input_that_no_count_can_fit_is_not_sent() -> None:
    """Eight bytes a token are more than any tokenizer makes of usual text; below that the model itself decides."""
    longest = replace(PROMPT, turn=PromptMessage("user", ("x" * (8 * 300_000 - 100),)))
    bedrock = Scripted(SPEECH)
    ask(bedrock, prompt=longest)
    assert len(bedrock.asked) == 1
    with pytest.raises(errors.ContextLengthExceeded):
        ask(
            bedrock,
            prompt=replace(longest, history=(PromptMessage("user", ("y" * 200,)), PromptMessage("assistant", ("z",)))),
        )
    assert len(bedrock.asked) == 1


def test_a_fallback_takes_over_where_it_takes_the_tools() -> None:
    catalog = Catalog("us")
    catalog._models["nova-pro"] = catalog["nova-pro"].model_copy(update={"fallbacks": ("claude-haiku",)})
    for schema, models in (({"type": "object"}, 2), ({"type": "object", "anyOf": []}, 1)):
        bedrock = Scripted(*[errors.ModelThrottled() for _ in range(6)])
        with pytest.raises(errors.ModelThrottled):
            ask(bedrock, "nova-pro", ModelClient(bedrock, catalog), replace(PROMPT, tools=(ToolSpec("t", "", schema),)))
        assert len(set(bedrock.models)) == models


@pytest.mark.parametrize(
    ("schema", "fault"),
    [
        ({"type": "object", "anyOf": [{"required": ["a"]}]}, "anyOf"),
        ({"type": "object", "properties": {"a b": {"type": "string"}}}, "a b"),
        ({"type": "object", "properties": []}, "no object"),
        ({"type": "object", "properties": {"a" * 65: {"type": "string"}}}, "a" * 65),
    ],
    ids=["a choice at the root", "a property's name", "no properties", "a long name"],
)
def test_a_tool_that_claude_does_not_take_is_named(schema: dict[str, Any], fault: str) -> None:
    models, tools = (
        ModelClient(Scripted(), Catalog("us")),
        (ToolSpec("a", "", {"type": "object"}), ToolSpec("b", "", schema)),
    )
    models.check("nova-lite", Options(), tools=tools)
    with pytest.raises(errors.BadRequest, match=fault) as refused:
        models.check("claude-haiku", Options(), tools=tools)
    assert refused.value.field == "tools.1.function.parameters"


def test_what_is_dearer_costs_more() -> None:
    def cost(**wish: Any) -> int:
        return int(ask(Scripted(SPEECH), **wish)[-1].usage.cost)

    usual, flex = cost(), cost(serviceTier="flex")
    priority, optimized = cost(serviceTier="priority"), cost(latency="optimized")
    assert flex < usual < optimized < priority
    assert usual == 800 + 2 * 3200


def test_what_is_read_from_a_cache_and_written_to_one_has_its_price() -> None:
    usage = Usage(1, 2, cache_read_tokens=4, cache_write_tokens=8)
    assert Catalog("global")["claude-haiku"].priced(usage, Options()).cost == 1_000 + 2 * 5_000 + 4 * 100 + 8 * 1_250


@pytest.mark.parametrize(("wish", "dearer"), [({"serviceTier": "priority"}, 1.75), ({"latency": "optimized"}, 1.25)])
def test_a_budget_is_sooner_spent_on_what_is_dearer(wish: dict[str, str], dearer: float) -> None:
    model, budget = Catalog("us")["nova-pro"], Budget(0, 1_000_000)
    usual = model.affordable(budget, 100, Options())
    assert usual == pytest.approx((1_000 - 100 * 0.8) / 3.2)
    by_wish = model.affordable(budget, 100, Options.model_validate(wish))
    assert by_wish == pytest.approx((1_000 - 100 * 0.8 * dearer) / (3.2 * dearer))


@pytest.mark.parametrize("wish", [{"serviceTier": "flex"}, {"latency": "optimized"}])
def test_a_fallback_is_asked_in_its_own_way_for_its_own_price(wish: dict[str, Any]) -> None:
    bedrock = Scripted(*[errors.ModelThrottled() for _ in range(3)], SPEECH)
    ended = ask(bedrock, "nova-pro", **wish)[-1]
    assert (ended.model, ended.usage.cost) == ("nova-lite", 60 + 2 * 240)
    first, *_, last = (request.keys() & {"serviceTier", "performanceConfig"} for _, request in bedrock.asked)
    assert (len(first), len(last)) == (1, 0)


def test_a_fallback_is_one_that_callers_may_name() -> None:
    bedrock = Scripted(*[errors.ModelThrottled() for _ in range(3)], SPEECH)
    with pytest.raises(errors.ModelThrottled):
        ask(bedrock, "nova-lite", ModelClient(bedrock, Catalog("us"), {"nova-lite", "nova-pro"}))


def test_a_fallback_has_a_way_to_keep_to_the_schema() -> None:
    schema = {"type": "object"}
    tools = replace(PROMPT, tools=(ToolSpec("weather", "", schema),))
    for prompt, models in ((PROMPT, 2), (tools, 1)):  # Nova answers by a tool, which leaves no room for others
        bedrock = Scripted(*[errors.ModelThrottled() for _ in range(6)])
        with pytest.raises(errors.ModelThrottled):
            ask(bedrock, "claude-haiku", prompt=prompt, schema=schema)
        assert len(set(bedrock.models)) == models


def test_the_window_leaves_room_for_the_answer_of_whichever_model_answers() -> None:
    models = ModelClient(Scripted(), Catalog("us"))
    assert models.window("nova-lite", Options()) == 128_000 - 4_096  # nova-micro may take over
    assert ModelClient(Scripted(), Catalog("us"), {"nova-lite"}).window("nova-lite", Options()) == 300_000 - 4_096


def test_a_second_refusal_of_the_same_is_an_error() -> None:
    bedrock = Scripted(errors.StreamingRefused(), errors.StreamingRefused())
    with pytest.raises(errors.ModelInvalidRequest):
        ask(bedrock)


def test_a_stopped_call_is_not_tried_again() -> None:
    call = Call()
    call.cancel()
    bedrock = Scripted(errors.ModelThrottled(), SPEECH)
    with pytest.raises(Cancelled):
        list(ModelClient(bedrock, Catalog("us")).answer(PROMPT, "nova-pro", Options(), call))
    assert len(bedrock.asked) == 1


@pytest.mark.parametrize(
    ("alias", "options", "field"),
    [
        ("nova-lite", {"maxTokens": 5001}, "options.maxTokens"),
        ("nova-lite", {"reasoning": "low"}, "options.reasoning"),
        ("claude-haiku", {"reasoning": "low", "temperature": 0.5}, "options.temperature"),
        ("claude-haiku", {"temperature": 0.5, "topP": 0.5}, "options.topP"),
        ("nova-lite", {"serviceTier": "flex"}, "options.serviceTier"),
        ("claude-haiku", {"latency": "optimized"}, "options.latency"),
        ("nova-pro", {"latency": "optimized", "serviceTier": "flex"}, "options.latency"),
        ("claude-haiku", {"stop": ["END", " \n"]}, "options.stop"),
    ],
)
def test_a_model_is_asked_only_for_what_it_has(alias: str, options: dict[str, Any], field: str) -> None:
    models = ModelClient(Scripted(), Catalog("us"))
    with pytest.raises(errors.BadRequest) as refused:
        models.check(alias, Options.model_validate(options))
    assert refused.value.field == field


def test_a_model_of_one_geography_costs_more() -> None:
    def price(profile: str) -> float:
        return Catalog(profile)["claude-sonnet"].price.output

    assert price("us") == price("eu") == pytest.approx(1.1 * price("global"))
    assert Catalog("us")["nova-pro"].price == Catalog("none")["nova-pro"].price


def test_callers_may_name_what_is_allowed() -> None:
    models = ModelClient(Scripted(), Catalog("us"), {"nova-lite", "nova-pro"})
    assert models.aliases == ["nova-lite", "nova-pro"]
    models.check("nova-lite", Options())
    with pytest.raises(errors.BadRequest, match=r"one of nova-lite, nova-pro\."):
        models.check("nova-micro", Options())


@pytest.mark.parametrize("tools", [False, True])
def test_a_model_without_tools_is_offered_none(tools: bool) -> None:
    model = Catalog("us")["nova-lite"].model_copy(update={"tools": False})
    wish = Options() if tools else Options.model_validate({"schema": {"type": "object"}})
    with pytest.raises(errors.BadRequest) as refused:
        options.check(model, wish, tools=(ToolSpec("weather", "", {"type": "object"}),) if tools else ())
    assert refused.value.field == ("tools" if tools else "options.schema")


def test_an_unknown_alias_names_the_known_ones() -> None:
    with pytest.raises(errors.BadRequest, match="claude-haiku, claude-sonnet, nova-lite, nova-micro, nova-pro"):
        ModelClient(Scripted(), Catalog("us")).check("gpt", Options())
