"""The plan of a generation, from the request and the stored conversation."""

import pytest

from converse_stream.generation.plan import make_plan
from converse_stream.http.bodies import ChatRequest
from converse_stream.memory.lookup import Memory
from converse_stream.protocol.errors import BadRequest
from converse_stream.protocol.events import Chunk, Message, Part, Reasoning, ReasoningSignature, RedactedReasoning
from converse_stream.store.conversations import Conversation
from converse_stream.store.facts import EMPTY_PROFILE


def memory(*parts: Part) -> Memory:
    """The memory of a conversation with one user message and an answer of these parts."""
    question = Message("question", "user", (Chunk("Why?"),), "2026")
    return Memory(Conversation("c", 2), (question, Message("answer", "assistant", parts, "2026")), (), EMPTY_PROFILE)


def action_request(action: str) -> ChatRequest:
    return ChatRequest.model_validate({"action": action, "conversationId": "conversation"})


@pytest.mark.parametrize("parts", [(), (Chunk(" \n"),)])
def test_continue_without_any_text_is_refused(parts: tuple[Part, ...]) -> None:
    """It was cancelled before its first text: the model would continue the previous answer."""
    with pytest.raises(BadRequest, match="There is no answer to regenerate or to continue"):
        make_plan(action_request("continue"), memory(*parts), "gid", 1000)
    assert make_plan(action_request("regenerate"), memory(*parts), "gid", 1000).text == "Why?"


def test_continue_with_text_has_it_as_the_prefix() -> None:
    plan = make_plan(action_request("continue"), memory(Chunk("Because")), "gid", 1000)
    assert plan.prefix == (Chunk("Because"),)
    assert [message.id for message in plan.history] == ["question", "answer"]


def test_continue_has_no_signed_reasoning_in_its_prefix() -> None:
    """The continued answer of a model with long signatures is not too long, and its positions are those of clients."""
    signed = ReasoningSignature("s" * 2000, "claude"), RedactedReasoning("d" * 2000, "claude")
    answer = memory(Reasoning("a"), *signed, Reasoning("b"), Chunk("Because"))
    assert make_plan(action_request("continue"), answer, "gid", 1000).prefix == (Reasoning("ab"), Chunk("Because"))
