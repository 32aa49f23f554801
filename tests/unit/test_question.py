"""The question that the memory is searched with, from the conversation."""

from typing import Literal

import pytest

from converse_stream.memory.question import Question, question_of
from converse_stream.protocol.events import Chunk, Message


def message(text: str, role: Literal["user", "assistant"] = "user") -> Message:
    return Message(id=text, role=role, parts=(Chunk(text),), created_at="2026")


@pytest.mark.parametrize(
    ("history", "previous"),
    [
        ([], ""),
        ([message("rivers"), message("They flow.", "assistant")], "rivers"),
        ([message("tides"), message("rivers"), message("They flow.", "assistant")], "rivers"),
        ([message("They flow.", "assistant")], ""),
        ([message("rivers"), message("How long?"), message("It", "assistant")], "rivers"),  # continued
        ([message("rivers"), message("Thanks!"), message("Welcome.", "assistant")], ""),
    ],
)
def test_question_has_the_previous_message_of_the_user(history: list[Message], previous: str) -> None:
    assert question_of(message("How long?"), history) == Question("How long?", previous)


def test_greeting_is_an_empty_question() -> None:
    assert question_of(message("Hello!"), [message("rivers")]) == Question("")
