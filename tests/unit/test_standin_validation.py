"""Requests that the stand-in refuses, as Bedrock does."""

import copy
from typing import Any

import pytest

from local_stack.bedrock.embeddings import embed, invoke
from local_stack.bedrock.errors import BedrockError, service
from local_stack.bedrock.usage import Meter
from local_stack.bedrock.validation import check_converse

MODEL = "us.amazon.nova-lite-v1:0"
CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
POINT = {"cachePoint": {"type": "default"}}


def user(*blocks: dict[str, Any] | str) -> dict[str, Any]:
    return {"role": "user", "content": [{"text": block} if isinstance(block, str) else block for block in blocks]}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": [{"text": text}]}


def tool_calls(*ids: str, tool_input: Any = None) -> dict[str, Any]:
    uses = [
        {"toolUse": {"toolUseId": identity, "name": "t", "input": {} if tool_input is None else tool_input}}
        for identity in ids
    ]
    return {"role": "assistant", "content": uses}


def tool_result(identity: str) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": identity, "content": [{"text": "It is done."}]}}


GOOD: dict[str, Any] = {
    "messages": [
        user("Hello"),
        tool_calls("a", "b"),
        user(tool_result("b"), tool_result("a")),
        assistant("Hi"),
        user("Tell me about rivers", POINT),
    ],
    "system": [{"text": "Be kind."}, POINT],
    "inferenceConfig": {"maxTokens": 10, "temperature": 0, "stopSequences": ["x"]},
    "toolConfig": {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}]},
}


def tools_with(schema: dict[str, Any]) -> dict[str, Any]:
    return {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": schema}}}]}


@pytest.mark.parametrize("operation", ["Converse", "ConverseStream"])
@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        "amazon.nova-lite-v1:0",
        CLAUDE,
        "vendor.new-model-v1:0",
        "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:000000000000:inference-profile/us.amazon.nova-lite-v1:0",
    ],
    ids=["profile", "model", "claude", "unlisted", "model-arn", "profile-arn"],
)
def test_valid_request_is_accepted(operation: str, model: str) -> None:
    check_converse(operation, model, GOOD)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"messages": []}, "must start with a user message", id="no messages"),
        pytest.param({"messages": [assistant("Hi")]}, "must start with a user message", id="assistant first"),
        pytest.param({"messages": [user("a"), user("b")]}, "must alternate", id="two users"),
        pytest.param({"messages": [user(" \n")]}, "ContentBlock object at messages.0.content.0 is blank", id="blank"),
        pytest.param({"messages": [user()]}, "content field .* at messages.0 is empty", id="no blocks"),
        pytest.param({"messages": [user({})]}, "Must set one of the following keys", id="empty block"),
        pytest.param({"messages": [user({"text": 1})]}, "Invalid type for parameter messages", id="text is a number"),
        pytest.param({"messages": [user({"txt": "a"})]}, 'Unknown parameter in .*: "txt"', id="unknown block"),
        pytest.param(
            {"messages": [{"role": "tool", "content": [{"text": "a"}]}]},
            r"'messages\.0\.role' .*enum",
            id="unknown role",
        ),
        pytest.param({"system": [{"text": ""}]}, "Invalid length for parameter system", id="empty system text"),
        pytest.param({"system": "Be kind."}, "Invalid type for parameter system", id="system is a text"),
        pytest.param({"inferenceConfig": {"maxTokens": 0}}, "maxTokens, value: 0, valid min value: 1", id="no tokens"),
        pytest.param({"inferenceConfig": {"temperature": 1.5}}, "temperature.* at most 1", id="too hot"),
        pytest.param({"inferenceConfig": {"max_tokens": 9}}, 'Unknown parameter .*"max_tokens"', id="wrong option"),
        pytest.param({"stream": True}, 'Unknown parameter in input: "stream"', id="unknown field"),
        pytest.param({"messages": [user("a", *[POINT] * 4)]}, "maximum of 4 cache points.*Found 5", id="cache points"),
        pytest.param({"messages": [user(POINT, "a")]}, "cache point must follow", id="cache point first"),
        pytest.param({"toolConfig": {"tools": []}}, "Invalid length for parameter toolConfig.tools", id="no tools"),
        pytest.param({"toolConfig": {}}, "Missing required parameter in toolConfig", id="tools without tools"),
        pytest.param(
            {"toolConfig": {"tools": [{"toolSpec": {"name": "a b", "inputSchema": {"json": {}}}}]}},
            "regular expression pattern",
            id="a tool's name",
        ),
        pytest.param(
            {"toolConfig": GOOD["toolConfig"] | {"toolChoice": {"tool": {"name": "other"}}}},
            "other in toolConfig.toolChoice",
            id="an unknown tool is chosen",
        ),
        pytest.param(
            {"messages": [user("a"), tool_calls("x", "y"), user(tool_result("x"))]},
            "Expected toolResult blocks at messages.2.content for the following Ids: y",
            id="a call without a result",
        ),
        pytest.param(
            {"messages": [user("a"), assistant("b"), user(tool_result("x"))]},
            "toolResult blocks at messages.2.content exceeds",
            id="a result without a call",
        ),
        pytest.param(
            {"messages": [user("a"), tool_calls("x", tool_input="{}")]}, "Provide a json object", id="input is text"
        ),
        pytest.param(
            {"toolConfig": tools_with({"anyOf": [{"type": "object"}]})},
            "toolConfig.tools.0.toolSpec.inputSchema.json.type must be one of the following: object",
            id="a schema without a type",
        ),
        pytest.param(
            {"toolConfig": tools_with({"type": "array"})},
            "must be one of the following: object",
            id="a schema of a list",
        ),
        pytest.param(
            {"messages": [user("a"), tool_calls("x", "x"), user(tool_result("x"))]},
            "The toolUse blocks at messages.1.content contain duplicate Ids: x",
            id="two calls of one id",
        ),
        pytest.param(
            {"messages": [user("a"), tool_calls("x", "y"), user(tool_result("x"), tool_result("y"), tool_result("x"))]},
            "toolResult blocks at messages.2.content",
            id="two results of one id",
        ),
        pytest.param({"messages": [user("a " * 300_001)]}, "Input is too long for requested model", id="too long"),
    ],
)
def test_invalid_request_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BedrockError, match=message) as caught:
        check_converse("ConverseStream", MODEL, copy.deepcopy(GOOD) | change)
    assert (caught.value.code, caught.value.status) == ("ValidationException", 400)


def test_tool_calls_without_tool_config_are_refused() -> None:
    body = {"messages": [user("a"), tool_calls("x"), user(tool_result("x"))]}
    with pytest.raises(BedrockError, match="toolConfig field must be defined"):
        check_converse("Converse", MODEL, body)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"toolConfig": GOOD["toolConfig"] | {"toolChoice": {"any": {}}}}, "forces tool use"),
        ({"messages": [user("a"), tool_calls("x"), user(tool_result("x"))]}, "must start with a thinking block"),
    ],
    ids=["a forced tool", "a result"],
)
def test_reasoning_with_a_forced_tool_or_a_result_is_refused_for_claude(change: dict[str, Any], message: str) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    body = GOOD | {"inferenceConfig": {}, "additionalModelRequestFields": {"thinking": thinking}} | change
    with pytest.raises(BedrockError, match=message):
        check_converse("ConverseStream", CLAUDE, body)
    check_converse("ConverseStream", CLAUDE, body | {"additionalModelRequestFields": {}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"toolConfig": tools_with({"type": "object", "oneOf": [{"required": ["a"]}]})},
            "tools.0.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
        ),
        (
            {"toolConfig": tools_with({"type": "object", "properties": {"a b": {}}})},
            "tools.0.custom.input_schema.properties: Property keys should match",
        ),
        ({"toolConfig": tools_with({"type": "object", "properties": []})}, "JSON schema is invalid"),
        (
            {"messages": [user("a"), tool_calls("x"), user(tool_result("x")), tool_calls("x"), user(tool_result("x"))]},
            "messages.3.content.0: `tool_use` ids must be unique",
        ),
        ({"messages": [user("a " * 200_001)]}, r"prompt is too long: 20\d{4} tokens > 200000 maximum"),
    ],
    ids=["a choice at the root", "a property's name", "no properties", "an id again", "too long"],
)
def test_request_that_only_claude_refuses_is_refused_for_claude(change: dict[str, Any], message: str) -> None:
    body = GOOD | change
    check_converse("ConverseStream", MODEL, body)
    with pytest.raises(BedrockError, match=message) as caught:
        check_converse("ConverseStream", CLAUDE, body)
    assert caught.value.message.startswith("The model returned the following errors: ")


NOVA, HAIKU = MODEL.removeprefix("us."), CLAUDE.removeprefix("us.")


@pytest.mark.parametrize(
    ("model", "region", "refusal"),
    [
        (MODEL, "us-west-2", None),
        (MODEL, "eu-west-1", "identifier is invalid"),
        (f"eu.{NOVA}", "eu-west-1", None),
        (f"global.{NOVA}", "us-east-1", "identifier is invalid"),
        (NOVA, "us-east-1", None),
        (NOVA, "eu-west-1", "on-demand throughput isn’t supported"),  # noqa: RUF001  # the text of Bedrock
        (CLAUDE, "ca-central-1", None),
        (f"global.{HAIKU}", "sa-east-1", None),
        (f"global.{HAIKU}", "us-gov-west-1", "identifier is invalid"),
        (f"jp.{HAIKU}", "ap-southeast-1", "identifier is invalid"),
        (f"apac.{HAIKU}", "ap-southeast-1", "identifier is invalid"),
        (HAIKU, "us-east-1", f"Invocation of model ID {HAIKU} with on-demand throughput"),
        (HAIKU, None, "Retry your request with the ID or ARN of an inference profile that contains this model"),
        ("vendor.new-model-v1:0", "eu-west-1", None),
    ],
)
def test_model_is_accepted_only_in_its_regions(model: str, region: str | None, refusal: str | None) -> None:
    body = GOOD
    if refusal is None:
        check_converse("Converse", model, body, region)
        return
    with pytest.raises(BedrockError, match=refusal):
        check_converse("Converse", model, body, region)


def test_blank_stop_sequence_is_refused_for_claude() -> None:
    body = GOOD | {"inferenceConfig": {"stopSequences": ["END", "\n"]}}
    check_converse("Converse", MODEL, body)
    with pytest.raises(BedrockError, match="must contain non-whitespace"):
        check_converse("Converse", CLAUDE, body)


@pytest.mark.parametrize("model", ["nova-lite", "", "us.", "amazon.titan-embed-text-v2:0"])
def test_model_without_converse_is_refused(model: str) -> None:
    with pytest.raises(BedrockError, match=r"identifier is invalid|doesn't support"):
        check_converse("Converse", model, GOOD)


@pytest.mark.parametrize("body", [None, [], "text"])
def test_body_that_is_not_an_object_is_refused(body: Any) -> None:
    with pytest.raises(BedrockError, match="not a JSON object"):
        check_converse("Converse", MODEL, body)


def test_error_statuses_are_those_of_the_service_model() -> None:
    statuses = {shape.name: BedrockError(shape.name, "").status for shape in service().error_shapes}
    assert statuses["ThrottlingException"] == statuses["ModelNotReadyException"] == 429
    assert statuses["ModelErrorException"] == 424


def test_cached_prefix_is_written_once_and_then_read() -> None:
    meter = Meter()
    body = {"system": [{"text": "one two three"}, POINT], "messages": [user("four five")]}
    first = meter.usage(MODEL, body, 10)
    again = meter.usage(MODEL, body | {"messages": [user("six", POINT)]}, 0)
    assert first == {
        "inputTokens": 2,
        "outputTokens": 10,
        "totalTokens": 15,
        "cacheReadInputTokens": 0,
        "cacheWriteInputTokens": 3,
    }
    assert (again["cacheReadInputTokens"], again["cacheWriteInputTokens"], again["inputTokens"]) == (3, 1, 0)
    assert meter.usage("other", body, 0)["cacheReadInputTokens"] == 0


def similarity(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(embed(one, 512), embed(other, 512), strict=True))


def test_similar_texts_have_similar_embeddings() -> None:
    dog = "my dog is called Rex"
    assert similarity(dog, dog) == pytest.approx(1)
    assert similarity(dog, "what is the name of my dogs") > 0.3 > similarity(dog, "interest rates in Poland")
    assert similarity("", "") == pytest.approx(1)


@pytest.mark.parametrize("dimensions", [256, 512, 1024])
def test_embedding_has_the_requested_dimensions(dimensions: int) -> None:
    answer = invoke("amazon.titan-embed-text-v2:0", {"inputText": "my dog", "dimensions": dimensions})
    assert len(answer["embedding"]) == dimensions
    assert sum(value**2 for value in answer["embedding"]) == pytest.approx(1)
    assert answer["inputTextTokenCount"] == 2


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("amazon.titan-embed-text-v2:0", {"inputText": ""}),
        ("amazon.titan-embed-text-v2:0", {"inputText": "a", "dimensions": 300}),
        ("amazon.titan-embed-text-v2:0", {"text": "a"}),
        ("amazon.titan-embed-text-v2:0", None),
        ("amazon.nova-lite-v1:0", {"inputText": "a"}),
    ],
    ids=["empty text", "unsupported size", "unknown field", "no body", "another model"],
)
def test_invalid_embedding_request_is_refused(model: str, body: Any) -> None:
    with pytest.raises(BedrockError):
        invoke(model, body)
