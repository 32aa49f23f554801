"""What is learned of an answer, on a real table: each step once, whatever breaks a task off."""

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from converse_stream.application import Application
from converse_stream.dispatch.learning import Learning
from converse_stream.flags.feature_flags import Flags, flags_of
from converse_stream.limits import Budget
from converse_stream.protocol.errors import (
    FlagsUnknown,
    HandOverFailed,
    ModelInvalidRequest,
    ModelUnavailable,
    StorageError,
)
from converse_stream.store import erasure_mark, keys
from converse_stream.store.facts import Profile
from tests.contract.somebody import FACTS, SmallModel, Somebody
from tests.contract.test_erasure import of


def test_each_step_is_taken_once(somebody: Somebody) -> None:
    gid = somebody.says("I sail.")
    assert somebody.learn(gid) == ["title", "facts"]
    assert (somebody.known.title, somebody.facts) == ("A title", ["The user sails."])
    assert somebody.learn(gid) == []
    assert somebody.model.jobs == ["Write", "Extract"]
    assert somebody.facts == ["The user sails."]


@pytest.mark.parametrize("broken", ["Write", "Extract"])
def test_a_step_that_fails_is_all_that_is_tried_again(somebody: Somebody, broken: str) -> None:
    gid = somebody.says("I sail.")
    somebody.model.broken = {broken}
    with pytest.raises(ModelUnavailable):
        somebody.learn(gid)
    somebody.model.broken = set()
    somebody.model.asked.clear()
    assert len(somebody.learn(gid)) == 1
    assert somebody.model.jobs == [broken]
    assert (somebody.known.title, somebody.facts) == ("A title", ["The user sails."])


def test_a_table_that_fails_leaves_nothing_half_done(somebody: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
    gid = somebody.says("I sail.")

    def fail(_: Any) -> None:
        raise StorageError

    with monkeypatch.context() as failing:
        failing.setattr(somebody.app.learned._table, "transact", fail)
        with pytest.raises(StorageError):
            somebody.learn(gid)
    assert (somebody.known.title, somebody.facts) == (None, [])
    assert somebody.learn(gid) == ["title", "facts"]


def test_two_tasks_at_once_store_one(somebody: Somebody) -> None:
    gid = somebody.says("I sail.")
    twin: list[Any] = []
    somebody.while_asked(lambda: twin.append(somebody.learn(gid)))
    assert somebody.learn(gid) == []
    assert twin == [["title", "facts"]]
    assert somebody.facts == ["The user sails."]


def test_a_title_that_comes_first_stays(somebody: Somebody) -> None:
    gid = somebody.says("I sail.")
    somebody.while_asked(lambda: somebody.app.conversations.rename(somebody.key, somebody.conversation, "My own"))
    assert somebody.learn(gid) == ["facts"]
    assert somebody.known.title == "My own"


def test_a_title_does_not_come_into_what_is_deleted_meanwhile(somebody: Somebody) -> None:
    gid = somebody.says("I sail.")
    somebody.while_asked(lambda: somebody.app.conversations.mark_deleted(somebody.key, somebody.conversation))
    somebody.learn(gid)
    assert somebody.known.title is None


def test_erasure_wins(somebody: Somebody) -> None:
    gid = somebody.says("I sail.")
    somebody.while_asked(lambda: somebody.app.erasure.everything(somebody.key, float("inf")))
    assert somebody.learn(gid) == []
    assert (somebody.facts, somebody.known.updated_at) == ([], None)


@pytest.mark.parametrize("name", ["null", '"Iris"'])
def test_nothing_is_learned_while_all_is_erased(app: Application, name: str) -> None:
    """From a conversation that erasure has not reached yet, because the index is late."""
    somebody = Somebody(app, history_messages=4)
    somebody.model.texts["Extract"] = FACTS.replace("null", name)
    gid = somebody.says("I sail, Iris.")
    somebody.while_asked(lambda: erasure_mark.begin(app.conversations._table, somebody.key))
    assert somebody.learn(gid) == []
    assert (somebody.facts, somebody.known.title, somebody.known.summary) == ([], None, None)
    assert app.facts.profile(somebody.key) == Profile()


def test_who_says_no_is_not_learned_from(somebody: Somebody) -> None:
    gid = somebody.says("I sail.")
    somebody.app.facts.set_profile(somebody.key, None, None, None, learning=False)
    assert somebody.learn(gid) == []
    assert somebody.model.asked == []
    somebody.app.facts.set_profile(somebody.key, None, None, None, learning=True)
    assert somebody.learn(gid) == ["title", "facts"]


@pytest.mark.parametrize("name", ["null", '"Iris"'])
def test_who_says_no_meanwhile_is_not_learned_from(app: Application, name: str) -> None:
    somebody = Somebody(app, history_messages=4)
    somebody.model.texts["Extract"] = FACTS.replace("null", name)
    gid = somebody.says("I sail, Iris.")
    somebody.while_asked(lambda: app.facts.set_profile(somebody.key, "Ada", None, None, learning=False))
    assert somebody.learn(gid) == []
    assert (somebody.facts, somebody.known.title, somebody.known.summary) == ([], None, None)
    assert app.facts.profile(somebody.key) == Profile("Ada", learning=False)


def test_a_message_that_is_answered_again_is_learned_from_once(app: Application) -> None:
    somebody = Somebody(app, classify_labels="billing,travel", classify_function="triage")
    assert somebody.learn(somebody.says("I sail.")) == ["title", "facts", "label"]
    [fact] = app.facts.all(somebody.key)
    table = app.conversations._table
    assert fact.text in str(of(table, somebody.key))
    app.facts.forget(somebody.key, fact.id)
    assert somebody.learn(somebody.asks_again()) == []
    assert somebody.facts == []
    assert fact.text not in str(of(table, somebody.key)), "it is in no item, and no mark quotes it"
    assert len(somebody.started.events) == 1


def test_what_went_on_meanwhile_does_not_keep_an_earlier_answer_from_being_learned_from(app: Application) -> None:
    somebody = Somebody(app, history_messages=4)
    gid = somebody.says("I sail.")
    somebody.says("What else?")
    somebody.says("And then?")
    again = somebody.asks_again()
    assert somebody.learn(gid) == ["title", "facts", "summary"]
    assert {prompt.turn.content[0] for prompt in somebody.model.asked} == {
        "I sail.",
        "User: I sail.\n\nAssistant: I see.",
    }
    assert somebody.known.summarised == 2
    somebody.model.asked.clear()
    assert somebody.learn(again) == ["facts", "summary"]
    assert "I see, again." in str(somebody.model.asked[-1].turn.content)


def test_a_history_of_one_message_is_enough(app: Application) -> None:
    somebody = Somebody(app, history_messages=1)
    assert somebody.learn(somebody.says("I sail.")) == ["title", "facts", "summary"]
    assert somebody.model.asked[-1].turn.content == ("User: I sail.\n\nAssistant: I see.",)


@pytest.mark.parametrize("begun_only", [False, True])
def test_nothing_is_learned_from_a_deleted_conversation(somebody: Somebody, *, begun_only: bool) -> None:
    gid = somebody.says("I sail.")
    if begun_only:
        somebody.app.conversations.mark_deleted(somebody.key, somebody.conversation)
    else:
        somebody.app.erasure.conversation(somebody.key, somebody.conversation, float("inf"))
    assert somebody.learn(gid) == []
    assert somebody.model.asked == []


def test_nothing_is_learned_where_that_is_switched_off(somebody: Somebody) -> None:
    gid = somebody.says("I sail.")
    somebody.app.learning = Learning(None, "tasks", Flags())
    assert somebody.learn(gid) == []
    assert somebody.model.asked == []


def test_nothing_is_learned_while_nobody_knows_whether_it_is_switched_off(somebody: Somebody, tmp_path: Path) -> None:
    gid, path = somebody.says("I sail."), tmp_path / "flags.json"
    settings = somebody.app.settings.model_copy(update={"flags_file": str(path)})
    somebody.app.learning = Learning(somebody.started, "tasks", flags_of(settings))
    with pytest.raises(FlagsUnknown):
        somebody.learn(gid)
    assert somebody.model.asked == []
    path.write_text('{"learning": {"default": true}}')
    somebody.app.learning = Learning(somebody.started, "tasks", flags_of(settings))
    assert somebody.learn(gid) == ["title", "facts"]


@pytest.mark.parametrize("whose", ["the user", "the deployment", "the operator"])
def test_nothing_is_learned_when_nothing_may_be_spent(somebody: Somebody, whose: str) -> None:
    gid, usages = somebody.says("I sail."), somebody.app.usages
    allowed = usages.rules
    match whose:
        case "the user":
            usages.rules = replace(allowed, user_day=Budget(1, 0))
        case "the deployment":
            usages.rules = replace(allowed, everybody_day=Budget(1, 0))
        case "the operator":
            somebody.app.facts._table.put(dict(zip(("pk", "sk"), keys.SWITCH, strict=True)))
    try:
        assert somebody.learn(gid) == []
        assert somebody.model.asked == []
    finally:
        somebody.app.facts._table.delete(*keys.SWITCH)
    usages.rules = allowed
    assert somebody.learn(gid) == ["title", "facts"]


def test_what_is_known_is_not_learned_again(somebody: Somebody) -> None:
    somebody.learn(somebody.says("I sail."))
    found = {"text": "the user SAILS", "confidence": 1.0}
    somebody.model.texts["Extract"] = json.dumps({"facts": [found, {"text": "The user swims.", "confidence": 0.6}]})
    assert somebody.learn(somebody.says("I swim.")) == ["facts"]
    assert somebody.facts == ["The user sails.", "The user swims."]
    assert "- The user sails." in somebody.model.asked[-1].facts
    assert somebody.model.asked[-1].turn.content == ("I swim.",), "the user's words alone"


@pytest.mark.parametrize(
    "facts",
    [
        [{"text": "The user may sail.", "confidence": 0.2}],
        [{"text": "long " * 200, "confidence": 1}],
        [],
    ],
    ids=["unsure", "too long", "none"],
)
def test_what_is_not_worth_it_is_left(somebody: Somebody, facts: list[Any]) -> None:
    somebody.model.texts["Extract"] = f"```json\n{json.dumps({'facts': facts, 'assistant': None})}\n```"
    somebody.learn(somebody.says("Perhaps."))
    assert somebody.facts == []


def test_what_cannot_be_read_is_not_asked_again(somebody: Somebody) -> None:
    somebody.model.texts["Extract"] = "no JSON"
    gid = somebody.says("I sail.")
    assert somebody.learn(gid) == ["title", "facts"]
    assert somebody.learn(gid) == []
    assert somebody.model.jobs == ["Write", "Extract"]


def test_a_failure_that_stays_is_not_tried_again(somebody: Somebody, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SmallModel, "failure", ModelInvalidRequest)
    somebody.model.broken = {"Write"}
    assert somebody.learn(somebody.says("I sail.")) == ["facts"]


def test_what_a_filter_says_is_nothing(app: Application) -> None:
    somebody = Somebody(app, history_messages=4, classify_labels="travel", classify_function="triage")
    somebody.model.finish_reason = "content-filter"
    assert somebody.learn(somebody.says("Hm.")) == ["facts", "label"]
    assert (somebody.known.title, somebody.facts, somebody.known.summary) == (None, [], None)
    assert somebody.started.events == []


def test_what_is_learned_leaves_half_of_the_room_to_the_user(app: Application) -> None:
    somebody = Somebody(app, max_facts=4)
    several = [{"text": f"The user has {count} boats.", "confidence": 0.9} for count in range(3)]
    somebody.model.texts["Extract"] = json.dumps({"facts": several})
    somebody.learn(somebody.says("I have boats."))
    somebody.app.facts.add(somebody.key, "The user's own.", "fact", limit=4)
    assert sorted(somebody.facts) == ["The user has 0 boats.", "The user has 1 boats.", "The user's own."]


@pytest.mark.parametrize(("limit", "own"), [(1, 0), (4, 4)])
def test_without_room_nothing_is_asked(app: Application, limit: int, own: int) -> None:
    somebody = Somebody(app, max_facts=limit)
    for number in range(own):
        somebody.app.facts.add(somebody.key, f"The user's own, {number}.", "fact", limit=limit)
    assert somebody.learn(somebody.says("I sail.")) == ["title"]
    assert somebody.model.jobs == ["Write"]


def test_two_lessons_that_find_the_same_store_one_fact(app: Application) -> None:
    somebody, elsewhere = Somebody(app), Somebody(app)
    elsewhere.key, elsewhere.model.texts["Extract"] = somebody.key, FACTS.replace("sails.", "SAILS!")
    app.models.answer = somebody.model.answer  # type: ignore[method-assign]  # a script in the model's place
    here, there = somebody.says("I sail."), elsewhere.says("I SAIL!")

    learned: list[Any] = []
    somebody.while_asked(lambda: learned.append(elsewhere.learn(there)))
    assert [somebody.learn(here), *learned] == [["title", "facts"]] * 2
    assert len(somebody.facts) == 1


@pytest.mark.parametrize(("message", "name"), [("Call yourself Iris", "Iris"), ("Choose a name", None)])
def test_the_assistant_s_name_is_the_user_s_word(somebody: Somebody, message: str, name: str | None) -> None:
    somebody.app.facts.set_profile(somebody.key, "Ada", None, "sails")
    somebody.model.texts["Extract"] = json.dumps({"facts": [], "assistant": "Iris"})
    somebody.learn(somebody.says(message))
    assert somebody.app.facts.profile(somebody.key) == Profile("Ada", name, "sails")


def test_a_label_starts_the_deployment_s_own_task(app: Application) -> None:
    somebody = Somebody(app, classify_labels="billing,travel", classify_function="triage")
    gid = somebody.says("Where to?")
    assert somebody.learn(gid) == ["title", "facts", "label"]
    event = {"label": "travel", "user": somebody.key, "conversation": somebody.conversation, "generation": gid}
    assert somebody.started.events == [("triage", event)]
    somebody.learn(gid)
    somebody.model.texts["Classify"] = "neither"
    somebody.learn(somebody.says("Well."))
    assert len(somebody.started.events) == 1


def test_two_deliveries_at_once_start_the_deployment_s_own_task_once(app: Application) -> None:
    somebody = Somebody(app, classify_labels="billing,travel", classify_function="triage")
    gid = somebody.says("Where to?")
    steps: list[Any] = []
    somebody.while_asked(lambda: steps.append(somebody.learn(gid)))
    assert somebody.learn(gid) == []
    assert steps == [["title", "facts", "label"]]
    assert len(somebody.started.events) == 1


def test_a_task_that_could_not_be_started_is_started_by_the_next_attempt(app: Application) -> None:
    somebody = Somebody(app, classify_labels="billing,travel", classify_function="triage")
    gid = somebody.says("Where to?")
    somebody.started.broken = True
    with pytest.raises(HandOverFailed):
        somebody.learn(gid)
    somebody.started.broken = False
    assert somebody.learn(gid) == ["label"]
    assert len(somebody.started.events) == 1


@pytest.mark.parametrize("broken", ["", "Extract"])
def test_what_it_costs_is_counted_whatever_comes_of_it(somebody: Somebody, broken: str) -> None:
    gid = somebody.says("I sail.")
    before = somebody.used
    somebody.model.broken = {broken}
    somebody.while_asked(lambda: somebody.app.conversations.rename(somebody.key, somebody.conversation, "My own"))
    with pytest.raises(ModelUnavailable) if broken else nullcontext():
        somebody.learn(gid)
    asked = 1 if broken else 2
    assert (somebody.used.tokens - before.tokens, somebody.used.cost - before.cost) == (110 * asked, 500 * asked)
