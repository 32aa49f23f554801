"""What a request comes to."""

import pytest

from converse_stream.generation.plan import make_plan
from converse_stream.http.bodies import ChatRequest
from converse_stream.memory.lookup import Memory
from converse_stream.protocol.errors import BadRequest
from converse_stream.protocol.events import Chunk, Message, Part
from converse_stream.store.conversations import Conversation
from converse_stream.store.facts import EMPTY_PROFILE


def memory(*parts: Part) -> Memory:
    """Of a conversation with one question and an answer of these parts."""
    asked = Message("asked", "user", (Chunk("Why?"),), "2026")
    return Memory(Conversation("c", 2), (asked, Message("answer", "assistant", parts, "2026")), (), EMPTY_PROFILE)


def act(action: str) -> ChatRequest:
    return ChatRequest.model_validate({"action": action, "conversationId": "conversation"})


@pytest.mark.parametrize("parts", [(), (Chunk(" \n"),)])
def test_an_answer_without_words_is_not_gone_on_with(parts: tuple[Part, ...]) -> None:
    """It was stopped before its first word: the model would go on from the answer before."""
    with pytest.raises(BadRequest, match="There is no answer to regenerate or to continue"):
        make_plan(act("continue"), memory(*parts), "gid", 1000)
    assert make_plan(act("regenerate"), memory(*parts), "gid", 1000).text == "Why?"


def test_one_that_has_some_is() -> None:
    plan = make_plan(act("continue"), memory(Chunk("Because")), "gid", 1000)
    assert plan.prefix == (Chunk("Because"),)
    assert [message.id for message in plan.history] == ["asked", "answer"]
