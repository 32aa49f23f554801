"""What is learned of an answer, on a real table: each step once, whatever breaks a task off."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converse_stream.container import Container
from converse_stream.dispatch.learning import Learning
from converse_stream.flags.feature_flags import FlagProvider, flags_of
from converse_stream.limits import Budget
from converse_stream.protocol.errors import (
    DispatchFailed,
    FlagsUnavailable,
    ModelInvalidRequest,
    ModelUnavailable,
    StorageError,
)
from converse_stream.store import erasure_mark, keys
from converse_stream.store.facts import Profile
from tests.contract.chat_user import FACTS, ChatUser, SmallModel
from tests.contract.test_erasure import of


def test_each_step_is_taken_once(chat_user: ChatUser) -> None:
    gid = chat_user.says("I sail.")
    assert chat_user.learn(gid) == ["title", "facts"]
    assert (chat_user.known.title, chat_user.facts) == ("A title", ["The user sails."])
    assert chat_user.learn(gid) == []
    assert chat_user.model.jobs == ["Write", "Extract"]
    assert chat_user.facts == ["The user sails."]


@pytest.mark.parametrize("broken", ["Write", "Extract"])
def test_a_step_that_fails_is_all_that_is_tried_again(chat_user: ChatUser, broken: str) -> None:
    gid = chat_user.says("I sail.")
    chat_user.model.broken = {broken}
    with pytest.raises(ModelUnavailable):
        chat_user.learn(gid)
    chat_user.model.broken = set()
    chat_user.model.asked.clear()
    assert len(chat_user.learn(gid)) == 1
    assert chat_user.model.jobs == [broken]
    assert (chat_user.known.title, chat_user.facts) == ("A title", ["The user sails."])


def test_a_table_that_fails_leaves_nothing_half_done(chat_user: ChatUser, monkeypatch: pytest.MonkeyPatch) -> None:
    gid = chat_user.says("I sail.")

    def fail(_: Any) -> None:
        raise StorageError

    with monkeypatch.context() as failing:
        failing.setattr(chat_user.app.learned_marks._table, "transact", fail)
        with pytest.raises(StorageError):
            chat_user.learn(gid)
    assert (chat_user.known.title, chat_user.facts) == (None, [])
    assert chat_user.learn(gid) == ["title", "facts"]


def test_two_tasks_at_once_store_one(chat_user: ChatUser) -> None:
    gid = chat_user.says("I sail.")
    twin: list[Any] = []
    chat_user.while_asked(lambda: twin.append(chat_user.learn(gid)))
    assert chat_user.learn(gid) == []
    assert twin == [["title", "facts"]]
    assert chat_user.facts == ["The user sails."]


def test_a_title_that_comes_first_stays(chat_user: ChatUser) -> None:
    gid = chat_user.says("I sail.")
    chat_user.while_asked(lambda: chat_user.app.conversations.rename(chat_user.key, chat_user.conversation, "My own"))
    assert chat_user.learn(gid) == ["facts"]
    assert chat_user.known.title == "My own"


def test_a_title_does_not_come_into_what_is_deleted_meanwhile(chat_user: ChatUser) -> None:
    gid = chat_user.says("I sail.")
    chat_user.while_asked(lambda: chat_user.app.conversations.mark_deleted(chat_user.key, chat_user.conversation))
    chat_user.learn(gid)
    assert chat_user.known.title is None


def test_erasure_wins(chat_user: ChatUser) -> None:
    gid = chat_user.says("I sail.")
    chat_user.while_asked(lambda: chat_user.app.erasure.erase_user(chat_user.key, float("inf")))
    assert chat_user.learn(gid) == []
    assert (chat_user.facts, chat_user.known.updated_at) == ([], None)


@pytest.mark.parametrize("name", ["null", '"Iris"'])
def test_nothing_is_learned_while_all_is_erased(app: Container, name: str) -> None:
    """From a conversation that erasure has not reached yet, because the index is late."""
    chat_user = ChatUser(app, history_messages=4)
    chat_user.model.texts["Extract"] = FACTS.replace("null", name)
    gid = chat_user.says("I sail, Iris.")
    chat_user.while_asked(lambda: erasure_mark.begin(app.conversations._table, chat_user.key))
    assert chat_user.learn(gid) == []
    assert (chat_user.facts, chat_user.known.title, chat_user.known.summary) == ([], None, None)
    assert app.facts.profile(chat_user.key) == Profile()


def test_who_says_no_is_not_learned_from(chat_user: ChatUser) -> None:
    gid = chat_user.says("I sail.")
    chat_user.app.facts.set_profile(chat_user.key, None, None, None, learning=False)
    assert chat_user.learn(gid) == []
    assert chat_user.model.asked == []
    chat_user.app.facts.set_profile(chat_user.key, None, None, None, learning=True)
    assert chat_user.learn(gid) == ["title", "facts"]


@pytest.mark.parametrize("name", ["null", '"Iris"'])
def test_who_says_no_meanwhile_is_not_learned_from(app: Container, name: str) -> None:
    chat_user = ChatUser(app, history_messages=4)
    chat_user.model.texts["Extract"] = FACTS.replace("null", name)
    gid = chat_user.says("I sail, Iris.")
    chat_user.while_asked(lambda: app.facts.set_profile(chat_user.key, "Ada", None, None, learning=False))
    assert chat_user.learn(gid) == []
    assert (chat_user.facts, chat_user.known.title, chat_user.known.summary) == ([], None, None)
    assert app.facts.profile(chat_user.key) == Profile("Ada", learning=False)


def test_a_message_that_is_answered_again_is_learned_from_once(app: Container) -> None:
    chat_user = ChatUser(app, classify_labels="billing,travel", classify_function="triage")
    assert chat_user.learn(chat_user.says("I sail.")) == ["title", "facts", "label"]
    [fact] = app.facts.all(chat_user.key)
    table = app.conversations._table
    assert fact.text in str(of(table, chat_user.key))
    app.facts.delete(chat_user.key, fact.id)
    assert chat_user.learn(chat_user.asks_again()) == []
    assert chat_user.facts == []
    assert fact.text not in str(of(table, chat_user.key)), "it is in no item, and no mark quotes it"
    assert len(chat_user.started.events) == 1


def test_what_went_on_meanwhile_does_not_keep_an_earlier_answer_from_being_learned_from(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=4)
    gid = chat_user.says("I sail.")
    chat_user.says("What else?")
    chat_user.says("And then?")
    again = chat_user.asks_again()
    assert chat_user.learn(gid) == ["title", "facts", "summary"]
    assert {prompt.turn.content[0] for prompt in chat_user.model.asked} == {
        "I sail.",
        "User: I sail.\n\nAssistant: I see.",
    }
    assert chat_user.known.summary_seq == 2
    chat_user.model.asked.clear()
    assert chat_user.learn(again) == ["facts", "summary"]
    assert "I see, again." in str(chat_user.model.asked[-1].turn.content)


def test_a_history_of_one_message_is_enough(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=1)
    assert chat_user.learn(chat_user.says("I sail.")) == ["title", "facts", "summary"]
    assert chat_user.model.asked[-1].turn.content == ("User: I sail.\n\nAssistant: I see.",)


@pytest.mark.parametrize("begun_only", [False, True])
def test_nothing_is_learned_from_a_deleted_conversation(chat_user: ChatUser, *, begun_only: bool) -> None:
    gid = chat_user.says("I sail.")
    if begun_only:
        chat_user.app.conversations.mark_deleted(chat_user.key, chat_user.conversation)
    else:
        chat_user.app.erasure.delete_conversation(chat_user.key, chat_user.conversation, float("inf"))
    assert chat_user.learn(gid) == []
    assert chat_user.model.asked == []


def test_nothing_is_learned_where_that_is_switched_off(chat_user: ChatUser) -> None:
    gid = chat_user.says("I sail.")
    chat_user.app.learning = Learning(None, "tasks", FlagProvider())
    assert chat_user.learn(gid) == []
    assert chat_user.model.asked == []


def test_nothing_is_learned_while_nobody_knows_whether_it_is_switched_off(chat_user: ChatUser, tmp_path: Path) -> None:
    gid, path = chat_user.says("I sail."), tmp_path / "flags.json"
    settings = chat_user.app.settings.model_copy(update={"flags_file": str(path)})
    chat_user.app.learning = Learning(chat_user.started, "tasks", flags_of(settings))
    with pytest.raises(FlagsUnavailable):
        chat_user.learn(gid)
    assert chat_user.model.asked == []
    path.write_text('{"learning": {"default": true}}')
    chat_user.app.learning = Learning(chat_user.started, "tasks", flags_of(settings))
    assert chat_user.learn(gid) == ["title", "facts"]


@pytest.mark.parametrize("whose", ["the user", "the deployment", "the operator"])
def test_nothing_is_learned_when_nothing_may_be_spent(chat_user: ChatUser, whose: str) -> None:
    gid, usages = chat_user.says("I sail."), chat_user.app.usages
    allowed = usages.rules
    match whose:
        case "the user":
            usages.rules = replace(allowed, user_day=Budget(1, 0))
        case "the deployment":
            usages.rules = replace(allowed, deployment_budget=Budget(1, 0))
        case "the operator":
            chat_user.app.facts._table.put(dict(zip(("pk", "sk"), keys.SWITCH, strict=True)))
    try:
        assert chat_user.learn(gid) == []
        assert chat_user.model.asked == []
    finally:
        chat_user.app.facts._table.delete(*keys.SWITCH)
    usages.rules = allowed
    assert chat_user.learn(gid) == ["title", "facts"]


def test_what_is_known_is_not_learned_again(chat_user: ChatUser) -> None:
    chat_user.learn(chat_user.says("I sail."))
    found = {"text": "the user SAILS", "confidence": 1.0}
    chat_user.model.texts["Extract"] = json.dumps({"facts": [found, {"text": "The user swims.", "confidence": 0.6}]})
    assert chat_user.learn(chat_user.says("I swim.")) == ["facts"]
    assert chat_user.facts == ["The user sails.", "The user swims."]
    assert "- The user sails." in chat_user.model.asked[-1].facts
    assert chat_user.model.asked[-1].turn.content == ("I swim.",), "the user's words alone"


@pytest.mark.parametrize(
    "facts",
    [
        [{"text": "The user may sail.", "confidence": 0.2}],
        [{"text": "long " * 200, "confidence": 1}],
        [],
    ],
    ids=["unsure", "too long", "none"],
)
def test_what_is_not_worth_it_is_left(chat_user: ChatUser, facts: list[Any]) -> None:
    chat_user.model.texts["Extract"] = f"```json\n{json.dumps({'facts': facts, 'assistant': None})}\n```"
    chat_user.learn(chat_user.says("Perhaps."))
    assert chat_user.facts == []


def test_what_cannot_be_read_is_not_asked_again(chat_user: ChatUser) -> None:
    chat_user.model.texts["Extract"] = "no JSON"
    gid = chat_user.says("I sail.")
    assert chat_user.learn(gid) == ["title", "facts"]
    assert chat_user.learn(gid) == []
    assert chat_user.model.jobs == ["Write", "Extract"]


def test_a_failure_that_stays_is_not_tried_again(chat_user: ChatUser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SmallModel, "failure", ModelInvalidRequest)
    chat_user.model.broken = {"Write"}
    assert chat_user.learn(chat_user.says("I sail.")) == ["facts"]


def test_what_a_filter_says_is_nothing(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=4, classify_labels="travel", classify_function="triage")
    chat_user.model.finish_reason = "content-filter"
    assert chat_user.learn(chat_user.says("Hm.")) == ["facts", "label"]
    assert (chat_user.known.title, chat_user.facts, chat_user.known.summary) == (None, [], None)
    assert chat_user.started.events == []


def test_what_is_learned_leaves_half_of_the_room_to_the_user(app: Container) -> None:
    chat_user = ChatUser(app, max_facts=4)
    several = [{"text": f"The user has {count} boats.", "confidence": 0.9} for count in range(3)]
    chat_user.model.texts["Extract"] = json.dumps({"facts": several})
    chat_user.learn(chat_user.says("I have boats."))
    chat_user.app.facts.add(chat_user.key, "The user's own.", "fact", limit=4)
    assert sorted(chat_user.facts) == ["The user has 0 boats.", "The user has 1 boats.", "The user's own."]


@pytest.mark.parametrize(("limit", "own"), [(1, 0), (4, 4)])
def test_without_room_nothing_is_asked(app: Container, limit: int, own: int) -> None:
    chat_user = ChatUser(app, max_facts=limit)
    for number in range(own):
        chat_user.app.facts.add(chat_user.key, f"The user's own, {number}.", "fact", limit=limit)
    assert chat_user.learn(chat_user.says("I sail.")) == ["title"]
    assert chat_user.model.jobs == ["Write"]


def test_two_lessons_that_find_the_same_store_one_fact(app: Container) -> None:
    chat_user, elsewhere = ChatUser(app), ChatUser(app)
    elsewhere.key, elsewhere.model.texts["Extract"] = chat_user.key, FACTS.replace("sails.", "SAILS!")
    app.models.answer = chat_user.model.answer  # type: ignore[method-assign]  # a script in the model's place
    here, there = chat_user.says("I sail."), elsewhere.says("I SAIL!")

    learned: list[Any] = []
    chat_user.while_asked(lambda: learned.append(elsewhere.learn(there)))
    assert [chat_user.learn(here), *learned] == [["title", "facts"]] * 2
    assert len(chat_user.facts) == 1


@pytest.mark.parametrize(("message", "name"), [("Call yourself Iris", "Iris"), ("Choose a name", None)])
def test_the_assistant_s_name_is_the_user_s_word(chat_user: ChatUser, message: str, name: str | None) -> None:
    chat_user.app.facts.set_profile(chat_user.key, "Ada", None, "sails")
    chat_user.model.texts["Extract"] = json.dumps({"facts": [], "assistant": "Iris"})
    chat_user.learn(chat_user.says(message))
    assert chat_user.app.facts.profile(chat_user.key) == Profile("Ada", name, "sails")


def test_a_label_starts_the_deployment_s_own_task(app: Container) -> None:
    chat_user = ChatUser(app, classify_labels="billing,travel", classify_function="triage")
    gid = chat_user.says("Where to?")
    assert chat_user.learn(gid) == ["title", "facts", "label"]
    event = {"label": "travel", "user": chat_user.key, "conversation": chat_user.conversation, "generation": gid}
    assert chat_user.started.events == [("triage", event)]
    chat_user.learn(gid)
    chat_user.model.texts["Classify"] = "neither"
    chat_user.learn(chat_user.says("Well."))
    assert len(chat_user.started.events) == 1


def test_two_deliveries_at_once_start_the_deployment_s_own_task_once(app: Container) -> None:
    chat_user = ChatUser(app, classify_labels="billing,travel", classify_function="triage")
    gid = chat_user.says("Where to?")
    steps: list[Any] = []
    chat_user.while_asked(lambda: steps.append(chat_user.learn(gid)))
    assert chat_user.learn(gid) == []
    assert steps == [["title", "facts", "label"]]
    assert len(chat_user.started.events) == 1


def test_a_task_that_could_not_be_started_is_started_by_the_next_attempt(app: Container) -> None:
    chat_user = ChatUser(app, classify_labels="billing,travel", classify_function="triage")
    gid = chat_user.says("Where to?")
    chat_user.started.broken = True
    with pytest.raises(DispatchFailed):
        chat_user.learn(gid)
    chat_user.started.broken = False
    assert chat_user.learn(gid) == ["label"]
    assert len(chat_user.started.events) == 1


@pytest.mark.parametrize("broken", ["", "Extract"])
def test_what_it_costs_is_counted_whatever_comes_of_it(chat_user: ChatUser, broken: str) -> None:
    gid = chat_user.says("I sail.")
    before = chat_user.used
    chat_user.model.broken = {broken}
    chat_user.while_asked(lambda: chat_user.app.conversations.rename(chat_user.key, chat_user.conversation, "My own"))
    with pytest.raises(ModelUnavailable) if broken else nullcontext():
        chat_user.learn(gid)
    asked = 1 if broken else 2
    assert (chat_user.used.tokens - before.tokens, chat_user.used.cost - before.cost) == (110 * asked, 500 * asked)
