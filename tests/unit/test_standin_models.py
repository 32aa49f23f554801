"""Requests that the stand-in refuses because of their model, as Bedrock does."""

from dataclasses import replace
from typing import Any

import pytest

from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.model_table import MODELS
from local_stack.bedrock.models import Lifecycle
from local_stack.bedrock.validation import check_converse

HAIKU_4_5 = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
SONNET_4_6 = "us.anthropic.claude-sonnet-4-6"
OPUS_4_5 = "us.anthropic.claude-opus-4-5-20251101-v1:0"
OPUS_4_7 = "us.anthropic.claude-opus-4-7"
OPUS_4_8 = "us.anthropic.claude-opus-4-8"
OPUS_5 = "us.anthropic.claude-opus-5"
SONNET_5 = "us.anthropic.claude-sonnet-5"
OPUS_5_5 = "us.anthropic.claude-opus-5-5"
SONNET_5_5 = "us.anthropic.claude-sonnet-5-5"
HAIKU_5_5 = "us.anthropic.claude-haiku-5-5"
FABLE = "us.anthropic.claude-fable-5-1"
NEWER = "us.anthropic.claude-opus-6"
MICRO, LITE, PRO = (f"us.amazon.nova-{size}-v1:0" for size in ("micro", "lite", "pro"))
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
ASTRA, LUNA, OSS = "us.openai.gpt-6-astra", "us.openai.gpt-6-luna", "openai.gpt-oss-120b-1:0"
UNLISTED = "vendor.new-model-v1:0"
APPLICATION = "arn:aws:bedrock:us-east-1:000000000000:application-inference-profile/abc123def456"
PROVISIONED = "arn:aws:bedrock:us-east-1:000000000000:provisioned-model/abc123def456"
IMPORTED = "arn:aws:bedrock:us-east-1:000000000000:imported-model/abc123def456"
SINCE_4_7 = [OPUS_4_7, OPUS_4_8, OPUS_5, SONNET_5, OPUS_5_5, SONNET_5_5, HAIKU_5_5, FABLE, NEWER]

TOOLS: Any = {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}]}
IMAGE = {"image": {"format": "png", "source": {"bytes": "aGk="}}}
DOCUMENT = {"document": {"format": "pdf", "name": "a", "source": {"bytes": "aGk="}}}
VIDEO = {"video": {"format": "mp4", "source": {"bytes": "aGk="}}}
PREFILL = [{"role": "user", "content": [{"text": "a"}]}, {"role": "assistant", "content": [{"text": "b"}]}]
SCHEMA = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": '{"type": "string"}'}}}}


def options(**values: Any) -> dict[str, Any]:
    return {"inferenceConfig": values}


def fields(**values: Any) -> dict[str, Any]:
    return {"additionalModelRequestFields": values}


def thinking(kind: str, **values: Any) -> dict[str, Any]:
    return fields(thinking={"type": kind, **values})


def effort(value: str) -> dict[str, Any]:
    return {"outputConfig": {"effort": value}}


def content(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"text": "Look"}, *blocks]}]}


def forced(**choice: Any) -> dict[str, Any]:
    return {"toolConfig": TOOLS | {"toolChoice": choice}}


def cached(*ttls: str | None) -> dict[str, Any]:
    points = [{"cachePoint": {"type": "default"} | ({"ttl": ttl} if ttl else {})} for ttl in ttls]
    return {"system": [block for point in points for block in ({"text": "Be kind."}, point)]}


def check(model: str, request: dict[str, Any], operation: str = "Converse") -> None:
    check_converse(operation, model, content() | request)


BUDGET = thinking("enabled", budget_tokens=1_024)
ANY_TOOL, NAMED_TOOL = forced(any={}), forced(tool={"name": "t"})
EXTENDED_ONLY = '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and'

REFUSED = [
    *[(model, options(temperature=0.5), "`temperature` is deprecated for this model") for model in SINCE_4_7],
    *[(model, options(topP=0.9), "`top_p` is deprecated for this model") for model in SINCE_4_7],
    *[(model, fields(top_k=5), "`top_k` is deprecated for this model") for model in SINCE_4_7],
    *[(model, BUDGET, EXTENDED_ONLY) for model in SINCE_4_7],
    *[(model, {"messages": PREFILL}, "not support assistant message prefill") for model in [SONNET_4_6, *SINCE_4_7]],
    *[
        (model, thinking("disabled"), '"thinking.type.disabled" is not supported for this model')
        for model in (OPUS_5_5, SONNET_5_5, FABLE, NEWER)
    ],
    *[
        (model, choice, 'tool_choice: type "tool" and "any" are not supported for this model')
        for model in (OPUS_5_5, SONNET_5_5, FABLE, NEWER)
        for choice in (ANY_TOOL, NAMED_TOOL)
    ],
    (HAIKU_4_5, BUDGET | ANY_TOOL, "Thinking may not be enabled when tool_choice forces tool use"),
    (OPUS_4_7, thinking("adaptive") | NAMED_TOOL, "Thinking may not be enabled when tool_choice forces tool use"),
    (HAIKU_4_5, options(temperature=0.5, topP=0.9), "cannot both be specified for this model"),
    (HAIKU_4_5, BUDGET | options(maxTokens=1_024), "`max_tokens` must be greater than `thinking.budget_tokens`"),
    (HAIKU_4_5, thinking("enabled", budget_tokens=1_023), "Input should be greater than or equal to 1024"),
    (HAIKU_4_5, thinking("enabled"), "budget_tokens: Field required"),
    (HAIKU_4_5, BUDGET | options(temperature=0.5), "`temperature` may only be set to 1"),
    (HAIKU_4_5, BUDGET | options(topP=0.9), "`top_p` must be greater than or equal to 0.95"),
    (HAIKU_4_5, fields(thinking={"type": "enabled", "budget_tokens": 1_024}, top_k=5), "`top_k` must be unset"),
    (SONNET_4_6, thinking("adaptive") | options(temperature=0.5), "may only be set to 1 when .* or in adaptive mode"),
    (HAIKU_4_5, thinking("adaptive"), "adaptive thinking is not supported on this model"),
    (HAIKU_4_5, fields(thinking="on"), "thinking: Input should be an object"),
    (HAIKU_4_5, thinking("often"), "Input tag 'often' found using 'type'"),
    (HAIKU_4_5, effort("low"), "This model does not support the effort parameter"),
    (OPUS_4_5, effort("max"), "output_config.effort: Input should be 'low', 'medium' or 'high'"),
    (SONNET_4_6, effort("xhigh"), "Input should be 'low', 'medium', 'high' or 'max'"),
    (OPUS_5, effort("extreme"), "Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"),
    (OPUS_5, fields(output_config={"effort": "extreme"}), "Input should be"),
    (OPUS_5, thinking("disabled") | effort("xhigh"), '"thinking.type.disabled" is not supported with effort'),
    (OPUS_5, fields(reasoningConfig={"type": "enabled"}), "reasoningConfig: Extra inputs are not permitted"),
    (LITE, effort("low"), "doesn't support the outputConfig.effort field"),
    (LITE, BUDGET, r"extraneous key \[thinking\] is not permitted"),
    (LITE, fields(top_k=5), r"extraneous key \[top_k\] is not permitted"),
    (PRO, fields(reasoningConfig={"type": "enabled"}), "the provided reasoning config value is invalid"),
    (NOVA_2, fields(reasoningConfig={"type": "enabled"}), "the provided reasoning config value is invalid"),
    (NOVA_2, fields(reasoningConfig={"type": "on", "maxReasoningEffort": "low"}), "reasoning config value is invalid"),
    *[
        (
            NOVA_2,
            fields(reasoningConfig={"type": "enabled", "maxReasoningEffort": "high"}) | options(**{name: 1}),
            f"{name} must be unset if maxReasoningEffort is high",
        )
        for name in ("temperature", "topP", "maxTokens")
    ],
    (ASTRA, fields(reasoning={"effort": "none"}), "'none' is not supported with the 'gpt-6-astra' model"),
    (OSS, fields(reasoning={"effort": "max"}), "Supported values are: 'none', 'low', 'medium' and 'high'"),
    (ASTRA, BUDGET, "Unknown parameter: 'thinking'"),
    (ASTRA, fields(reasoning_effort="low"), "Unknown parameter: 'reasoning_effort'"),
    (MICRO, content(IMAGE), "doesn't support the image field for user messages"),
    (MICRO, content(DOCUMENT), "doesn't support the document field"),
    (MICRO, content(VIDEO), "doesn't support the video field"),
    (OPUS_5, content(VIDEO), "doesn't support the video field"),
    (OSS, content(IMAGE), "doesn't support the image field"),
    (MICRO, options(maxTokens=5_001), "exceeds the model limit of 5000. Try again with .* lower than 5000"),
    (OPUS_5_5, options(maxTokens=128_001), "exceeds the model limit of 128000"),
    (HAIKU_4_5, content({"text": "[[input=200001]]"}), "prompt is too long: 200001 tokens > 200000 maximum"),
    (LITE, {"outputConfig": SCHEMA}, "doesn't support the outputConfig.textFormat field"),
    (LITE, cached("1h"), "Extended TTL prompt caching is only supported for Anthropic models"),
    (OPUS_5, cached("5m", "1h"), "system.2.cache_control.ttl: a ttl='1h' .* must not come after a ttl='5m'"),
    (OPUS_5, cached(None, "1h"), "must not come after a ttl='5m'"),
    (LITE, {"serviceTier": {"type": "priority"}}, "service tier is not supported"),
    (LITE, {"performanceConfig": {"latency": "optimized"}}, "Latency performance configuration is not supported"),
    ("mistral.mistral-7b-instruct-v0:2", {"system": [{"text": "Be kind."}]}, "doesn't support system messages"),
    ("anthropic.claude-opus-5-5", {}, "Invocation of model ID anthropic.claude-opus-5-5 with on-demand throughput"),
    ("amazon.nova-2-lite-v1:0", {}, "with on-demand throughput"),
    ("apac.amazon.nova-2-lite-v1:0", {}, "identifier is invalid"),
    ("jp.anthropic.claude-opus-5", {}, "identifier is invalid"),
    ("us-gov.anthropic.claude-sonnet-5-5", {}, "identifier is invalid"),
]


@pytest.mark.parametrize(("model", "request_fields", "message"), REFUSED)
def test_request_is_refused_by_its_model(model: str, request_fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BedrockError, match=message) as caught:
        check(model, request_fields)
    assert (caught.value.code, caught.value.status) == ("ValidationException", 400)


ACCEPTED = [
    (HAIKU_4_5, options(temperature=0.5)),
    (HAIKU_4_5, BUDGET | options(maxTokens=1_025, temperature=1)),
    (HAIKU_4_5, thinking("disabled") | ANY_TOOL | options(temperature=0)),
    (HAIKU_4_5, {"messages": PREFILL}),
    (SONNET_4_6, BUDGET),
    (SONNET_4_6, thinking("adaptive") | effort("max")),
    (OPUS_4_5, BUDGET | effort("high")),
    (OPUS_4_8, thinking("adaptive") | ANY_TOOL),
    (OPUS_5, thinking("disabled") | effort("high")),
    (OPUS_5_5, thinking("adaptive", display="summarized") | effort("xhigh")),
    (OPUS_5_5, {"toolConfig": TOOLS}),
    (HAIKU_5_5, thinking("disabled") | ANY_TOOL),
    (OPUS_5, cached("1h", "5m", None)),
    (OPUS_5, content(IMAGE, DOCUMENT) | options(maxTokens=128_000)),
    (NOVA_2, content(VIDEO) | fields(reasoningConfig={"type": "enabled", "maxReasoningEffort": "high"})),
    (NOVA_2, fields(reasoningConfig={"type": "enabled", "maxReasoningEffort": "low"}) | options(maxTokens=9, topP=0.5)),
    (LUNA, fields(reasoning={"effort": "none"})),
    (OSS, fields(reasoning={"effort": "none"})),
    (OSS, fields(reasoning_effort="low")),
    (MICRO, options(maxTokens=5_000, temperature=0.5, topP=0.5)),
    (PRO, {"serviceTier": {"type": "flex"}, "performanceConfig": {"latency": "optimized"}}),
    *[
        (
            model,
            BUDGET
            | content(IMAGE, VIDEO)
            | options(maxTokens=1_000_000, temperature=0.5, topP=0.5)
            | cached("1h")
            | effort("x")
            | ANY_TOOL,
        )
        for model in (UNLISTED, APPLICATION, PROVISIONED, IMPORTED)
    ],
]


@pytest.mark.parametrize(("model", "request_fields"), ACCEPTED)
def test_request_is_accepted_by_its_model(model: str, request_fields: dict[str, Any]) -> None:
    check(model, request_fields)


def test_image_in_a_tool_result_is_refused_by_openai_alone() -> None:
    result = {"toolResult": {"toolUseId": "x", "content": [IMAGE]}}
    messages = [
        content()["messages"][0],
        {"role": "assistant", "content": [{"toolUse": {"toolUseId": "x", "name": "t", "input": {}}}]},
        {"role": "user", "content": [result]},
    ]
    check(HAIKU_4_5, {"messages": messages, "toolConfig": TOOLS})
    with pytest.raises(BedrockError, match="doesn't support the image field"):
        check(ASTRA, {"messages": messages, "toolConfig": TOOLS})


@pytest.mark.parametrize(
    "model",
    [
        "us.meta.llama3-3-70b-instruct-v1:0",
        "us.meta.llama4-maverick-17b-instruct-v1:0",
        "mistral.mistral-large-2402-v1:0",
        "mistral.mixtral-8x7b-instruct-v0:1",
        "us.mistral.pixtral-large-2502-v1:0",
        "us.deepseek.r1-v1:0",
    ],
)
def test_tools_are_refused_in_streams_by_some_models(model: str) -> None:
    check(model, {"toolConfig": TOOLS})
    check(model, {}, "ConverseStream")
    with pytest.raises(BedrockError, match="doesn't support tool use in streaming mode"):
        check(model, {"toolConfig": TOOLS}, "ConverseStream")


@pytest.mark.parametrize("model", [OSS, "qwen.qwen3-vl-235b-a22b", ASTRA])
def test_cache_point_is_denied_by_a_model_without_caching(model: str) -> None:
    with pytest.raises(BedrockError, match="did not allow prompt caching") as caught:
        check(model, cached(None))
    assert (caught.value.code, caught.value.status) == ("AccessDeniedException", 403)


@pytest.mark.parametrize(
    "model",
    [
        "us.amazon.nova-premier-v1:0",
        "anthropic.claude-3-haiku-20240307-v1:0",
        "us.anthropic.claude-3-5-haiku-20241022-v1:0",
        "us.meta.llama3-2-11b-instruct-v1:0",
    ],
)
def test_model_at_its_end_of_life_is_not_found(model: str) -> None:
    with pytest.raises(BedrockError, match=r"reached the end of its life\. Please refer") as caught:
        check(model, {})
    assert (caught.value.code, caught.value.status) == ("ResourceNotFoundException", 404)


def test_legacy_model_is_closed_to_an_account_that_has_not_used_it() -> None:
    name = SONNET_5.removeprefix("us.")
    legacy = {**MODELS, name: replace(MODELS[name], lifecycle=Lifecycle("LEGACY"))}
    closed = {**MODELS, name: replace(MODELS[name], lifecycle=Lifecycle("LEGACY", closed=True))}
    check_converse("Converse", SONNET_5, content(), models=legacy)
    with pytest.raises(BedrockError, match=r"marked by provider as Legacy .* not been actively using") as caught:
        check_converse("Converse", SONNET_5, content(), models=closed)
    assert caught.value.code == "ResourceNotFoundException"


@pytest.mark.parametrize(
    "model", ["us.anthropic.claude-opus-6", "global.anthropic.claude-sonnet-5-6", "eu.anthropic.claude-7-haiku"]
)
def test_claude_that_is_newer_than_the_listed_ones_refuses_what_the_newest_does(model: str) -> None:
    check(model, {"toolConfig": TOOLS})
    for refused in (options(temperature=0.5), BUDGET, {"messages": PREFILL}, ANY_TOOL):
        with pytest.raises(BedrockError):
            check(model, refused)


@pytest.mark.parametrize(
    "arn", ["arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", "application-inference-profile/abc"]
)
def test_invalid_arn_is_refused(arn: str) -> None:
    with pytest.raises(BedrockError, match="identifier is invalid"):
        check(arn, {})
