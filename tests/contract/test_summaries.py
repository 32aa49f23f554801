"""The rolling summary of a conversation, on a real table: what is in it, when it is written, how long it is read."""

import time

import pytest

from converse_stream.container import Container
from converse_stream.store.retention import DAY, Retention
from tests.contract.chat_user import ChatUser


def test_the_summary_is_updated_as_the_conversation_grows(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=8, history_tokens=1000)
    steps_per_turn = [chat_user.learn(chat_user.sends(f"question {number}", f"answer {number}")) for number in range(4)]
    assert [("summary" in steps) for steps in steps_per_turn] == [False, True, False, True]
    assert (chat_user.stored.summary, chat_user.stored.summary_seq) == ("A summary", 8)
    first, second = (prompt.turn.content[0] for prompt in chat_user.model.prompts if prompt.system.startswith("Summ"))
    assert first == "User: question 0\n\nAssistant: answer 0\n\nUser: question 1\n\nAssistant: answer 1"
    assert second == (
        "Summary so far: A summary\n\n"
        "User: question 2\n\nAssistant: answer 2\n\nUser: question 3\n\nAssistant: answer 3"
    )
    chat_user.app.erasure.delete_conversation(chat_user.key, chat_user.conversation, float("inf"))
    assert chat_user.stored.summary is None


def test_a_filtered_exchange_is_not_in_the_summary(app: Container) -> None:
    """Else the summary would contain the filtered text, or the filter would stop every later summary."""
    chat_user = ChatUser(app, history_messages=2)
    chat_user.learn(chat_user.sends("A forbidden thing", "Stopped.", "content-filter"))
    assert chat_user.stored.summary is None
    chat_user.learn(chat_user.sends("I sail."))
    [summary_prompt] = [
        prompt.turn.content[0] for prompt in chat_user.model.prompts if prompt.system.startswith("Summ")
    ]
    assert summary_prompt == "User: I sail.\n\nAssistant: I see."


def test_a_long_message_is_summarized_immediately(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=40, history_tokens=1000)
    assert "summary" not in chat_user.learn(chat_user.sends("I sail."))
    assert "summary" in chat_user.learn(chat_user.sends("I sail. " * 300))
    assert chat_user.stored.summary_seq == 4


def test_a_summary_does_not_replace_a_newer_one(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=2)
    chat_user.learn(chat_user.sends("one"))
    second, third = chat_user.sends("two"), chat_user.sends("three")

    def summarize_newer() -> None:
        chat_user.model.texts["Summarise"] = "of all three"
        chat_user.learn(third)

    def before_summary() -> None:
        if chat_user.model.jobs[-1] == "Summarise":
            chat_user.model.before_answer = lambda: None
            summarize_newer()

    chat_user.model.before_answer = before_summary
    assert "summary" not in chat_user.learn(second)
    assert (chat_user.stored.summary, chat_user.stored.summary_seq) == ("of all three", 6)


def test_a_summary_expires_with_its_oldest_message(app: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    chat_user = ChatUser(app, history_messages=4)
    now = time.time()

    def later(days: float) -> None:
        monkeypatch.setattr(time, "time", lambda: now + days * DAY)

    app.conversations.retention = Retention(3)
    chat_user.learn(chat_user.sends("one"))
    later(2)
    app.conversations.retention = Retention(5)  # as for messages two days later
    chat_user.model.texts["Summarise"] = "Another summary"
    chat_user.learn(chat_user.sends("two"))
    assert chat_user.stored.summary == "Another summary"
    later(3.1)
    for conversation in (app.conversations.recent(chat_user.key, chat_user.conversation, 9)[0], chat_user.stored):
        assert conversation.summary is None
    gid = chat_user.sends("three")
    chat_user.model.prompts.clear()
    assert "summary" in chat_user.learn(gid)
    [summary_prompt] = [
        str(prompt.turn.content[0]) for prompt in chat_user.model.prompts if prompt.system.startswith("Summ")
    ]
    included = [text in summary_prompt for text in ("Summary so far", "one", "two", "three")]
    assert included == [False, False, True, True], "a new summary of the messages that have not expired"
    assert (chat_user.stored.summary, chat_user.stored.summary_seq) == ("Another summary", 6)
