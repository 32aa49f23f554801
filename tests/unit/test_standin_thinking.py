"""Reasoning of the stand-in: its forms, its length, its signatures, and the blocks that come back."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from local_stack.bedrock.directives import parse
from local_stack.bedrock.emulated_model import compose
from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.reply import Block, Reply
from local_stack.bedrock.validation import check_converse

HAIKU_4_5 = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
SONNET_4_6 = "us.anthropic.claude-sonnet-4-6"
OPUS_4_8 = "us.anthropic.claude-opus-4-8"
OPUS_5 = "us.anthropic.claude-opus-5"
OPUS_5_5 = "us.anthropic.claude-opus-5-5"
SONNET_5_5 = "us.anthropic.claude-sonnet-5-5"
HAIKU_5_5 = "us.anthropic.claude-haiku-5-5"
NOVA_2 = "us.amazon.nova-2-lite-v1:0"
ASTRA, LUNA, OSS = "us.openai.gpt-6-astra", "us.openai.gpt-6-luna", "openai.gpt-oss-20b-1:0"
BUDGET = {"thinking": {"type": "enabled", "budget_tokens": 1024}}
SUMMARIZED = {"thinking": {"type": "adaptive", "display": "summarized"}}
TOOLS: Any = {
    "tools": [
        {"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in ("tides", "weather")
    ]
}
QUESTION = "Tell me about rivers [[tokens=5 tool=tides]] [[tool=weather]]"


def request(text: str = QUESTION, fields: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": [{"text": text}]}],
        "system": [{"text": "You are kind."}],
        "toolConfig": TOOLS,
        "additionalModelRequestFields": fields or {},
        **more,
    }


def answer(model: str, body: dict[str, Any]) -> Reply:
    check_converse("ConverseStream", model, body)
    texts = [block["text"] for block in body["messages"][-1]["content"] if "text" in block]
    return compose(model, body, parse(texts[-1] if texts else ""))


def reasoning(reply: Reply) -> Block | None:
    return next((block for block in reply.blocks if "reasoningContent" in block.deltas[0]), None)


def text_of(block: Block) -> str:
    return "".join(delta["reasoningContent"].get("text", "") for delta in block.deltas)


def content_of(reply: Reply) -> list[dict[str, Any]]:
    """The content of the assistant's message, as boto3 returns it."""
    content: list[dict[str, Any]] = []
    for block in reply.blocks:
        if block.start:
            content.append({"toolUse": block.start["toolUse"] | {"input": {}}})
        elif "redactedContent" in block.deltas[0].get("reasoningContent", {}):
            content.append(dict(block.deltas[0]))
        elif "reasoningContent" in block.deltas[0]:
            signature = block.deltas[-1]["reasoningContent"]["signature"]
            content.append({"reasoningContent": {"reasoningText": {"text": text_of(block), "signature": signature}}})
        else:
            content.append({"text": "".join(delta["text"] for delta in block.deltas)})
    return content


def with_results(model: str, body: dict[str, Any]) -> dict[str, Any]:
    """The next request of a turn with tools: the answer comes back, with the results of its calls."""
    content = content_of(answer(model, body))
    ids = [block["toolUse"]["toolUseId"] for block in content if "toolUse" in block]
    results = [{"toolResult": {"toolUseId": each, "content": [{"text": "It is done."}]}} for each in ids]
    messages = [{"role": "assistant", "content": content}, {"role": "user", "content": results}]
    return copy.deepcopy(body) | {"messages": copy.deepcopy([*body["messages"], *messages])}


@pytest.mark.parametrize(
    ("model", "fields", "forms"),
    [
        (HAIKU_4_5, {}, None),
        (HAIKU_4_5, {"thinking": {"type": "disabled"}}, None),
        (HAIKU_4_5, BUDGET, ("text", "signature")),
        (SONNET_4_6, {"thinking": {"type": "adaptive"}}, ("text", "signature")),
        (OPUS_4_8, {}, None),
        (OPUS_4_8, {"thinking": {"type": "adaptive"}}, ("signature",)),
        (OPUS_5, {}, ("signature",)),
        (OPUS_5, {"thinking": {"type": "disabled"}}, None),
        (OPUS_5_5, {}, ("signature",)),
        (OPUS_5_5, {"thinking": {"type": "adaptive", "display": "omitted"}}, ("signature",)),
        (OPUS_5_5, SUMMARIZED, ("text", "signature")),
        (NOVA_2, {}, None),
        (NOVA_2, {"reasoningConfig": {"type": "disabled"}}, None),
        (NOVA_2, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, ("text",)),
        (ASTRA, {}, ("redactedContent",)),
        (LUNA, {"reasoning": {"effort": "none"}}, None),
        (OSS, {"reasoning": {"effort": "low"}}, ("text",)),
        (OSS, {"reasoning": {"effort": "none"}}, None),
    ],
)
def test_reasoning_has_the_form_of_its_model(model: str, fields: dict[str, Any], forms: tuple[str, ...] | None) -> None:
    block = reasoning(answer(model, request(fields=fields)))
    if forms is None:
        assert block is None
        return
    assert block is not None
    kinds = [next(iter(delta["reasoningContent"])) for delta in block.deltas]
    assert tuple(dict.fromkeys(kinds)) == forms
    if model == NOVA_2:
        assert text_of(block) == "[REDACTED]"
    assert block.cost > 5


@pytest.mark.parametrize(
    ("model", "requests"),
    [
        (
            OPUS_5_5,
            [request(outputConfig={"effort": effort}) for effort in ("low", "medium", "high", "xhigh", "max")],
        ),
        (OSS, [request(fields={"reasoning": {"effort": effort}}) for effort in ("low", "medium", "high")]),
        (
            NOVA_2,
            [
                request(fields={"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}})
                for effort in ("low", "medium", "high")
            ],
        ),
    ],
    ids=["claude", "openai", "nova"],
)
def test_more_effort_costs_more_tokens(model: str, requests: list[dict[str, Any]]) -> None:
    blocks = [reasoning(answer(model, body)) for body in requests]
    costs = [block.cost for block in blocks if block]
    assert len(costs) == len(requests)
    assert costs == sorted(set(costs))


TITLE: dict[str, Any] = {"system": [{"text": "Write a title of at most six words."}]}


def test_title_of_a_model_that_always_reasons_is_empty_without_room() -> None:
    body = request("Tell me about rivers", **TITLE)
    del body["toolConfig"]
    empty = answer(OPUS_5_5, body | {"inferenceConfig": {"maxTokens": 30}})
    assert empty == Reply((), "max_tokens", spent=30)
    visible = answer(
        OPUS_5_5, body | {"inferenceConfig": {"maxTokens": 30}, "additionalModelRequestFields": SUMMARIZED}
    )
    assert [set(delta) for block in visible.blocks for delta in block.deltas] == [{"reasoningContent"}] * 30
    assert visible.stop_reason == "max_tokens"
    for room in ({"inferenceConfig": {"maxTokens": 300}}, {"outputConfig": {"effort": "low"}}):
        filled = answer(OPUS_5_5, body | {"inferenceConfig": {"maxTokens": 30}} | room)
        assert content_of(filled)[-1] == {"text": "Rivers"}


TURNS = [
    (HAIKU_4_5, BUDGET),
    (SONNET_4_6, {"thinking": {"type": "adaptive"}}),
    (OPUS_5, SUMMARIZED),
    (OPUS_5_5, {}),
    (SONNET_5_5, SUMMARIZED),
]


@pytest.mark.parametrize(("model", "fields"), TURNS)
@pytest.mark.parametrize("directive", ["", " [[redacted]]"])
def test_unchanged_blocks_are_accepted_and_reasoning_goes_on(
    model: str, fields: dict[str, Any], directive: str
) -> None:
    first = request(QUESTION + directive, fields)
    second = with_results(model, first)
    second["messages"][-1]["content"].append({"text": f"And lakes? {QUESTION}"})
    third = with_results(model, second)
    assert len(third["messages"]) == 5
    assert reasoning(answer(model, third)) is not None


def test_text_between_tool_calls_is_reasoning_since_opus_5_5() -> None:
    for model, has_text in ((OPUS_5, True), (OPUS_5_5, False)):
        second = with_results(model, request(fields=SUMMARIZED))
        second["messages"][-1]["content"].append({"text": QUESTION})
        content = content_of(answer(model, second))
        assert any("text" in block for block in content) is has_text
        [thought, *_] = content
        assert ("Earlier you asked" in thought["reasoningContent"]["reasoningText"]["text"]) is not has_text


def test_guardrail_counts_the_words_after_reasoning_without_text() -> None:
    guardrail = {"guardrailIdentifier": "abc", "guardrailVersion": "1", "streamProcessingMode": "sync"}
    blocked = answer(OPUS_5_5, request("Tell me about rivers [[tokens=9 block=4]]", guardrailConfig=guardrail))
    [_, passed, _] = blocked.blocks
    assert len(passed.deltas) == 4


Change = Callable[[dict[str, Any]], None]


def block_of(body: dict[str, Any]) -> dict[str, Any]:
    text: dict[str, Any] = body["messages"][1]["content"][0]["reasoningContent"]["reasoningText"]
    return text


def edit_text(body: dict[str, Any]) -> None:
    block_of(body)["text"] += " And more."


def edit_signature(body: dict[str, Any]) -> None:
    block_of(body)["signature"] = "bm90IG91cnM="


def no_signature(body: dict[str, Any]) -> None:
    del block_of(body)["signature"]


def empty_signature(body: dict[str, Any]) -> None:
    block_of(body)["signature"] = ""


def move_block(body: dict[str, Any]) -> None:
    content = body["messages"][1]["content"]
    content.append(content.pop(0))


def drop_call(body: dict[str, Any]) -> None:
    del body["messages"][1]["content"][-1]
    del body["messages"][2]["content"][-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit_text, "messages.1.content.0: Invalid `signature` in `thinking` block"),
        (edit_signature, "messages.1.content.0: Invalid `signature` in `thinking` block"),
        (no_signature, "messages.1.content.0.thinking.signature: Field required"),
        (empty_signature, "messages.1.content.0.thinking.signature: Field required"),
        (
            drop_call,
            "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest .* cannot be modified",
        ),
    ],
)
@pytest.mark.parametrize(("model", "fields"), TURNS)
def test_changed_block_is_refused(model: str, fields: dict[str, Any], change: Change, message: str) -> None:
    body = with_results(model, request(fields=fields))
    check_converse("ConverseStream", model, body)
    change(body)
    with pytest.raises(BedrockError, match=message) as caught:
        check_converse("ConverseStream", model, body)
    assert caught.value.message.startswith("The model returned the following errors: ")


def test_moved_block_is_refused() -> None:
    body = with_results(OPUS_5, request())
    move_block(body)
    with pytest.raises(BedrockError, match=r"messages\.1\.content\.3: .* cannot be modified"):
        check_converse("ConverseStream", OPUS_5, body)


@pytest.mark.parametrize("directive", ["", " [[redacted]]"])
@pytest.mark.parametrize(("made_by", "sent_to"), [(OPUS_5, OPUS_5_5), (OPUS_5_5, HAIKU_5_5), (SONNET_4_6, HAIKU_4_5)])
def test_block_of_another_model_is_refused(made_by: str, sent_to: str, directive: str) -> None:
    body = with_results(made_by, request(QUESTION + directive, {"thinking": {"type": "adaptive"}}))
    body["additionalModelRequestFields"] = {}
    with pytest.raises(BedrockError, match=r"messages\.1\.content\.0: Invalid"):
        check_converse("ConverseStream", sent_to, body)
    check_converse("ConverseStream", made_by.replace("us.", "global."), body)


@pytest.mark.parametrize("model", ["us.amazon.nova-lite-v1:0", NOVA_2, OSS])
def test_signed_block_is_refused_by_a_model_that_is_not_claude(model: str) -> None:
    body = with_results(HAIKU_4_5, request(fields=BUDGET)) | {"additionalModelRequestFields": {}}
    with pytest.raises(BedrockError, match=r"reasoningContent|signature"):
        check_converse("ConverseStream", model, body)


def change_system(body: dict[str, Any]) -> None:
    body["system"].append({"text": "Be brief."})


def change_tools(body: dict[str, Any]) -> None:
    body["toolConfig"]["tools"].reverse()


def change_question(body: dict[str, Any]) -> None:
    body["messages"][0]["content"].insert(0, {"text": "A reminder."})


def add_cache_points(body: dict[str, Any]) -> None:
    point = {"cachePoint": {"type": "default"}}
    body["system"].append(point)
    body["toolConfig"]["tools"].append(point)
    body["messages"][0]["content"].append(point)


@pytest.mark.parametrize("model", [OPUS_5_5, SONNET_5_5, HAIKU_5_5, "us.anthropic.claude-fable-5-1"])
@pytest.mark.parametrize(
    ("change", "part"), [(change_system, "system"), (change_tools, "tools"), (change_question, "messages")]
)
def test_block_behind_another_prefix_is_refused_since_5_5(model: str, change: Change, part: str) -> None:
    body = with_results(model, request())
    change(body)
    message = rf"messages\.1\.content\.0: Invalid `signature` .* bound to a different conversation.* `{part}`"
    with pytest.raises(BedrockError, match=message):
        check_converse("ConverseStream", model, body)
    older = with_results(OPUS_5, request())
    change(older)
    check_converse("ConverseStream", OPUS_5, older)


def test_cache_points_are_no_part_of_the_prefix() -> None:
    body = with_results(OPUS_5_5, request())
    add_cache_points(body)
    check_converse("ConverseStream", OPUS_5_5, body)


@pytest.mark.parametrize(("model", "fields"), TURNS[1:])
def test_model_with_adaptive_thinking_stops_to_reason_without_its_blocks(model: str, fields: dict[str, Any]) -> None:
    body = with_results(model, request(fields=fields))
    del body["messages"][1]["content"][0]
    assert reasoning(answer(model, body)) is None


def test_model_with_a_budget_refuses_a_turn_without_its_blocks() -> None:
    body = with_results(HAIKU_4_5, request(fields=BUDGET))
    del body["messages"][1]["content"][0]
    with pytest.raises(BedrockError, match=r"messages\.1\.content\.0\.type: Expected `thinking`.* found `text`"):
        check_converse("ConverseStream", HAIKU_4_5, body)
