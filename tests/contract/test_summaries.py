"""The rolling summary of a conversation, on a real table: what is in it, when it is written, how long it is read."""

import time

import pytest

from converse_stream.container import Container
from converse_stream.store.retention import DAY, Retention
from tests.contract.chat_user import ChatUser


def test_a_long_conversation_is_summed_up_as_it_grows(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=8, history_tokens=1000)
    taken = [chat_user.learn(chat_user.says(f"question {number}", f"answer {number}")) for number in range(4)]
    assert [("summary" in steps) for steps in taken] == [False, True, False, True]
    assert (chat_user.known.summary, chat_user.known.summary_seq) == ("A summary", 8)
    first, second = (prompt.turn.content[0] for prompt in chat_user.model.asked if prompt.system.startswith("Summ"))
    assert first == "User: question 0\n\nAssistant: answer 0\n\nUser: question 1\n\nAssistant: answer 1"
    assert second == (
        "Summary so far: A summary\n\n"
        "User: question 2\n\nAssistant: answer 2\n\nUser: question 3\n\nAssistant: answer 3"
    )
    chat_user.app.erasure.delete_conversation(chat_user.key, chat_user.conversation, float("inf"))
    assert chat_user.known.summary is None


def test_what_a_filter_stopped_is_in_no_summary(app: Container) -> None:
    """It would come back by the summary, or stop every further one."""
    chat_user = ChatUser(app, history_messages=2)
    chat_user.learn(chat_user.says("A forbidden thing", "Stopped.", "content-filter"))
    assert chat_user.known.summary is None
    chat_user.learn(chat_user.says("I sail."))
    [asked] = [prompt.turn.content[0] for prompt in chat_user.model.asked if prompt.system.startswith("Summ")]
    assert asked == "User: I sail.\n\nAssistant: I see."


def test_a_long_message_is_summed_up_at_once(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=40, history_tokens=1000)
    assert "summary" not in chat_user.learn(chat_user.says("I sail."))
    assert "summary" in chat_user.learn(chat_user.says("I sail. " * 300))
    assert chat_user.known.summary_seq == 4


def test_a_summary_does_not_replace_one_that_it_has_not_seen(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=2)
    chat_user.learn(chat_user.says("one"))
    second, third = chat_user.says("two"), chat_user.says("three")

    def overtake() -> None:
        chat_user.model.texts["Summarise"] = "of all three"
        chat_user.learn(third)

    def at_the_summary() -> None:
        if chat_user.model.jobs[-1] == "Summarise":
            chat_user.model.before = lambda: None
            overtake()

    chat_user.model.before = at_the_summary
    assert "summary" not in chat_user.learn(second)
    assert (chat_user.known.summary, chat_user.known.summary_seq) == ("of all three", 6)


def test_a_summary_is_read_as_long_as_the_oldest_message_in_it(app: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    chat_user = ChatUser(app, history_messages=4)
    now = time.time()

    def later(days: float) -> None:
        monkeypatch.setattr(time, "time", lambda: now + days * DAY)

    app.conversations.retention = Retention(3)
    chat_user.learn(chat_user.says("one"))
    later(2)
    app.conversations.retention = Retention(5)  # as messages of two days later would have
    chat_user.model.texts["Summarise"] = "Another summary"
    chat_user.learn(chat_user.says("two"))
    assert chat_user.known.summary == "Another summary"
    later(3.1)
    for known in (app.conversations.recent(chat_user.key, chat_user.conversation, 9)[0], chat_user.known):
        assert known.summary is None
    gid = chat_user.says("three")
    chat_user.model.asked.clear()
    assert "summary" in chat_user.learn(gid)
    [asked] = [str(prompt.turn.content[0]) for prompt in chat_user.model.asked if prompt.system.startswith("Summ")]
    said = ("Summary so far" in asked, "one" in asked, "two" in asked, "three" in asked)
    assert said == (False, False, True, True), "it begins anew, with what may still be read"
    assert (chat_user.known.summary, chat_user.known.summary_seq) == ("Another summary", 6)
