"""Signed reasoning in prompts: sent back unchanged and in place to the model that made it, in the turn of its calls."""

from base64 import b64encode
from dataclasses import replace
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from converse_stream.model.adaptation import adapt
from converse_stream.model.capabilities import Model
from converse_stream.model.catalog import Catalog
from converse_stream.model.converters import RequestSettings, to_request
from converse_stream.model.options import to_fields
from converse_stream.prompts.history import history
from converse_stream.prompts.prompt import (
    Content,
    Prompt,
    PromptMessage,
    SignedReasoning,
    ToolResult,
    ToolSpec,
    ToolUse,
    lowest_tokens,
    tokens,
)
from converse_stream.prompts.reasoning import without_earlier_reasoning
from converse_stream.protocol.events import Chunk, Message, Reasoning, ReasoningSignature, RedactedReasoning
from converse_stream.protocol.options import Options

CATALOG = Catalog("us")
CLAUDE = CATALOG["claude-haiku-4-5"]
NAME = CLAUDE.base_id
TEXT = " Two\n\u2028lines, é 🌊 and \t"
DATA = b64encode(bytes(range(256))).decode()
SIGNED, REDACTED = SignedReasoning(TEXT, "c2ln+/==", NAME), RedactedReasoning(DATA, NAME)
SIGNED_BLOCK = {"reasoningContent": {"reasoningText": {"text": TEXT, "signature": "c2ln+/=="}}}
REDACTED_BLOCK = {"reasoningContent": {"redactedContent": bytes(range(256))}}
TOOLS = (ToolSpec("tides", "", {"type": "object"}),)
THINKING = Options(reasoning="low")


def user(*content: Content) -> PromptMessage:
    return PromptMessage("user", content)


def assistant(*content: Content) -> PromptMessage:
    return PromptMessage("assistant", content)


def use(call: str) -> ToolUse:
    return ToolUse(call, "tides", {})


def result(call: str) -> ToolResult:
    return ToolResult(call, "high")


def sent(built: Prompt, model: Model = CLAUDE, options: Options = THINKING) -> dict[str, Any]:
    adapted = adapt(model, built, options)
    return to_request(adapted.prompt, model, adapted.options, RequestSettings())


def prompt(*turns: PromptMessage) -> Prompt:
    return Prompt("", turns[:-1], "", turns[-1], TOOLS)


def messages(built: Prompt, alias: str = "claude-haiku-4-5", options: Options = THINKING) -> list[Any]:
    """The content of the messages of the request. Raises AssertionError if botocore refuses it."""
    request = sent(built, CATALOG[alias], options)
    shape: Any = botocore.session.get_session().get_service_model("bedrock-runtime").operation_model("Converse")
    report = ParamValidator().validate(request, shape.input_shape)
    assert not report.has_errors(), report.generate_report()
    return [message["content"] for message in request["messages"]]


def reasoning_of(contents: list[Any]) -> list[Any]:
    return [block for content in contents for block in content if "reasoningContent" in block]


ONE_CALL = prompt(user("When?"), assistant(SIGNED, REDACTED, "I look.", use("a")), user(result("a")))


def test_blocks_are_sent_unchanged_and_in_place() -> None:
    _, answer, _ = messages(ONE_CALL)
    assert answer[:3] == [SIGNED_BLOCK, REDACTED_BLOCK, {"text": "I look."}]
    assert "toolUse" in answer[3]


def test_block_without_text_is_sent_with_an_empty_text() -> None:
    block = SignedReasoning("", "c2ln", NAME)
    built = prompt(user("When?"), assistant(block, use("a")), user(result("a")))
    assert messages(built)[1][0] == {"reasoningContent": {"reasoningText": {"text": "", "signature": "c2ln"}}}


def test_all_blocks_of_the_turn_are_sent() -> None:
    built = prompt(
        user("Hello"),
        assistant("Hi."),
        user("When?"),
        assistant(SIGNED, use("a")),
        user(result("a")),
        assistant(REDACTED, use("b")),
        user(result("b")),
    )
    assert reasoning_of(messages(built)) == [SIGNED_BLOCK, REDACTED_BLOCK]
    assert without_earlier_reasoning(built) == built


@pytest.mark.parametrize("alias", ["claude-sonnet", "nova-lite"])
def test_blocks_of_another_model_are_left_out(alias: str) -> None:
    assert reasoning_of(messages(ONE_CALL, alias, Options())) == []


@pytest.mark.parametrize("profile", ["us.", "us-gov.", "eu.", "apac.", "jp.", "au.", "ca.", "global.", ""])
def test_model_is_the_same_through_every_inference_profile(profile: str) -> None:
    assert NAME.startswith("anthropic.claude-haiku")
    assert CATALOG[profile + NAME].base_id == NAME


def test_blocks_of_earlier_turns_are_left_out() -> None:
    built = prompt(
        user("When?"),
        assistant(SIGNED, use("a")),
        user(result("a")),
        assistant(REDACTED, "At noon."),
        user("And now?"),
        assistant(SIGNED, use("b")),
        user(result("b")),
    )
    contents = messages(built)
    assert [len(reasoning_of([content])) for content in contents] == [0, 0, 0, 0, 0, 1, 0]
    assert without_earlier_reasoning(built).history[1] == assistant(use("a"))


@pytest.mark.parametrize("last", [("And now?",), (result("a"), "And now?")], ids=["text", "result-and-text"])
def test_text_of_the_user_begins_a_new_turn(last: tuple[Content, ...]) -> None:
    built = prompt(user("When?"), assistant(SIGNED, use("a")), user(result("a")), assistant("Noon."), user("Hm?"))
    assert reasoning_of(messages(built)) == []
    assert reasoning_of(messages(replace(ONE_CALL, turn=user(*last)))) == []


def thinks(built: Prompt) -> bool:
    return "additionalModelRequestFields" in sent(built)


def test_model_thinks_after_tool_results_only_with_its_own_reasoning_before_the_calls() -> None:
    """Otherwise a model with a budget of reasoning tokens refuses the request."""
    question, results = user("When?"), user(result("a"))
    assert thinks(ONE_CALL)
    assert thinks(prompt(question, assistant(REDACTED, use("a")), results))
    assert thinks(prompt(question))
    assert thinks(prompt(question, assistant("Noon."), user("And now?")))
    assert not thinks(prompt(question, assistant(use("a")), results))
    assert not thinks(prompt(question, assistant(replace(SIGNED, model="another"), use("a")), results))
    assert not thinks(prompt(question, assistant("First.", SIGNED, use("a")), results))
    without = sent(prompt(question, assistant(use("a")), results))
    assert without["inferenceConfig"] == to_fields(CLAUDE, Options())["inferenceConfig"]


def test_model_with_adaptive_thinking_may_think_after_tool_results_without_its_earlier_reasoning() -> None:
    built = prompt(user("When?"), assistant(use("a")), user(result("a")))
    assert sent(built, CATALOG["claude-haiku"])["outputConfig"] == {"effort": "low"}


def test_reasoning_counts_in_the_estimate_and_not_in_the_lower_bound() -> None:
    long = replace(SIGNED, text="thought " * 1000)
    built = prompt(user("When?"), assistant(long, use("a")), user(result("a")))
    plain = prompt(user("When?"), assistant(use("a")), user(result("a")))
    assert tokens(built) > tokens(plain) + 1000
    assert lowest_tokens(built) == lowest_tokens(plain)  # a fallback may be another model, which does not get it


def test_stored_history_has_no_reasoning() -> None:
    """The prefix of a stored conversation changes from request to request, so a signature is never valid."""
    parts = (Reasoning("hm"), ReasoningSignature("c2ln", NAME), RedactedReasoning(DATA, NAME), Chunk("Hello!"))
    stored = [Message("q", "user", (Chunk("Hi"),), "t"), Message("a", "assistant", parts, "t")]
    assert history(stored, 1, 1000).turns == (user("Hi"), assistant("Hello!"))
