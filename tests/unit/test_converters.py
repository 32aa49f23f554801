"""Every request that we build passes botocore's own validator, and Bedrock's events become ours."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import botocore.session
import pytest
from botocore.parsers import create_parser
from botocore.validate import ParamValidator

from converse_stream.dialects.ai_sdk.frames import AiSdk
from converse_stream.dialects.native import Native, to_json
from converse_stream.dialects.openai.frames import OpenAI
from converse_stream.model import converters, stream
from converse_stream.model import options as wishes
from converse_stream.model.catalog import Catalog
from converse_stream.model.client import ModelClient
from converse_stream.model.converters import Guardrail
from converse_stream.model.transport import Bedrock
from converse_stream.prompts.prompt import Prompt, PromptMessage, ToolSpec
from converse_stream.protocol import log
from converse_stream.protocol.errors import BadRequest, ModelMalformed, ModelTruncated
from converse_stream.protocol.events import (
    Chunk,
    Citation,
    Reasoning,
    Tool,
    Usage,
)
from converse_stream.protocol.finish_reasons import MALFORMED
from converse_stream.protocol.log import PositionedEvent
from converse_stream.protocol.options import Options
from local_stack.bedrock.validation import check_converse

HISTORY = (PromptMessage("user", ("one", "two")), PromptMessage("assistant", ("three",)))
PROMPT = Prompt("Be kind.", HISTORY, "<facts>\n- x\n</facts>", PromptMessage("user", ("hi",)))
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
PROMPTS = [
    PROMPT,
    Prompt("Be kind.", (), "", PromptMessage("user", ("hi",))),
    replace(PROMPT, tools=(ToolSpec("weather", "Tells the weather.", SCHEMA),)),
    replace(
        PROMPT,
        history=tuple(PromptMessage(turn.role, (f"{n}",)) for n in range(3) for turn in HISTORY),
        summary="So far",
    ),
    replace(PROMPT, documents="<documents>\n[document 1] x\n</documents>", stored=True),
]
CATALOG = Catalog("eu")
GUARDRAIL = Guardrail("abc", "1", "sync")
SERVICE: Any = botocore.session.get_session().get_service_model("bedrock-runtime")


def asked(alias: str, prompt: Prompt = PROMPT, guardrail: Guardrail | None = None, **options: Any) -> Any:
    return ModelClient(mock.create_autospec(Bedrock), CATALOG, guardrail=guardrail).request(
        prompt, alias, Options.model_validate(options)
    )


def built(alias: str, prompt: Prompt = PROMPT, **options: Any) -> dict[str, Any]:
    request: dict[str, Any] = asked(alias, prompt, **options)[1]
    return request


@pytest.mark.parametrize("alias", ["nova-micro", "nova-lite", "nova-pro", "claude-haiku", "claude-sonnet"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"maxTokens": 5, "temperature": 0, "stop": ["\n\nHuman:"]},
        {"topP": 0.5},
        {"reasoning": "high"},
        {"schema": SCHEMA},
        {"serviceTier": "flex"},
        {"latency": "optimized"},
    ],
)
@pytest.mark.parametrize("prompt", PROMPTS, ids=["memory", "first", "tools", "long", "stored"])
@pytest.mark.parametrize("guardrail", [None, GUARDRAIL])
def test_bedrock_accepts_what_we_build(
    alias: str, options: dict[str, Any], prompt: Prompt, guardrail: Guardrail | None
) -> None:
    """By botocore's validator and the stand-in's rules, wherever the model has what is wished for."""
    try:
        wishes.check(CATALOG[alias], Options.model_validate(options), tools=prompt.tools)
    except BadRequest:
        return
    operation, request = asked(alias, prompt, guardrail, **options)
    report = ParamValidator().validate(request, SERVICE.operation_model(operation).input_shape)
    assert not report.has_errors(), report.generate_report()
    body = {name: value for name, value in request.items() if name != "modelId"}
    check_converse(operation, request["modelId"], body)
    assert [message["role"] for message in request["messages"]] == [turn.role for turn in prompt.history] + ["user"]


def test_cache_points_are_where_the_request_before_had_its_last() -> None:
    """The prefix of the turn before ends at a point of this one: a model that looks no further back finds it."""
    talk = PROMPTS[-1].history
    earlier, later = (built("nova-lite", replace(PROMPT, history=talk[:length])) for length in (4, 6))
    for request in (earlier, later):
        assert 2 <= repr(request).count("cachePoint") <= 4
    marked = [number for number, said in enumerate(earlier["messages"]) if "cachePoint" in said["content"][-1]]
    assert earlier["messages"][: marked[-1] + 1][-1] in later["messages"]
    assert "cachePoint" not in repr(built("nova-lite", Prompt("", (), "", PromptMessage("user", ("hi",)))))
    assert earlier["system"][-1] == converters.CACHE_POINT
    without = CATALOG["nova-lite"].model_copy(update={"cache": False})
    assert "cachePoint" not in repr(converters.to_request(PROMPTS[-1], without, Options()))


def test_what_is_remembered_stands_between_the_history_and_the_message() -> None:
    told = replace(
        PROMPT, summary="a summary", facts="facts", documents="documents", turn=PromptMessage("user", ("And now?",))
    )
    last = built("nova-lite", told)["messages"][-1]
    assert last == {
        "role": "user",
        "content": [{"text": text} for text in ("a summary", "facts", "documents", "And now?")],
    }


def test_a_guardrail_judges_what_is_new() -> None:
    """And all messages where the history is the caller's, who may have made it up."""
    told = replace(PROMPT, summary="a summary", facts="facts", documents="documents", stored=True)
    assert asked("nova-lite", told, GUARDRAIL)[1]["messages"][-1]["content"] == [
        {"text": "a summary"},
        {"text": "facts"},
        {"guardContent": {"text": {"text": "documents"}}},
        {"guardContent": {"text": {"text": "hi"}}},
    ]
    for whole in (built("nova-lite", told), asked("nova-lite", replace(told, stored=False), GUARDRAIL)[1]):
        assert "guardContent" not in repr(whole)
    first = replace(told, history=(), summary="", facts="", documents="")
    model = CATALOG["nova-lite"].model_copy(update={"system": False})
    [opening] = converters.to_request(first, model, Options(), GUARDRAIL)["messages"]
    assert opening["content"] == [{"text": "Be kind."}, {"guardContent": {"text": {"text": "hi"}}}]


def test_the_guardrail_of_a_stream_says_when_it_looks() -> None:
    config = {"guardrailIdentifier": "abc", "guardrailVersion": "1", "trace": "enabled"}
    assert asked("nova-lite", guardrail=GUARDRAIL)[1]["guardrailConfig"] == config | {"streamProcessingMode": "sync"}
    assert asked("nova-micro", guardrail=GUARDRAIL)[1]["guardrailConfig"] == config


def test_a_schema_is_a_format_or_where_there_is_none_a_forced_tool() -> None:
    text_format = built("claude-haiku", schema=SCHEMA)["outputConfig"]["textFormat"]
    assert json.loads(text_format["structure"]["jsonSchema"]["schema"]) == SCHEMA | {"additionalProperties": False}
    config = built("nova-lite", schema=SCHEMA)["toolConfig"]
    assert config["toolChoice"] == {"tool": {"name": "answer"}}
    assert config["tools"][0]["toolSpec"]["inputSchema"] == {"json": SCHEMA}


def test_the_tools_input_is_the_answer() -> None:
    pieces = (delta(text="I shall."), started(1, "a", "answer"), fragment(1, '{"city"'), fragment(1, ': "Porto"}'))
    stops = [{"contentBlockStop": {"contentBlockIndex": index}} for index in (0, 1)]
    end = {"messageStop": {"stopReason": "tool_use"}}
    events = list(stream.events([*pieces, *stops, end], answer_tool="answer"))
    assert events == [Chunk('{"city"'), Chunk(': "Porto"}'), stream.ModelEnd("stop", Usage())]


def test_what_a_filter_says_is_the_answer_though_a_tool_was_to_be_called() -> None:
    blocked = [delta(text="Sorry, "), delta(text="no."), {"contentBlockStop": {"contentBlockIndex": 0}}]
    end = {"messageStop": {"stopReason": "guardrail_intervened"}}
    events = list(stream.events([*blocked, end], answer_tool="answer"))
    assert events == [Chunk("Sorry, "), Chunk("no."), stream.ModelEnd("content-filter", Usage())]


def test_a_system_prompt_that_a_model_does_not_take_opens_the_conversation() -> None:
    model = CATALOG["nova-lite"].model_copy(update={"system": False})
    request = converters.to_request(PROMPT, model, Options())
    assert "system" not in request
    assert request["messages"][0]["content"][0] == {"text": "Be kind."}
    assert request["messages"][-1]["content"] == [{"text": PROMPT.facts}, {"text": "hi"}]


def test_the_request_says_what_the_caller_asked_for() -> None:
    request = built("nova-lite", maxTokens=5, temperature=0.0, stop=["END"])
    assert request["modelId"] == "eu.amazon.nova-lite-v1:0"
    assert request["inferenceConfig"] == {"maxTokens": 5, "temperature": 0.0, "stopSequences": ["END"]}
    assert request["messages"][-1]["content"] == [{"text": PROMPT.facts}, {"text": "hi"}]


def test_reasoning_has_its_budget_on_top() -> None:
    request = built("claude-haiku", reasoning="low", maxTokens=100)
    assert request["additionalModelRequestFields"]["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert request["inferenceConfig"] == {"maxTokens": 1124}


def test_a_fallback_is_asked_only_for_what_it_has() -> None:
    wished = Options.model_validate({"maxTokens": 60_000, "reasoning": "high"})
    supported = wishes.supported(CATALOG["nova-pro"], wished)
    assert (supported.max_tokens, supported.reasoning) == (5000, None)


def delta(**content: Any) -> dict[str, Any]:
    return {"contentBlockDelta": {"contentBlockIndex": 0, "delta": content}}


def spoken(*events: dict[str, Any], stop: str = "end_turn") -> Iterator[Any]:
    end = {"metadata": {"usage": {"inputTokens": 9, "outputTokens": 5, "cacheReadInputTokens": 2}}}
    return stream.events([{"messageStart": {}}, *events, {"messageStop": {"stopReason": stop}}, end])


def test_the_order_of_events_is_kept_and_usage_comes_last() -> None:
    citation = {"title": "Rivers", "source": "rivers.md", "sourceContent": [{"text": "a"}, {"text": "b"}]}
    web = {"title": "Site", "location": {"web": {"url": "https://example.org"}}}
    events = list(
        spoken(
            delta(reasoningContent={"text": "hm"}),
            delta(reasoningContent={"signature": "c2ln"}),
            delta(text="hello"),
            delta(citation=citation),
            delta(citation=web),
        )
    )
    assert events == [
        Reasoning("hm"),
        Chunk("hello"),
        Citation("Rivers", None, "rivers.md", "a b"),
        Citation("Site", "https://example.org"),
        stream.ModelEnd("stop", Usage(9, 5, 2, 0, "exact")),
    ]


def started(index: int, identity: str, name: str) -> dict[str, Any]:
    return {
        "contentBlockStart": {"contentBlockIndex": index, "start": {"toolUse": {"toolUseId": identity, "name": name}}}
    }


def fragment(index: int, piece: str) -> dict[str, Any]:
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": {"toolUse": {"input": piece}}}}


def test_a_tools_input_comes_in_fragments_that_mean_nothing_alone() -> None:
    stops = [{"contentBlockStop": {"contentBlockIndex": index}} for index in (1, 2)]
    events = list(
        spoken(
            delta(text="Let me look."),
            started(1, "a", "weather"),
            fragment(1, '{"ci'),
            started(2, "b", "tides"),
            fragment(1, 'ty": "Porto 🌊'),
            fragment(1, '"}'),
            *stops,
            stop="tool_use",
        )
    )
    assert events[:-1] == [
        Chunk("Let me look."),
        Tool("a", "weather", "call", input='{"city": "Porto 🌊"}'),
        Tool("b", "tides", "call", input="{}"),
    ]
    assert isinstance(events[-1], stream.ModelEnd)
    assert events[-1].finish_reason == "tool-calls"


@pytest.mark.parametrize("said", ['{"city": "Por', "[1]", "no json"])
def test_a_tools_input_that_is_no_object_is_malformed(said: str) -> None:
    with pytest.raises(ModelMalformed):
        list(spoken(started(1, "a", "weather"), fragment(1, said), {"contentBlockStop": {"contentBlockIndex": 1}}))


USAGE = {"metadata": {"usage": {"inputTokens": 7, "outputTokens": 4}}}


@pytest.mark.parametrize("said", ["", '{"city": "Por', '{"city": "Porto"}'])
def test_a_call_that_the_limit_cut_is_no_call_and_no_error(said: str) -> None:
    """Its usage is exact, as that of every answer that was cut. Calls before it are whole."""
    end = {"contentBlockStop": {"contentBlockIndex": 1}}
    whole = started(0, "a", "tides"), {"contentBlockStop": {"contentBlockIndex": 0}}
    cut = started(1, "b", "weather"), fragment(1, said), end, {"messageStop": {"stopReason": "max_tokens"}}, USAGE
    assert list(stream.events([*whole, *cut])) == [
        Tool("a", "tides", "call", input="{}"),
        stream.ModelEnd("length", Usage(7, 4, basis="exact")),
    ]


def trace(*actions: str) -> dict[str, Any]:
    """A guardrail's, in the form that Bedrock sends."""
    entities = [{"type": "NAME", "match": "Rex", "action": action, "detected": True} for action in actions]
    said = {"abc": [{"sensitiveInformationPolicy": {"piiEntities": entities}}]}
    return {"metadata": {"trace": {"guardrail": {"modelOutput": ["Rex"], "outputAssessments": said}}}}


INTERVENED = {"messageStop": {"stopReason": "guardrail_intervened"}}


@pytest.mark.parametrize(
    ("told", "finish"),
    [
        ([trace("ANONYMIZED", "NONE")], "stop"),
        ([trace("ANONYMIZED", "BLOCKED")], "content-filter"),
        ([trace("NONE")], "content-filter"),
        ([{"metadata": {}}], "content-filter"),
        ([], "content-filter"),
    ],
    ids=["masked", "masked and blocked", "neither", "no trace", "no metadata"],
)
def test_an_answer_in_which_a_guardrail_only_masked_is_whole(told: list[Any], finish: str) -> None:
    events = list(stream.events([delta(text="{NAME} barks."), INTERVENED, *told], guarded=True))
    assert events[0] == Chunk("{NAME} barks.")
    assert isinstance(events[-1], stream.ModelEnd)
    assert events[-1].finish_reason == finish


def test_a_masked_answer_that_calls_a_tool_ends_with_the_call() -> None:
    called = started(1, "a", "tides"), {"contentBlockStop": {"contentBlockIndex": 1}}
    *_, end = stream.events([delta(text="{NAME}?"), *called, INTERVENED, trace("ANONYMIZED")], guarded=True)
    assert isinstance(end, stream.ModelEnd)
    assert end.finish_reason == "tool-calls"


def test_a_guardrails_own_words_stand_apart_from_what_passed() -> None:
    passed = delta(text="Rivers flow"), {"contentBlockStop": {"contentBlockIndex": 0}}
    own = [{"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"text": text}}} for text in ("Sorry, ", "no.")]
    closed = {"contentBlockStop": {"contentBlockIndex": 1}}
    events = list(stream.events([*passed, *own, closed, INTERVENED, trace("BLOCKED")], guarded=True))
    assert "".join(event.content for event in events if isinstance(event, Chunk)) == "Rivers flow\n\nSorry, no."
    events = list(stream.events([*passed, *own, closed, {"messageStop": {"stopReason": "end_turn"}}], guarded=True))
    assert "".join(event.content for event in events if isinstance(event, Chunk)) == "Rivers flowSorry, no."


def test_half_a_character_in_a_citation_harms_nobody() -> None:
    [citation, _] = spoken(delta(citation={"title": "a\ud83d", "sourceContent": [{"text": "\ude00b"}]}))
    assert citation == Citation("a\ufffd", quote="\ufffdb")


def test_half_a_character_in_a_tool_harms_nobody() -> None:
    """Neither in its name nor in its input, as it is or as an escape."""
    said = '{"city": "Porto \ud83d", "\\udc00": ["\\ud83c\\udf0a", "\\ud83c"]}'
    block = started(1, "a\ud83d", "w\udc00"), fragment(1, said), {"contentBlockStop": {"contentBlockIndex": 1}}
    [call, _] = spoken(*block)
    assert isinstance(call, Tool)
    assert (call.id, call.name) == ("a\ufffd", "w\ufffd")
    shown = to_json(call)
    assert shown["input"] == {"city": "Porto \ufffd", "\ufffd": ["🌊", "\ufffd"]}
    assert log.decode(log.encode([call])) == [call]
    for dialect in (Native("gid"), AiSdk(), OpenAI(0)):
        assert dialect.encode(PositionedEvent(call, 1)).encode()


def test_half_a_character_in_an_unknown_stop_reason_harms_nobody() -> None:
    [end] = spoken(stop="because\ud83d")
    assert isinstance(end, stream.ModelEnd)
    assert end.finish_reason == "because\ufffd"


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("guardrail_intervened", "content-filter"),
        ("content_filtered", "content-filter"),
        ("tool_use", "tool-calls"),
        ("something_new", "something_new"),
    ],
)
def test_stop_reasons(reason: str, finish: str) -> None:
    assert list(spoken(stop=reason))[-1].finish_reason == finish


@pytest.mark.parametrize("reason", sorted(MALFORMED))
def test_a_malformed_answer_is_an_error(reason: str) -> None:
    with pytest.raises(ModelMalformed):
        list(spoken(stop=reason))


def test_no_message_stop_is_an_error_after_everything_was_said() -> None:
    said: list[Any] = []
    with pytest.raises(ModelTruncated):
        said.extend(stream.events([delta(text="half")]))
    events = stream.events([delta(text="half")])
    assert next(events) == Chunk("half")


def test_an_answer_in_one_piece_says_the_same_as_a_stream() -> None:
    whole = {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "x"}}},
                    {"text": "hello"},
                    {"toolUse": {"toolUseId": "a", "name": "weather", "input": {"city": "Porto"}}},
                    {"citationsContent": {"content": [{"text": "cited"}], "citations": [{"title": "T"}]}},
                ],
            }
        },
        "stopReason": "end_turn",
        "usage": {"inputTokens": 9, "outputTokens": 5, "totalTokens": 14},
        "metrics": {"latencyMs": 3},
    }
    response = {"status_code": 200, "headers": {}, "body": json.dumps(whole).encode()}
    parsed = create_parser("rest-json").parse(response, SERVICE.operation_model("Converse").output_shape)
    assert list(stream.events(converters.as_stream(parsed)))[:5] == [
        Reasoning("hm"),
        Chunk("hello"),
        Tool("a", "weather", "call", input='{"city": "Porto"}'),
        Chunk("cited"),
        Citation("T"),
    ]
