"""Each message of a long conversation is in the history of the next prompt or in the summary.

A full history begins again where half of its tokens and messages lie behind, and keeps this beginning until it is full.
"""

import re
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest

from converse_stream.protocol.events import Chunk, Message
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.store.conversations import Conversation
from converse_stream.tasks.learn import LearnSteps
from tests.unit.scripted_model import ScriptedModel

TOKENS, COUNT = 12_000, 40  # of the history
TURNS = 60


@dataclass
class StoredConversation:
    """A conversation in memory, with what the step `summary` uses of the table."""

    stored: list[Message] = field(default_factory=list)
    state: Conversation = field(default_factory=lambda: Conversation("c"))

    def add(self, *texts: str) -> None:
        for text in texts:
            number = len(self.stored)
            role: Any = ("user", "assistant")[number % 2]
            self.stored.append(Message(f"m{number}", role, (Chunk(text),), "2026-01-01T00:00:00Z"))

    def oldest_messages(self, _: str, __: str, *, after: int, until: int, limit: int) -> list[tuple[int, Message]]:
        return list(enumerate(self.stored, 1))[after : min(until, after + limit)]

    def summary_part(self, _: str, __: Conversation, text: str, seq: int, ___: str) -> Conversation:
        return replace(self.state, summary=text, summary_seq=seq)

    def store(self, parts: Any) -> bool:
        self.state = parts[0]
        return True

    def learn(self, model: ScriptedModel) -> bool:
        facts = SimpleNamespace(learning_allowed_part=lambda _: None)
        settings = SimpleNamespace(history_tokens=TOKENS, history_messages=COUNT)
        app: Any = SimpleNamespace(settings=settings, conversations=self, learned_marks=self, facts=facts)
        record: Any = SimpleNamespace(seq=len(self.stored), model="nova-lite")
        return LearnSteps(app, model.task, "user", record, self.state, "", "2026").summary()


def first_of(sizes: list[int], tokens: int, count: int) -> int:
    """The number of the first of the newest messages that fit."""
    first = len(sizes) + 1
    while first > 1 and sum(sizes[first - 2 :]) <= tokens and len(sizes) - first + 2 <= count:
        first -= 1
    return first


@pytest.mark.parametrize(
    ("question", "answer"),
    [(5, 700), (5, 40), (600, 700), (5, 4_000), (3_000, 10)],
    ids=["long answers", "many messages", "both long", "very long answers", "long questions"],
)
def test_each_message_is_in_the_newest_half_of_the_history_or_in_the_summary(question: int, answer: int) -> None:
    conversation, model, sizes, first = StoredConversation(), ScriptedModel("A summary."), list[int](), 1
    for _ in range(TURNS):
        conversation.add("words " * question, "words " * answer)
        conversation.learn(model)
        sizes = [estimate_tokens(message.text) for message in conversation.stored]
        summarized = conversation.state.summary_seq
        assert first_of(sizes, TOKENS // 2, COUNT // 2) <= summarized + 1
        if sum(sizes[first - 1 :]) > TOKENS or len(sizes) - first + 1 > COUNT:
            first = first_of(sizes, TOKENS // 2, COUNT // 2)
        assert first <= summarized + 1, "a message that left the history is in the summary"
    assert first > 1
    numbers = [int(number) for number in re.findall(r'number="(\d+)"(?: part="1 |>)', "".join(model.texts))]
    assert numbers == list(range(1, conversation.state.summary_seq + 1)), "each message once"


def test_summary_is_not_updated_after_each_answer() -> None:
    conversation, model = StoredConversation(), ScriptedModel("A summary.")
    updates = 0
    for _ in range(TURNS):
        conversation.add("Why?", "words " * 700)
        updates += conversation.learn(model)
    assert 5 <= updates <= TURNS // 5
