"""The rolling summary of a conversation, on a real table: what is in it, when it is written, how long it is read."""

import re
import time

import pytest

from converse_stream.container import Container
from converse_stream.store.retention import DAY, Retention
from tests.contract.chat_user import ChatUser

SUMMARY = "The user sails from Faro to Olhao with a boat called Nora. " * 10


def summary_requests(chat_user: ChatUser) -> list[str]:
    """The texts of the requests for a summary."""
    prompts = [prompt for prompt in chat_user.model.prompts if prompt.system.startswith("Summ")]
    return [str(prompt.turn.content[0]) for prompt in prompts]


def test_the_summary_is_updated_as_the_conversation_grows(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=8, history_tokens=1000)
    steps_per_turn = [chat_user.learn(chat_user.sends(f"question {number}", f"answer {number}")) for number in range(4)]
    assert [("summary" in steps) for steps in steps_per_turn] == [False, True, False, True]
    assert (chat_user.stored.summary, chat_user.stored.summary_seq) == ("A summary", 8)
    first, second = summary_requests(chat_user)
    assert re.findall(r'from="(\w+)" number="(\d+)">\n(.*)\n', first) == [
        ("user", "1", "question 0"),
        ("assistant", "2", "answer 0"),
        ("user", "3", "question 1"),
        ("assistant", "4", "answer 1"),
    ]
    assert re.findall(r'number="(\d+)">\n(.*)\n', second) == [
        ("5", "question 2"),
        ("6", "answer 2"),
        ("7", "question 3"),
        ("8", "answer 3"),
    ]
    assert ["<summary-so-far>\nA summary\n" in text for text in (first, second)] == [False, True]
    chat_user.app.erasure.delete_conversation(chat_user.key, chat_user.conversation, float("inf"))
    assert chat_user.stored.summary is None


def test_a_filtered_exchange_is_not_in_the_summary(app: Container) -> None:
    """Else the summary would contain the filtered text, or the filter would stop every later summary."""
    chat_user = ChatUser(app, history_messages=2)
    chat_user.learn(chat_user.sends("A forbidden thing", "Stopped.", "content-filter"))
    assert chat_user.stored.summary is None
    chat_user.learn(chat_user.sends("I sail."))
    [text] = summary_requests(chat_user)
    assert re.findall(r'number="(\d+)">\n(.*)\n', text) == [("3", "I sail."), ("4", "I see.")]
    assert chat_user.stored.summary_seq == 4


def test_a_filtered_exchange_after_the_summarized_ones_is_passed_over(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=8)
    chat_user.learn(chat_user.sends("I sail."))
    assert "summary" in chat_user.learn(chat_user.sends("A forbidden thing", "Stopped.", "content-filter"))
    assert chat_user.stored.summary_seq == 4
    assert "forbidden" not in "".join(summary_requests(chat_user))


def test_filtered_exchanges_at_the_start_do_not_prevent_a_summary(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=4)
    for _ in range(4):
        chat_user.learn(chat_user.sends("A forbidden thing", "Stopped.", "content-filter"))
    chat_user.learn(chat_user.sends("I sail."))
    chat_user.learn(chat_user.sends("I row."))
    assert chat_user.stored.summary_seq == 12
    assert "forbidden" not in "".join(summary_requests(chat_user))


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
    [request] = summary_requests(chat_user)
    included = [text in request for text in ("<summary-so-far>", "\none\n", "\ntwo\n", "\nthree\n")]
    assert included == [False, False, True, True], "a new summary of the messages that have not expired"
    assert (chat_user.stored.summary, chat_user.stored.summary_seq) == ("Another summary", 6)


@pytest.mark.parametrize(
    ("answer", "finish_reason"),
    [
        ("The user sails and", "length"),
        ("I'm sorry, but I can't summarize this.", "stop"),
        ("The user sails.", "stop"),
        ("", "stop"),
    ],
    ids=["cut", "declined", "much shorter", "empty"],
)
def test_an_unusable_summary_is_not_stored_and_the_next_task_tries_again(
    app: Container, answer: str, finish_reason: str
) -> None:
    chat_user = ChatUser(app, history_messages=4)
    chat_user.model.texts["Summarise"] = SUMMARY
    chat_user.learn(chat_user.sends("one"))
    chat_user.model.texts["Summarise"], chat_user.model.finish_reason = answer, finish_reason
    assert "summary" not in chat_user.learn(chat_user.sends("two"))
    assert (chat_user.stored.summary, chat_user.stored.summary_seq) == (SUMMARY.strip(), 2)
    chat_user.model.texts["Summarise"], chat_user.model.finish_reason = f"{SUMMARY}And rows.", "stop"
    assert "summary" in chat_user.learn(chat_user.sends("three"))
    assert (chat_user.stored.summary, chat_user.stored.summary_seq) == (f"{SUMMARY}And rows.", 6)
    assert re.findall(r'number="(\d+)"', summary_requests(chat_user)[-1]) == ["3", "4", "5", "6"]


def test_a_conversation_without_a_summary_gets_it_in_several_tasks(app: Container) -> None:
    """As when learning is enabled later. The oldest messages come first."""
    chat_user = ChatUser(app, history_messages=4)
    gids = [chat_user.sends(f"question {number}") for number in range(10)]
    covered = []
    for _ in range(3):
        chat_user.learn(gids[-1])
        covered.append(chat_user.stored.summary_seq)
    assert covered == [8, 16, 20]
    numbers = re.findall(r'number="(\d+)"', "".join(summary_requests(chat_user)))
    assert numbers == [str(number) for number in range(1, 21)]


def test_a_summary_takes_at_most_eight_calls_and_the_next_task_continues(app: Container) -> None:
    chat_user = ChatUser(app)
    gids = [chat_user.sends("sail " * 3_000, "wave " * 3_000) for _ in range(5)]  # each message fills a call
    chat_user.learn(gids[-1])
    assert (len(summary_requests(chat_user)), chat_user.stored.summary_seq) == (8, 8)
    chat_user.learn(chat_user.sends("And now?"))
    assert chat_user.stored.summary_seq == 12
