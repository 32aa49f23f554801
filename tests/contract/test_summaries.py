"""The rolling summary of a conversation, on a real table: what is in it, when it is written, how long it is read."""

import time

import pytest

from converse_stream.application import Application
from converse_stream.store.retention import DAY, Retention
from tests.contract.somebody import Somebody


def test_a_long_conversation_is_summed_up_as_it_grows(app: Application) -> None:
    somebody = Somebody(app, history_messages=8, history_tokens=1000)
    taken = [somebody.learn(somebody.says(f"question {number}", f"answer {number}")) for number in range(4)]
    assert [("summary" in steps) for steps in taken] == [False, True, False, True]
    assert (somebody.known.summary, somebody.known.summarised) == ("A summary", 8)
    first, second = (prompt.turn.content[0] for prompt in somebody.model.asked if prompt.system.startswith("Summ"))
    assert first == "User: question 0\n\nAssistant: answer 0\n\nUser: question 1\n\nAssistant: answer 1"
    assert second == (
        "Summary so far: A summary\n\n"
        "User: question 2\n\nAssistant: answer 2\n\nUser: question 3\n\nAssistant: answer 3"
    )
    somebody.app.erasure.conversation(somebody.key, somebody.conversation, float("inf"))
    assert somebody.known.summary is None


def test_what_a_filter_stopped_is_in_no_summary(app: Application) -> None:
    """It would come back by the summary, or stop every further one."""
    somebody = Somebody(app, history_messages=2)
    somebody.learn(somebody.says("A forbidden thing", "Stopped.", "content-filter"))
    assert somebody.known.summary is None
    somebody.learn(somebody.says("I sail."))
    [asked] = [prompt.turn.content[0] for prompt in somebody.model.asked if prompt.system.startswith("Summ")]
    assert asked == "User: I sail.\n\nAssistant: I see."


def test_a_long_message_is_summed_up_at_once(app: Application) -> None:
    somebody = Somebody(app, history_messages=40, history_tokens=1000)
    assert "summary" not in somebody.learn(somebody.says("I sail."))
    assert "summary" in somebody.learn(somebody.says("I sail. " * 300))
    assert somebody.known.summarised == 4


def test_a_summary_does_not_replace_one_that_it_has_not_seen(app: Application) -> None:
    somebody = Somebody(app, history_messages=2)
    somebody.learn(somebody.says("one"))
    second, third = somebody.says("two"), somebody.says("three")

    def overtake() -> None:
        somebody.model.texts["Summarise"] = "of all three"
        somebody.learn(third)

    def at_the_summary() -> None:
        if somebody.model.jobs[-1] == "Summarise":
            somebody.model.before = lambda: None
            overtake()

    somebody.model.before = at_the_summary
    assert "summary" not in somebody.learn(second)
    assert (somebody.known.summary, somebody.known.summarised) == ("of all three", 6)


def test_a_summary_is_read_as_long_as_the_oldest_message_in_it(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody = Somebody(app, history_messages=4)
    now = time.time()

    def later(days: float) -> None:
        monkeypatch.setattr(time, "time", lambda: now + days * DAY)

    app.conversations.retention = Retention(3)
    somebody.learn(somebody.says("one"))
    later(2)
    app.conversations.retention = Retention(5)  # as messages of two days later would have
    somebody.model.texts["Summarise"] = "Another summary"
    somebody.learn(somebody.says("two"))
    assert somebody.known.summary == "Another summary"
    later(3.1)
    for known in (app.conversations.recent(somebody.key, somebody.conversation, 9)[0], somebody.known):
        assert known.summary is None
    gid = somebody.says("three")
    somebody.model.asked.clear()
    assert "summary" in somebody.learn(gid)
    [asked] = [str(prompt.turn.content[0]) for prompt in somebody.model.asked if prompt.system.startswith("Summ")]
    said = ("Summary so far" in asked, "one" in asked, "two" in asked, "three" in asked)
    assert said == (False, False, True, True), "it begins anew, with what may still be read"
    assert (somebody.known.summary, somebody.known.summarised) == ("Another summary", 6)
