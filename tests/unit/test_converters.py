"""Requests to Bedrock pass botocore's validator, and Bedrock's events become events of this project."""

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from unittest import mock

import botocore.session
import pytest
from botocore.validate import ParamValidator

from converse_stream.dialects.ai_sdk.frames import AiSdk
from converse_stream.dialects.native import Native, to_json
from converse_stream.dialects.openai.frames import OpenAI
from converse_stream.model import converters, stream
from converse_stream.model import options as model_options
from converse_stream.model.allowed import AllowedModels
from converse_stream.model.catalog import Catalog
from converse_stream.model.client import ModelClient
from converse_stream.model.converters import Guardrail, RequestSettings
from converse_stream.model.transport import Bedrock
from converse_stream.prompts.prompt import Prompt, PromptMessage, ToolSpec
from converse_stream.protocol import log
from converse_stream.protocol.errors import BadRequest, ModelMalformed, ModelTruncated
from converse_stream.protocol.events import (
    Chunk,
    Citation,
    Reasoning,
    ReasoningSignature,
    RedactedReasoning,
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


def build_request(alias: str, prompt: Prompt = PROMPT, guardrail: Guardrail | None = None, **options: Any) -> Any:
    allowed = AllowedModels(CATALOG, ["*"], "nova-lite")
    models = ModelClient(mock.create_autospec(Bedrock), CATALOG, allowed, RequestSettings(guardrail))
    return models.request(prompt, alias, Options.model_validate(options))


def build_body(alias: str, prompt: Prompt = PROMPT, **options: Any) -> dict[str, Any]:
    request: dict[str, Any] = build_request(alias, prompt, **options)[1]
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
def test_bedrock_accepts_the_request_with_every_supported_option(
    alias: str, options: dict[str, Any], prompt: Prompt, guardrail: Guardrail | None
) -> None:
    """Checked by botocore's validator and the stand-in's rules, for all options that the model supports."""
    try:
        model_options.check(CATALOG[alias], Options.model_validate(options), tools=prompt.tools)
    except BadRequest:
        return
    operation, request = build_request(alias, prompt, guardrail, **options)
    report = ParamValidator().validate(request, SERVICE.operation_model(operation).input_shape)
    assert not report.has_errors(), report.generate_report()
    body = {name: value for name, value in request.items() if name != "modelId"}
    check_converse(operation, request["modelId"], body)
    assert [message["role"] for message in request["messages"]] == [turn.role for turn in prompt.history] + ["user"]


def test_facts_and_documents_are_between_history_and_message() -> None:
    prompt = replace(
        PROMPT, summary="a summary", facts="facts", documents="documents", turn=PromptMessage("user", ("And now?",))
    )
    last = build_body("nova-lite", prompt)["messages"][-1]
    assert last == {
        "role": "user",
        "content": [{"text": text} for text in ("a summary", "facts", "documents", "And now?")],
    }


def test_guardrail_checks_only_the_new_message_and_the_documents() -> None:
    """A history sent by the caller is not trusted: then the guardrail checks all messages."""
    prompt = replace(PROMPT, summary="a summary", facts="facts", documents="documents", stored=True)
    assert build_request("nova-lite", prompt, GUARDRAIL)[1]["messages"][-1]["content"] == [
        {"text": "a summary"},
        {"text": "facts"},
        {"guardContent": {"text": {"text": "documents"}}},
        {"guardContent": {"text": {"text": "hi"}}},
    ]
    for whole in (
        build_body("nova-lite", prompt),
        build_request("nova-lite", replace(prompt, stored=False), GUARDRAIL)[1],
    ):
        assert "guardContent" not in repr(whole)
    first = replace(prompt, history=(), summary="", facts="", documents="")
    model = replace(CATALOG["nova-lite"], system_prompt=False)
    [opening] = converters.to_request(first, model, Options(), RequestSettings(GUARDRAIL))["messages"]
    assert opening["content"] == [{"text": "Be kind."}, {"guardContent": {"text": {"text": "hi"}}}]


def test_guardrail_of_a_stream_has_a_processing_mode() -> None:
    config = {"guardrailIdentifier": "abc", "guardrailVersion": "1", "trace": "enabled"}
    assert build_request("nova-lite", guardrail=GUARDRAIL)[1]["guardrailConfig"] == config | {
        "streamProcessingMode": "sync"
    }
    assert build_request("nova-micro", guardrail=GUARDRAIL)[1]["guardrailConfig"] == config


def test_schema_becomes_an_output_format_or_a_forced_tool() -> None:
    text_format = build_body("claude-haiku", schema=SCHEMA)["outputConfig"]["textFormat"]
    assert json.loads(text_format["structure"]["jsonSchema"]["schema"]) == SCHEMA | {"additionalProperties": False}
    config = build_body("nova-lite", schema=SCHEMA)["toolConfig"]
    assert config["toolChoice"] == {"tool": {"name": "answer"}}
    assert config["tools"][0]["toolSpec"]["inputSchema"] == {"json": SCHEMA}


def test_input_of_the_answer_tool_is_the_answer() -> None:
    deltas = (
        delta(text="I shall."),
        tool_start(1, "a", "answer"),
        tool_fragment(1, '{"city"'),
        tool_fragment(1, ': "Porto"}'),
    )
    stops = [{"contentBlockStop": {"contentBlockIndex": index}} for index in (0, 1)]
    end = {"messageStop": {"stopReason": "tool_use"}}
    events = list(stream.events([*deltas, *stops, end], answer_tool="answer"))
    assert events == [Chunk('{"city"'), Chunk(': "Porto"}'), stream.ModelEnd("stop", Usage())]


def test_text_of_the_guardrail_is_the_answer_instead_of_the_answer_tool() -> None:
    blocked = [delta(text="Sorry, "), delta(text="no."), {"contentBlockStop": {"contentBlockIndex": 0}}]
    end = {"messageStop": {"stopReason": "guardrail_intervened"}}
    events = list(stream.events([*blocked, end], answer_tool="answer"))
    assert events == [Chunk("Sorry, "), Chunk("no."), stream.ModelEnd("content-filter", Usage())]


def test_unsupported_system_prompt_is_the_first_text_of_the_conversation() -> None:
    model = replace(CATALOG["nova-lite"], system_prompt=False)
    request = converters.to_request(PROMPT, model, Options(), RequestSettings())
    assert "system" not in request
    assert request["messages"][0]["content"][0] == {"text": "Be kind."}
    assert request["messages"][-1]["content"] == [{"text": PROMPT.facts}, {"text": "hi"}]


def test_request_contains_the_options_of_the_caller() -> None:
    request = build_body("nova-lite", maxTokens=5, temperature=0.0, stop=["END"])
    assert request["modelId"] == "eu.amazon.nova-lite-v1:0"
    assert request["inferenceConfig"] == {"maxTokens": 5, "temperature": 0.0, "stopSequences": ["END"]}
    assert request["messages"][-1]["content"] == [{"text": PROMPT.facts}, {"text": "hi"}]


def test_reasoning_budget_is_added_to_max_tokens() -> None:
    request = build_body("claude-haiku-4-5", reasoning="low", maxTokens=100)
    assert request["additionalModelRequestFields"]["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert request["inferenceConfig"] == {"maxTokens": 1124}


def delta(**content: Any) -> dict[str, Any]:
    return {"contentBlockDelta": {"contentBlockIndex": 0, "delta": content}}


def model_events(*events: dict[str, Any], stop: str = "end_turn") -> Iterator[Any]:
    end = {"metadata": {"usage": {"inputTokens": 9, "outputTokens": 5, "cacheReadInputTokens": 2}}}
    return stream.events([{"messageStart": {}}, *events, {"messageStop": {"stopReason": stop}}, end], model="claude")


def reasoning_delta(index: int, **content: Any) -> dict[str, Any]:
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": {"reasoningContent": content}}}


def block_stop(index: int) -> dict[str, Any]:
    return {"contentBlockStop": {"contentBlockIndex": index}}


def test_signature_ends_its_block_in_one_delta_in_pieces_or_without_text() -> None:
    events = model_events(
        reasoning_delta(0, text="one"),
        reasoning_delta(0, text=" and"),
        reasoning_delta(0, signature="c2ln"),
        block_stop(0),
        reasoning_delta(1, text="two"),
        reasoning_delta(1, signature="c2"),
        reasoning_delta(1, signature="ln"),
        block_stop(1),
        reasoning_delta(2, signature="ZW1wdHk="),
        block_stop(2),
        reasoning_delta(3, redactedContent="AP8="),
        reasoning_delta(3, redactedContent="AQ=="),
        block_stop(3),
        reasoning_delta(4, text="unsigned"),
        block_stop(4),
        tool_start(5, "a", "tides"),
        block_stop(5),
        stop="tool_use",
    )
    assert list(events)[:-1] == [
        Reasoning("one"),
        Reasoning(" and"),
        ReasoningSignature("c2ln", "claude"),
        Reasoning("two"),
        ReasoningSignature("c2ln", "claude"),
        ReasoningSignature("ZW1wdHk=", "claude"),
        RedactedReasoning("AP8B", "claude"),
        Reasoning("unsigned"),
        Tool("a", "tides", "call", input="{}"),
    ]


def test_surrogate_at_the_end_of_reasoning_is_before_the_signature() -> None:
    events = model_events(reasoning_delta(0, text="a\ud83c"), reasoning_delta(0, signature="c2ln"), block_stop(0))
    assert list(events)[:-1] == [Reasoning("a"), Reasoning("\ufffd"), ReasoningSignature("c2ln", "claude")]


def test_reasoning_that_is_cut_has_no_signature() -> None:
    received: list[Any] = []
    with pytest.raises(ModelTruncated):
        received.extend(stream.events([reasoning_delta(0, text="hm"), reasoning_delta(0, signature="c2")]))
    assert ReasoningSignature("c2", "") not in received


def test_signature_that_no_item_can_hold_is_not_kept() -> None:
    largest = "a" * stream.MAX_SIGNATURE
    for signature, expected in ((largest, largest), (largest + "a", "")):
        events = model_events(reasoning_delta(0, signature=signature), block_stop(0))
        assert list(events)[:-1] == [ReasoningSignature(expected, "claude")]
    redacted = bytes(3 * stream.MAX_SIGNATURE // 4)
    for data, count in ((redacted, 1), (redacted + b"a", 0)):
        events = model_events(reasoning_delta(0, redactedContent=b64encode(data).decode()), block_stop(0))
        assert len(list(events)[:-1]) == count


def test_events_keep_their_order_and_end_with_usage() -> None:
    citation = {"title": "Rivers", "source": "rivers.md", "sourceContent": [{"text": "a"}, {"text": "b"}]}
    web = {"title": "Site", "location": {"web": {"url": "https://example.org"}}}
    events = list(
        model_events(
            delta(reasoningContent={"text": "hm"}),
            delta(reasoningContent={"signature": "c2ln"}),
            delta(text="hello"),
            delta(citation=citation),
            delta(citation=web),
        )
    )
    assert events == [
        Reasoning("hm"),
        ReasoningSignature("c2ln", "claude"),
        Chunk("hello"),
        Citation("Rivers", None, "rivers.md", "a b"),
        Citation("Site", "https://example.org"),
        stream.ModelEnd("stop", Usage(9, 5, 2, 0, "exact")),
    ]


def tool_start(index: int, identity: str, name: str) -> dict[str, Any]:
    return {
        "contentBlockStart": {"contentBlockIndex": index, "start": {"toolUse": {"toolUseId": identity, "name": name}}}
    }


def tool_fragment(index: int, text: str) -> dict[str, Any]:
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": {"toolUse": {"input": text}}}}


def test_tool_input_is_joined_from_its_fragments() -> None:
    stops = [{"contentBlockStop": {"contentBlockIndex": index}} for index in (1, 2)]
    events = list(
        model_events(
            delta(text="Let me look."),
            tool_start(1, "a", "weather"),
            tool_fragment(1, '{"ci'),
            tool_start(2, "b", "tides"),
            tool_fragment(1, 'ty": "Porto 🌊'),
            tool_fragment(1, '"}'),
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


@pytest.mark.parametrize("tool_input", ['{"city": "Por', "[1]", "no json"])
def test_tool_input_that_is_not_an_object_is_malformed(tool_input: str) -> None:
    with pytest.raises(ModelMalformed):
        list(
            model_events(
                tool_start(1, "a", "weather"),
                tool_fragment(1, tool_input),
                {"contentBlockStop": {"contentBlockIndex": 1}},
            )
        )


USAGE = {"metadata": {"usage": {"inputTokens": 7, "outputTokens": 4}}}


@pytest.mark.parametrize("tool_input", ["", '{"city": "Por', '{"city": "Porto"}'])
def test_tool_call_truncated_by_the_limit_is_omitted_without_error(tool_input: str) -> None:
    """The usage of a truncated answer is exact. Earlier calls are complete."""
    end = {"contentBlockStop": {"contentBlockIndex": 1}}
    whole = tool_start(0, "a", "tides"), {"contentBlockStop": {"contentBlockIndex": 0}}
    cut = (
        tool_start(1, "b", "weather"),
        tool_fragment(1, tool_input),
        end,
        {"messageStop": {"stopReason": "max_tokens"}},
        USAGE,
    )
    assert list(stream.events([*whole, *cut])) == [
        Tool("a", "tides", "call", input="{}"),
        stream.ModelEnd("length", Usage(7, 4, basis="exact")),
    ]


def trace(*actions: str) -> dict[str, Any]:
    """The trace of a guardrail, as Bedrock sends it."""
    entities = [{"type": "NAME", "match": "Rex", "action": action, "detected": True} for action in actions]
    assessments = {"abc": [{"sensitiveInformationPolicy": {"piiEntities": entities}}]}
    return {"metadata": {"trace": {"guardrail": {"modelOutput": ["Rex"], "outputAssessments": assessments}}}}


INTERVENED = {"messageStop": {"stopReason": "guardrail_intervened"}}


@pytest.mark.parametrize(
    ("metadata", "finish"),
    [
        ([trace("ANONYMIZED", "NONE")], "stop"),
        ([trace("ANONYMIZED", "BLOCKED")], "content-filter"),
        ([trace("NONE")], "content-filter"),
        ([{"metadata": {}}], "content-filter"),
        ([], "content-filter"),
    ],
    ids=["masked", "masked-and-blocked", "neither", "no-trace", "no-metadata"],
)
def test_finish_reason_follows_the_actions_of_the_guardrail(metadata: list[Any], finish: str) -> None:
    events = list(stream.events([delta(text="{NAME} barks."), INTERVENED, *metadata], guarded=True))
    assert events[0] == Chunk("{NAME} barks.")
    assert isinstance(events[-1], stream.ModelEnd)
    assert events[-1].finish_reason == finish


def test_masked_answer_with_a_tool_call_ends_with_tool_calls() -> None:
    called = tool_start(1, "a", "tides"), {"contentBlockStop": {"contentBlockIndex": 1}}
    *_, end = stream.events([delta(text="{NAME}?"), *called, INTERVENED, trace("ANONYMIZED")], guarded=True)
    assert isinstance(end, stream.ModelEnd)
    assert end.finish_reason == "tool-calls"


def test_text_of_the_guardrail_is_a_separate_paragraph() -> None:
    passed = delta(text="Rivers flow"), {"contentBlockStop": {"contentBlockIndex": 0}}
    own = [{"contentBlockDelta": {"contentBlockIndex": 1, "delta": {"text": text}}} for text in ("Sorry, ", "no.")]
    closed = {"contentBlockStop": {"contentBlockIndex": 1}}
    events = list(stream.events([*passed, *own, closed, INTERVENED, trace("BLOCKED")], guarded=True))
    assert "".join(event.content for event in events if isinstance(event, Chunk)) == "Rivers flow\n\nSorry, no."
    events = list(stream.events([*passed, *own, closed, {"messageStop": {"stopReason": "end_turn"}}], guarded=True))
    assert "".join(event.content for event in events if isinstance(event, Chunk)) == "Rivers flowSorry, no."


def test_lone_surrogate_in_a_citation_is_replaced() -> None:
    [citation, _] = model_events(delta(citation={"title": "a\ud83d", "sourceContent": [{"text": "\ude00b"}]}))
    assert citation == Citation("a\ufffd", quote="\ufffdb")


def test_lone_surrogate_in_a_tool_call_is_replaced() -> None:
    """In its name and in its input, raw or as a JSON escape."""
    tool_input = '{"city": "Porto \ud83d", "\\udc00": ["\\ud83c\\udf0a", "\\ud83c"]}'
    block = (
        tool_start(1, "a\ud83d", "w\udc00"),
        tool_fragment(1, tool_input),
        {"contentBlockStop": {"contentBlockIndex": 1}},
    )
    [call, _] = model_events(*block)
    assert isinstance(call, Tool)
    assert (call.id, call.name) == ("a\ufffd", "w\ufffd")
    converted = to_json(call)
    assert converted["input"] == {"city": "Porto \ufffd", "\ufffd": ["🌊", "\ufffd"]}
    assert log.decode(log.encode([call])) == [call]
    for dialect in (Native("gid"), AiSdk(), OpenAI(0)):
        assert dialect.encode(PositionedEvent(call, 1)).encode()


def test_lone_surrogate_in_an_unknown_stop_reason_is_replaced() -> None:
    [end] = model_events(stop="because\ud83d")
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
def test_stop_reason_becomes_the_finish_reason(reason: str, finish: str) -> None:
    assert list(model_events(stop=reason))[-1].finish_reason == finish


@pytest.mark.parametrize("reason", sorted(MALFORMED))
def test_malformed_stop_reason_is_an_error(reason: str) -> None:
    with pytest.raises(ModelMalformed):
        list(model_events(stop=reason))


def test_missing_message_stop_is_an_error_after_all_text() -> None:
    received: list[Any] = []
    with pytest.raises(ModelTruncated):
        received.extend(stream.events([delta(text="half")]))
    events = stream.events([delta(text="half")])
    assert next(events) == Chunk("half")


def test_converse_response_gives_the_same_events_as_a_stream() -> None:
    whole = {
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "x"}}},
                    {"reasoningContent": {"redactedContent": "AP8="}},
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
    assert list(stream.events(converters.as_stream(whole), model="claude"))[:7] == [
        Reasoning("hm"),
        ReasoningSignature("x", "claude"),
        RedactedReasoning("AP8=", "claude"),
        Chunk("hello"),
        Tool("a", "weather", "call", input='{"city": "Porto"}'),
        Chunk("cited"),
        Citation("T"),
    ]
