"""The learn task on a real table: each step runs once, at whatever point a task fails."""

import json
import re
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
from converse_stream.protocol.ids import now
from converse_stream.store import erasure_marker, keys
from converse_stream.store.facts import Fact, Profile
from tests.contract.chat_user import FACTS, ChatUser, SmallModel
from tests.contract.test_erasure import items_of


def test_each_step_runs_once(chat_user: ChatUser) -> None:
    gid = chat_user.sends("I sail.")
    assert chat_user.learn(gid) == ["title", "facts"]
    assert (chat_user.stored.title, chat_user.facts) == ("A title", ["The user sails."])
    assert chat_user.learn(gid) == []
    assert chat_user.model.jobs == ["Write", "Extract"]
    assert chat_user.facts == ["The user sails."]


@pytest.mark.parametrize("failing_job", ["Write", "Extract"])
def test_only_the_failed_step_is_retried(chat_user: ChatUser, failing_job: str) -> None:
    gid = chat_user.sends("I sail.")
    chat_user.model.failing_jobs = {failing_job}
    with pytest.raises(ModelUnavailable):
        chat_user.learn(gid)
    chat_user.model.failing_jobs = set()
    chat_user.model.prompts.clear()
    assert len(chat_user.learn(gid)) == 1
    assert chat_user.model.jobs == [failing_job]
    assert (chat_user.stored.title, chat_user.facts) == ("A title", ["The user sails."])


def test_a_failed_transaction_stores_nothing(chat_user: ChatUser, monkeypatch: pytest.MonkeyPatch) -> None:
    gid = chat_user.sends("I sail.")

    def fail(_: Any) -> None:
        raise StorageError

    with monkeypatch.context() as failing:
        failing.setattr(chat_user.app.learned_marks._table, "transact", fail)
        with pytest.raises(StorageError):
            chat_user.learn(gid)
    assert (chat_user.stored.title, chat_user.facts) == (None, [])
    assert chat_user.learn(gid) == ["title", "facts"]


def test_two_concurrent_tasks_store_each_result_once(chat_user: ChatUser) -> None:
    gid = chat_user.sends("I sail.")
    concurrent_steps: list[Any] = []
    chat_user.during_first_call(lambda: concurrent_steps.append(chat_user.learn(gid)))
    assert chat_user.learn(gid) == []
    assert concurrent_steps == [["title", "facts"]]
    assert chat_user.facts == ["The user sails."]


def test_a_title_set_by_the_user_during_the_task_is_kept(chat_user: ChatUser) -> None:
    gid = chat_user.sends("I sail.")
    chat_user.during_first_call(
        lambda: chat_user.app.conversations.rename(chat_user.key, chat_user.conversation, "My own")
    )
    assert chat_user.learn(gid) == ["facts"]
    assert chat_user.stored.title == "My own"


def test_no_title_is_stored_if_the_conversation_is_deleted_during_the_task(chat_user: ChatUser) -> None:
    gid = chat_user.sends("I sail.")
    chat_user.during_first_call(lambda: chat_user.app.conversations.mark_deleted(chat_user.key, chat_user.conversation))
    chat_user.learn(gid)
    assert chat_user.stored.title is None


def test_nothing_is_stored_if_the_user_is_erased_during_the_task(chat_user: ChatUser) -> None:
    gid = chat_user.sends("I sail.")
    chat_user.during_first_call(lambda: chat_user.app.erasure.erase_user(chat_user.key, float("inf")))
    assert chat_user.learn(gid) == []
    assert (chat_user.facts, chat_user.stored.updated_at) == ([], None)


@pytest.mark.parametrize("name", ["null", '"Iris"'])
def test_nothing_is_learned_if_an_erasure_of_the_user_begins_during_the_task(app: Container, name: str) -> None:
    """The erasure does not see the conversation yet, because the index lags."""
    chat_user = ChatUser(app, history_messages=4)
    chat_user.model.texts["Extract"] = FACTS.replace("null", name)
    gid = chat_user.sends("I sail, Iris.")
    chat_user.during_first_call(lambda: erasure_marker.begin(app.conversations._table, chat_user.key))
    assert chat_user.learn(gid) == []
    assert (chat_user.facts, chat_user.stored.title, chat_user.stored.summary) == ([], None, None)
    assert app.facts.profile(chat_user.key) == Profile()


def test_nothing_is_learned_if_the_user_has_disabled_learning(chat_user: ChatUser) -> None:
    gid = chat_user.sends("I sail.")
    chat_user.app.facts.set_profile(chat_user.key, None, None, None, learning=False)
    assert chat_user.learn(gid) == []
    assert chat_user.model.prompts == []
    chat_user.app.facts.set_profile(chat_user.key, None, None, None, learning=True)
    assert chat_user.learn(gid) == ["title", "facts"]


@pytest.mark.parametrize("name", ["null", '"Iris"'])
def test_nothing_is_learned_if_the_user_disables_learning_during_the_task(app: Container, name: str) -> None:
    chat_user = ChatUser(app, history_messages=4)
    chat_user.model.texts["Extract"] = FACTS.replace("null", name)
    gid = chat_user.sends("I sail, Iris.")
    chat_user.during_first_call(lambda: app.facts.set_profile(chat_user.key, "Ada", None, None, learning=False))
    assert chat_user.learn(gid) == []
    assert (chat_user.facts, chat_user.stored.title, chat_user.stored.summary) == ([], None, None)
    assert app.facts.profile(chat_user.key) == Profile("Ada", learning=False)


def test_a_regenerated_answer_is_not_learned_from_again(app: Container) -> None:
    chat_user = ChatUser(app, classify_labels="billing,travel", classify_function="triage")
    assert chat_user.learn(chat_user.sends("I sail.")) == ["title", "facts", "label"]
    [fact] = app.facts.all(chat_user.key)
    table = app.conversations._table
    assert fact.text in str(items_of(table, chat_user.key))
    app.facts.delete(chat_user.key, fact.id)
    assert chat_user.learn(chat_user.regenerates()) == []
    assert chat_user.facts == []
    assert fact.text not in str(items_of(table, chat_user.key)), (
        "no item contains the text, not even the mark of the task"
    )
    assert len(chat_user.invocations.events) == 1


def test_an_earlier_answer_is_learned_from_after_later_messages(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=4)
    gid = chat_user.sends("I sail.")
    chat_user.sends("What else?")
    chat_user.sends("And then?")
    again = chat_user.regenerates()
    assert chat_user.learn(gid) == ["title", "facts", "summary"]
    assert not [prompt for prompt in chat_user.model.prompts if "What else?" in str(prompt.turn.content)]
    assert chat_user.stored.summary_seq == 2
    chat_user.model.prompts.clear()
    assert chat_user.learn(again) == ["facts", "summary"]
    assert "I see, again." in str(chat_user.model.prompts[-1].turn.content)


def test_all_steps_run_with_a_history_of_one_message(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=1)
    assert chat_user.learn(chat_user.sends("I sail.")) == ["title", "facts", "summary"]
    assert re.findall(r">\n(.*)\n</message", str(chat_user.model.prompts[-1].turn.content[0])) == ["I sail.", "I see."]


@pytest.mark.parametrize("opening", ["Hello there!", "Guten Morgen", "你好"])
def test_a_conversation_that_begins_with_a_greeting_gets_its_title_from_the_next_message(
    chat_user: ChatUser, opening: str
) -> None:
    assert "title" not in chat_user.learn(chat_user.sends(opening))
    assert "Write" not in chat_user.model.jobs, "without a call of the model"
    assert chat_user.stored.name == opening
    assert "title" in chat_user.learn(chat_user.sends("How high are the tides in Faro?"))
    assert chat_user.stored.title == "A title"
    title_request = next(prompt for prompt in chat_user.model.prompts if prompt.system.startswith("Write"))
    assert "How high are the tides in Faro?" in str(title_request.turn.content[0])
    chat_user.learn(chat_user.sends("Thanks!"))
    assert chat_user.model.jobs.count("Write") == 1


def test_an_apology_is_no_title(chat_user: ChatUser) -> None:
    chat_user.model.texts["Write"] = "I'm sorry, but I can't help with that."
    assert chat_user.learn(chat_user.sends("I sail.")) == ["facts"]
    assert (chat_user.stored.title, chat_user.stored.name) == (None, "I sail.")
    chat_user.model.texts["Write"] = '{"title": "Sailing"}'
    chat_user.learn(chat_user.sends("Where to?"))
    assert chat_user.stored.title == "Sailing"


@pytest.mark.parametrize("marked_only", [False, True])
def test_nothing_is_learned_from_a_deleted_conversation(chat_user: ChatUser, *, marked_only: bool) -> None:
    gid = chat_user.sends("I sail.")
    if marked_only:
        chat_user.app.conversations.mark_deleted(chat_user.key, chat_user.conversation)
    else:
        chat_user.app.erasure.delete_conversation(chat_user.key, chat_user.conversation, float("inf"))
    assert chat_user.learn(gid) == []
    assert chat_user.model.prompts == []


def test_nothing_is_learned_if_learning_is_disabled(chat_user: ChatUser) -> None:
    gid = chat_user.sends("I sail.")
    chat_user.app.learning = Learning(None, "tasks", FlagProvider())
    assert chat_user.learn(gid) == []
    assert chat_user.model.prompts == []


def test_learning_fails_and_is_retried_if_the_flags_are_unavailable(chat_user: ChatUser, tmp_path: Path) -> None:
    gid, path = chat_user.sends("I sail."), tmp_path / "flags.json"
    settings = chat_user.app.settings.model_copy(update={"flags_file": str(path)})
    chat_user.app.learning = Learning(chat_user.invocations, "tasks", flags_of(settings))
    with pytest.raises(FlagsUnavailable):
        chat_user.learn(gid)
    assert chat_user.model.prompts == []
    path.write_text('{"learning": {"default": true}}')
    chat_user.app.learning = Learning(chat_user.invocations, "tasks", flags_of(settings))
    assert chat_user.learn(gid) == ["title", "facts"]


@pytest.mark.parametrize("limit", ["user budget", "deployment budget", "kill switch"])
def test_nothing_is_learned_if_a_budget_or_the_kill_switch_forbids_it(chat_user: ChatUser, limit: str) -> None:
    gid, usages = chat_user.sends("I sail."), chat_user.app.usages
    rules = usages.rules
    match limit:
        case "user budget":
            usages.rules = replace(rules, user_day=Budget(1, 0))
        case "deployment budget":
            usages.rules = replace(rules, deployment_budget=Budget(1, 0))
        case "kill switch":
            chat_user.app.facts._table.put(dict(zip(("pk", "sk"), keys.SWITCH, strict=True)))
    try:
        assert chat_user.learn(gid) == []
        assert chat_user.model.prompts == []
    finally:
        chat_user.app.facts._table.delete(*keys.SWITCH)
    usages.rules = rules
    assert chat_user.learn(gid) == ["title", "facts"]


def test_a_stored_fact_is_not_stored_again(chat_user: ChatUser) -> None:
    chat_user.learn(chat_user.sends("I sail."))
    duplicate = {"text": "the user SAILS", "confidence": 1.0}
    chat_user.model.texts["Extract"] = json.dumps(
        {"facts": [duplicate, {"text": "The user swims.", "confidence": 0.6}]}
    )
    assert chat_user.learn(chat_user.sends("I swim.")) == ["facts"]
    assert chat_user.facts == ["The user sails.", "The user swims."]
    assert "[fact 1] The user sails." in chat_user.model.prompts[-1].facts
    [text] = chat_user.model.prompts[-1].turn.content
    assert "<message>\nI swim.\n</message>" in str(text)
    assert str(text).count("I see.") == 1, "the answer before the message, and not its own answer"


@pytest.mark.parametrize(
    "facts",
    [
        [{"text": "The user may sail.", "confidence": 0.2}],
        [{"text": "long " * 200, "confidence": 1}],
        [],
    ],
    ids=["uncertain", "too long", "no facts"],
)
def test_uncertain_and_long_facts_are_not_stored(chat_user: ChatUser, facts: list[Any]) -> None:
    chat_user.model.texts["Extract"] = f"```json\n{json.dumps({'facts': facts, 'assistant': None})}\n```"
    chat_user.learn(chat_user.sends("Perhaps."))
    assert chat_user.facts == []


def test_an_unreadable_answer_is_requested_once_more_in_the_same_task(chat_user: ChatUser) -> None:
    chat_user.model.texts["Extract"] = "no JSON"
    gid = chat_user.sends("I sail.")
    assert chat_user.learn(gid) == ["title", "facts"]
    assert chat_user.learn(gid) == []
    assert chat_user.model.jobs == ["Write", "Extract", "Extract"]


def test_an_answer_that_is_readable_at_the_second_try_is_stored(chat_user: ChatUser) -> None:
    chat_user.model.texts["Extract"] = "I found a fact."
    gid = chat_user.sends("I sail.")

    def answer_well() -> None:
        if chat_user.model.jobs[-2:] == ["Extract", "Extract"]:
            chat_user.model.texts["Extract"] = FACTS

    chat_user.model.before_answer = answer_well
    assert chat_user.learn(gid) == ["title", "facts"]
    assert chat_user.facts == ["The user sails."]


LYON = {"text": "The user lives in Lyon.", "confidence": 1}


def learned(chat_user: ChatUser, answer: dict[str, Any], message: str = "We moved to Lyon.") -> Any:
    """Returns the steps that the task for a new message runs, with this answer to the extraction."""
    chat_user.model.texts["Extract"] = json.dumps(answer)
    return chat_user.learn(chat_user.sends(message))


def knows_paris(chat_user: ChatUser) -> Fact:
    learned(chat_user, {"facts": [{"text": "The user lives in Paris.", "confidence": 1}]}, "I live in Paris.")
    [fact] = chat_user.app.facts.all(chat_user.key)
    return fact


def test_a_fact_that_a_new_one_contradicts_is_replaced(chat_user: ChatUser) -> None:
    assert knows_paris(chat_user).message == 1
    assert learned(chat_user, {"facts": [{**LYON, "replaces": [1]}]}) == ["facts"]
    [lyon] = chat_user.app.facts.all(chat_user.key)
    assert (lyon.text, lyon.source, lyon.message) == ("The user lives in Lyon.", chat_user.conversation, 3)


def test_a_task_that_runs_late_does_not_replace_the_fact_of_a_later_message(chat_user: ChatUser) -> None:
    early = chat_user.sends("I live in Paris.")
    learned(chat_user, {"facts": [LYON]})
    paris = {"text": "The user lives in Paris.", "confidence": 1, "replaces": [1]}
    chat_user.model.texts["Extract"] = json.dumps({"facts": [paris], "outdated": [1]})
    assert chat_user.learn(early) == ["facts"]
    assert chat_user.facts == ["The user lives in Paris.", "The user lives in Lyon."], "in the order of the messages"


def test_a_fact_that_is_not_true_any_more_is_removed(chat_user: ChatUser) -> None:
    knows_paris(chat_user)
    assert learned(chat_user, {"facts": [], "outdated": [1]}, "I no longer live in Paris.") == ["facts"]
    assert chat_user.facts == []


def test_a_fact_of_the_user_stays_beside_the_new_one(chat_user: ChatUser) -> None:
    chat_user.app.facts.add(chat_user.key, "I live in Paris.", "fact", limit=9)
    assert learned(chat_user, {"facts": [{**LYON, "replaces": [1]}], "outdated": [1]}) == ["title", "facts"]
    assert chat_user.facts == ["I live in Paris.", "The user lives in Lyon."]


def test_a_fact_that_is_deleted_during_the_task_is_no_conflict(chat_user: ChatUser) -> None:
    paris = knows_paris(chat_user)
    chat_user.during_first_call(lambda: chat_user.app.facts.delete(chat_user.key, paris.id))
    assert learned(chat_user, {"facts": [{**LYON, "replaces": [1]}]}) == ["facts"]
    assert chat_user.facts == ["The user lives in Lyon."]


def test_a_fact_that_is_learned_again_during_the_task_is_not_removed_unseen(chat_user: ChatUser) -> None:
    """Nothing is stored, and the task is retried. It sees the new fact then."""
    paris, store = knows_paris(chat_user), chat_user.app.facts
    again = replace(paris, created_at="2000-01-01T00:00:00.000Z")
    chat_user.during_first_call(lambda: store._table.transact(store.learned_parts(chat_user.key, [again])))
    with pytest.raises(StorageError):
        learned(chat_user, {"facts": [{**LYON, "replaces": [1]}]})
    assert store.all(chat_user.key) == [again]
    assert chat_user.learn(chat_user.regenerates()) == ["facts"]
    assert chat_user.facts == ["The user lives in Lyon."]


@pytest.mark.parametrize("removal", [True, False])
def test_nothing_is_removed_if_nothing_may_be_stored(chat_user: ChatUser, *, removal: bool) -> None:
    paris, facts = knows_paris(chat_user), chat_user.app.facts
    if removal:
        chat_user.during_first_call(lambda: erasure_marker.begin(facts._table, chat_user.key))
    else:
        chat_user.during_first_call(lambda: facts.set_profile(chat_user.key, None, None, None, learning=False))
    assert learned(chat_user, {"facts": [], "outdated": [1]}) == []
    assert facts.all(chat_user.key) == [paris]


def test_a_fact_is_replaced_when_the_fact_limit_is_reached(app: Container) -> None:
    chat_user = ChatUser(app, max_facts=2)
    knows_paris(chat_user)
    other = {"text": "The user has a dog.", "confidence": 1}
    assert learned(chat_user, {"facts": [other]}) == ["facts"]
    assert chat_user.facts == ["The user lives in Paris."], "there is no space"
    assert learned(chat_user, {"facts": [other, {**LYON, "replaces": [1]}]}) == ["facts"]
    assert chat_user.facts == ["The user lives in Lyon."]


def test_the_largest_change_fits_into_one_transaction(chat_user: ChatUser) -> None:
    boats: list[dict[str, Any]] = [{"text": f"The user has boat {number}.", "confidence": 1} for number in range(5)]
    learned(chat_user, {"facts": boats})
    learned(chat_user, {"facts": [{**boat, "text": boat["text"].replace("boat", "car")} for boat in boats]})
    numbers = list(range(1, 11))
    new = [{**boat, "text": boat["text"].replace("boat", "ship"), "replaces": numbers} for boat in boats]
    learned(chat_user, {"facts": new, "outdated": numbers, "assistant": "Iris"}, "I sold all, Iris.")
    assert sorted(chat_user.facts) == [f"The user has car {number}." for number in range(5)] + [
        f"The user has ship {number}." for number in range(5)
    ]
    assert chat_user.app.facts.profile(chat_user.key).assistant_name == "Iris"


def test_the_answer_before_the_message_is_part_of_the_prompt(chat_user: ChatUser) -> None:
    chat_user.sends("Hello", reply="Welcome. Where do you live?")
    chat_user.learn(chat_user.sends("In Lyon.", reply="Nice."))
    [text] = chat_user.model.prompts[-1].turn.content
    assert "<before>\n… Welcome. Where do you live?\n</before>" in str(text)
    assert "Nice." not in str(text)
    assert f"Today is {now()[:10]}." in str(text)


@pytest.mark.parametrize("seq", [1, 3])
def test_an_answer_that_a_filter_stopped_is_not_part_of_the_prompt(chat_user: ChatUser, seq: int) -> None:
    if seq == 3:
        chat_user.sends("Hello", reply="Something bad.", finish_reason="content-filter")
    chat_user.learn(chat_user.sends("In Lyon."))
    [text] = chat_user.model.prompts[-1].turn.content
    assert "before" not in str(text)


def test_a_secret_is_never_stored(app: Container) -> None:
    chat_user = ChatUser(app, never_learn_patterns=r"project\s+x;;\bEMP-\d+")
    texts = ["The user's password is hunter2.", "The user leads Project X.", "The user is emp-77.", "The user sails."]
    assert learned(chat_user, {"facts": [{"text": text, "confidence": 1} for text in texts]}) == ["title", "facts"]
    assert chat_user.facts == ["The user sails."]


def test_facts_of_an_earlier_version_have_no_message(chat_user: ChatUser) -> None:
    fact = Fact("an-id", "The user sails.", "fact", "a-conversation", now(), 0.9)
    chat_user.app.facts._table.transact(chat_user.app.facts.learned_parts(chat_user.key, [fact]))
    assert chat_user.app.facts.all(chat_user.key) == [fact]
    assert fact.message is None


def test_a_permanent_failure_is_not_retried(chat_user: ChatUser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SmallModel, "failure", ModelInvalidRequest)
    chat_user.model.failing_jobs = {"Write"}
    assert chat_user.learn(chat_user.sends("I sail.")) == ["facts"]


def test_a_filtered_reply_stores_nothing(app: Container) -> None:
    chat_user = ChatUser(app, history_messages=4, classify_labels="travel", classify_function="triage")
    chat_user.model.finish_reason = "content-filter"
    assert chat_user.learn(chat_user.sends("Hm.")) == ["facts", "label"]
    assert (chat_user.stored.title, chat_user.facts, chat_user.stored.summary) == (None, [], None)
    assert chat_user.invocations.events == []


def test_learned_facts_use_at_most_half_of_the_fact_limit(app: Container) -> None:
    chat_user = ChatUser(app, max_facts=4)
    several = [{"text": f"The user has {count} boats.", "confidence": 0.9} for count in range(3)]
    chat_user.model.texts["Extract"] = json.dumps({"facts": several})
    chat_user.learn(chat_user.sends("I have boats."))
    chat_user.app.facts.add(chat_user.key, "The user's own.", "fact", limit=4)
    assert sorted(chat_user.facts) == ["The user has 0 boats.", "The user has 1 boats.", "The user's own."]


@pytest.mark.parametrize(("limit", "user_facts"), [(1, 0), (4, 4)])
def test_facts_are_not_extracted_when_the_fact_limit_is_reached(app: Container, limit: int, user_facts: int) -> None:
    chat_user = ChatUser(app, max_facts=limit)
    for number in range(user_facts):
        chat_user.app.facts.add(chat_user.key, f"The user's own, {number}.", "fact", limit=limit)
    assert chat_user.learn(chat_user.sends("I sail.")) == ["title"]
    assert chat_user.model.jobs == ["Write"]


def test_two_tasks_that_extract_the_same_fact_store_it_once(app: Container) -> None:
    chat_user, other_task = ChatUser(app), ChatUser(app)
    other_task.key, other_task.model.texts["Extract"] = chat_user.key, FACTS.replace("sails.", "SAILS!")
    app.models.answer = chat_user.model.answer  # type: ignore[method-assign]  # replaces the model
    first, second = chat_user.sends("I sail."), other_task.sends("I SAIL!")

    learned: list[Any] = []
    chat_user.during_first_call(lambda: learned.append(other_task.learn(second)))
    assert [chat_user.learn(first), *learned] == [["title", "facts"]] * 2
    assert len(chat_user.facts) == 1


@pytest.mark.parametrize(("message", "name"), [("Call yourself Iris", "Iris"), ("Choose a name", None)])
def test_the_assistant_name_is_stored_only_if_the_user_wrote_it(
    chat_user: ChatUser, message: str, name: str | None
) -> None:
    chat_user.app.facts.set_profile(chat_user.key, "Ada", None, "sails")
    chat_user.model.texts["Extract"] = json.dumps({"facts": [], "assistant": "Iris"})
    chat_user.learn(chat_user.sends(message))
    assert chat_user.app.facts.profile(chat_user.key) == Profile("Ada", name, "sails")


def test_a_label_invokes_the_classify_function(app: Container) -> None:
    chat_user = ChatUser(app, classify_labels="billing,travel", classify_function="triage")
    gid = chat_user.sends("Where to?")
    assert chat_user.learn(gid) == ["title", "facts", "label"]
    event = {"label": "travel", "user": chat_user.key, "conversation": chat_user.conversation, "generation": gid}
    assert chat_user.invocations.events == [("triage", event)]
    chat_user.learn(gid)
    chat_user.model.texts["Classify"] = "neither"
    chat_user.learn(chat_user.sends("Well."))
    assert len(chat_user.invocations.events) == 1
    assert chat_user.model.jobs.count("Classify") == 3, "what is no label is asked again once"
    chat_user.model.texts["Classify"] = "**Billing** (invoice)"
    chat_user.learn(chat_user.sends("My invoice?"))
    assert chat_user.invocations.events[1][1]["label"] == "billing"


def test_two_concurrent_deliveries_invoke_the_classify_function_once(app: Container) -> None:
    chat_user = ChatUser(app, classify_labels="billing,travel", classify_function="triage")
    gid = chat_user.sends("Where to?")
    steps: list[Any] = []
    chat_user.during_first_call(lambda: steps.append(chat_user.learn(gid)))
    assert chat_user.learn(gid) == []
    assert steps == [["title", "facts", "label"]]
    assert len(chat_user.invocations.events) == 1


def test_a_failed_invocation_of_the_classify_function_is_retried(app: Container) -> None:
    chat_user = ChatUser(app, classify_labels="billing,travel", classify_function="triage")
    gid = chat_user.sends("Where to?")
    chat_user.invocations.failing = True
    with pytest.raises(DispatchFailed):
        chat_user.learn(gid)
    chat_user.invocations.failing = False
    assert chat_user.learn(gid) == ["label"]
    assert len(chat_user.invocations.events) == 1


@pytest.mark.parametrize("failing_job", ["", "Extract"])
def test_the_tokens_of_a_task_are_counted_even_if_it_fails(chat_user: ChatUser, failing_job: str) -> None:
    gid = chat_user.sends("I sail.")
    before = chat_user.used
    chat_user.model.failing_jobs = {failing_job}
    chat_user.during_first_call(
        lambda: chat_user.app.conversations.rename(chat_user.key, chat_user.conversation, "My own")
    )
    with pytest.raises(ModelUnavailable) if failing_job else nullcontext():
        chat_user.learn(gid)
    calls = 1 if failing_job else 2
    assert (chat_user.used.tokens - before.tokens, chat_user.used.cost - before.cost) == (110 * calls, 500 * calls)
