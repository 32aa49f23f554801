"""Requests that Bedrock would refuse."""

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


def calling(*ids: str, given: Any = None) -> dict[str, Any]:
    uses = [{"toolUse": {"toolUseId": each, "name": "t", "input": {} if given is None else given}} for each in ids]
    return {"role": "assistant", "content": uses}


def result(identity: str) -> dict[str, Any]:
    return {"toolResult": {"toolUseId": identity, "content": [{"text": "It is done."}]}}


GOOD: dict[str, Any] = {
    "messages": [
        user("Hello"),
        calling("a", "b"),
        user(result("b"), result("a")),
        assistant("Hi"),
        user("Tell me about rivers", POINT),
    ],
    "system": [{"text": "Be kind."}, POINT],
    "inferenceConfig": {"maxTokens": 10, "temperature": 0, "topP": 0.9, "stopSequences": ["x"]},
    "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
    "toolConfig": {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": {"type": "object"}}}}]},
}


def offering(schema: dict[str, Any]) -> dict[str, Any]:
    return {"tools": [{"toolSpec": {"name": "t", "inputSchema": {"json": schema}}}]}


@pytest.mark.parametrize("operation", ["Converse", "ConverseStream"])
@pytest.mark.parametrize(
    "model",
    [
        MODEL,
        "amazon.nova-lite-v1:0",
        CLAUDE,
        "somebody.new-model-v1:0",
        "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:000000000000:inference-profile/us.amazon.nova-lite-v1:0",
    ],
    ids=["profile", "model", "claude", "unlisted", "model arn", "profile arn"],
)
def test_takes_what_bedrock_takes(operation: str, model: str) -> None:
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
            {"messages": [user("a"), calling("x", "y"), user(result("x"))]},
            "Expected toolResult blocks at messages.2.content for the following Ids: y",
            id="a call without a result",
        ),
        pytest.param(
            {"messages": [user("a"), assistant("b"), user(result("x"))]},
            "toolResult blocks at messages.2.content exceeds",
            id="a result without a call",
        ),
        pytest.param({"messages": [user("a"), calling("x", given="{}")]}, "Provide a json object", id="input is text"),
        pytest.param(
            {"toolConfig": offering({"anyOf": [{"type": "object"}]})},
            "toolConfig.tools.0.toolSpec.inputSchema.json.type must be one of the following: object",
            id="a schema without a type",
        ),
        pytest.param(
            {"toolConfig": offering({"type": "array"})}, "must be one of the following: object", id="a schema of a list"
        ),
        pytest.param(
            {"messages": [user("a"), calling("x", "x"), user(result("x"))]},
            "The toolUse blocks at messages.1.content contain duplicate Ids: x",
            id="two calls of one id",
        ),
        pytest.param(
            {"messages": [user("a"), calling("x", "y"), user(result("x"), result("y"), result("x"))]},
            "toolResult blocks at messages.2.content",
            id="two results of one id",
        ),
        pytest.param({"messages": [user("a " * 300_001)]}, "Input is too long for requested model", id="too long"),
    ],
)
def test_refuses_what_bedrock_refuses(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BedrockError, match=message) as caught:
        check_converse("ConverseStream", MODEL, copy.deepcopy(GOOD) | change)
    assert (caught.value.code, caught.value.status) == ("ValidationException", 400)


def test_refuses_tools_that_are_not_declared() -> None:
    body = {"messages": [user("a"), calling("x"), user(result("x"))]}
    with pytest.raises(BedrockError, match="toolConfig field must be defined"):
        check_converse("Converse", MODEL, body)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"toolConfig": GOOD["toolConfig"] | {"toolChoice": {"any": {}}}}, "forces tool use"),
        ({"messages": [user("a"), calling("x"), user(result("x"))]}, "must start with a thinking block"),
    ],
    ids=["a forced tool", "a result"],
)
def test_refuses_reasoning_where_claude_does(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BedrockError, match=message):
        check_converse("ConverseStream", CLAUDE, GOOD | change)
    check_converse("ConverseStream", CLAUDE, GOOD | change | {"additionalModelRequestFields": {}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"toolConfig": offering({"type": "object", "oneOf": [{"required": ["a"]}]})},
            "tools.0.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level",
        ),
        (
            {"toolConfig": offering({"type": "object", "properties": {"a b": {}}})},
            "tools.0.custom.input_schema.properties: Property keys should match",
        ),
        ({"toolConfig": offering({"type": "object", "properties": []})}, "JSON schema is invalid"),
        (
            {"messages": [user("a"), calling("x"), user(result("x")), calling("x"), user(result("x"))]},
            "messages.3.content.0: `tool_use` ids must be unique",
        ),
        ({"messages": [user("a " * 200_001)]}, r"prompt is too long: 20\d{4} tokens > 200000 maximum"),
    ],
    ids=["a choice at the root", "a property's name", "no properties", "an id again", "too long"],
)
def test_refuses_what_claude_alone_refuses(change: dict[str, Any], message: str) -> None:
    body = GOOD | {"additionalModelRequestFields": {}} | change
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
        (NOVA, "eu-west-1", "on-demand throughput isn’t supported"),  # noqa: RUF001  # Bedrock's own
        (CLAUDE, "ca-central-1", None),
        (f"global.{HAIKU}", "sa-east-1", None),
        (f"global.{HAIKU}", "us-gov-west-1", "identifier is invalid"),
        (f"jp.{HAIKU}", "ap-southeast-1", "identifier is invalid"),
        (f"apac.{HAIKU}", "ap-southeast-1", "identifier is invalid"),
        (HAIKU, "us-east-1", f"Invocation of model ID {HAIKU} with on-demand throughput"),
        (HAIKU, None, "Retry your request with the ID or ARN of an inference profile that contains this model"),
        ("somebody.new-model-v1:0", "eu-west-1", None),
    ],
)
def test_a_model_is_called_from_where_it_is(model: str, region: str | None, refusal: str | None) -> None:
    body = GOOD | {"additionalModelRequestFields": {}}
    if refusal is None:
        check_converse("Converse", model, body, region)
        return
    with pytest.raises(BedrockError, match=refusal):
        check_converse("Converse", model, body, region)


def test_refuses_to_stop_at_nothing_where_claude_does() -> None:
    body = GOOD | {"inferenceConfig": {"stopSequences": ["END", "\n"]}}
    check_converse("Converse", MODEL, body)
    with pytest.raises(BedrockError, match="must contain non-whitespace"):
        check_converse("Converse", CLAUDE, body)


@pytest.mark.parametrize("model", ["nova-lite", "", "us.", "amazon.titan-embed-text-v2:0"])
def test_refuses_models_that_cannot_converse(model: str) -> None:
    with pytest.raises(BedrockError, match=r"identifier is invalid|doesn't support"):
        check_converse("Converse", model, GOOD)


@pytest.mark.parametrize("body", [None, [], "text"])
def test_refuses_a_body_that_is_no_object(body: Any) -> None:
    with pytest.raises(BedrockError, match="not a JSON object"):
        check_converse("Converse", MODEL, body)


def test_every_status_is_the_service_model_s() -> None:
    statuses = {shape.name: BedrockError(shape.name, "").status for shape in service().error_shapes}
    assert statuses["ThrottlingException"] == statuses["ModelNotReadyException"] == 429
    assert statuses["ModelErrorException"] == 424


def test_a_cached_prefix_is_written_once_and_then_read() -> None:
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


def near(one: str, other: str) -> float:
    return sum(a * b for a, b in zip(embed(one, 512), embed(other, 512), strict=True))


def test_similar_texts_are_near() -> None:
    dog = "my dog is called Rex"
    assert near(dog, dog) == pytest.approx(1)
    assert near(dog, "what is the name of my dogs") > 0.3 > near(dog, "interest rates in Poland")
    assert near("", "") == pytest.approx(1)


@pytest.mark.parametrize("dimensions", [256, 512, 1024])
def test_embeds_in_every_size(dimensions: int) -> None:
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
    ids=["empty text", "odd size", "unknown field", "no body", "another model"],
)
def test_refuses_what_titan_refuses(model: str, body: Any) -> None:
    with pytest.raises(BedrockError):
        invoke(model, body)
