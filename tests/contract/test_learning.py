"""What is learned of an answer, on a real table: each step once, whatever breaks a task off."""

import io
import json
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import pytest

from chat import tasks
from chat.application import Application
from chat.errors import ChatError, ModelInvalidRequest, ModelUnavailable, StorageError
from chat.events import Chunk, Usage
from chat.ids import new_id
from chat.learning import Learning
from chat.model.stream import Ended
from chat.prompts.prompt import Prompt
from chat.settings import Settings
from chat.store.facts import Profile
from chat.store.head import End
from chat.store.writer import Writer
from tests.contract.dynamodb_local.server import Endpoint
from tests.contract.test_store import answer, new_head, user_message

SPENT = Usage(100, 10, basis="exact", cost=500)
FACTS = json.dumps({"facts": [{"text": "The user sails.", "kind": "fact", "confidence": 0.9}], "assistant": None})


class SmallModel:
    """Answers each job with its text, and fails at those in `broken`."""

    failure: type[ChatError] = ModelUnavailable

    def __init__(self) -> None:
        self.texts = {"Write": "A title", "Extract": FACTS, "Summarise": "A summary", "Classify": "travel"}
        self.broken: set[str] = set()
        self.before: Callable[[], object] = lambda: None
        self.asked: list[Prompt] = []
        self.finish_reason = "stop"

    def answer(self, prompt: Prompt, *_: Any, **__: Any) -> Generator[Chunk | Ended, None, None]:
        self.asked.append(prompt)
        self.before()
        job = prompt.system.partition(" ")[0]
        if job in self.broken:
            raise self.failure
        yield Chunk(self.texts[job])
        yield Ended(self.finish_reason, SPENT)

    @property
    def jobs(self) -> list[str]:
        return [prompt.system.partition(" ")[0] for prompt in self.asked]


class Invocations:
    """In place of boto3's Lambda client."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:
        assert InvocationType == "Event"
        self.events.append((FunctionName, json.loads(Payload)))
        return {"StatusCode": 202, "Payload": io.BytesIO()}


class Somebody:
    """A user with a conversation, what the small model says, and what was started for them."""

    def __init__(self, app: Application, **changed: Any) -> None:
        self.key, self.conversation = f"user-{new_id()}", new_id()
        self.model, self.started = SmallModel(), Invocations()
        self.app = app
        app.settings = app.settings.model_copy(update=changed)
        app.learning = Learning(self.started, "tasks", app._flags)
        app.models.answer = self.model.answer  # type: ignore[method-assign]  # a script in the model's place

    def says(self, text: str, reply: str = "I see.") -> str:
        """The generation of the answer."""
        writer = self.app.generations.start(self.key, new_head(self.conversation), None, user_message(text))
        assert isinstance(writer, Writer)
        said = replace(answer(Chunk(reply)), id=writer.head.message_id, generation_id=writer.head.gid)
        writer.finish(said, End("done", "stop", Usage(1, 2, basis="exact")))
        return writer.head.gid

    def learn(self, gid: str) -> Any:
        """The steps that were taken."""
        return tasks.run({"task": "learn", "user": self.key, "generation": gid}, self.app, 30)["learned"]

    @property
    def facts(self) -> list[str]:
        return [fact.text for fact in self.app.facts.all(self.key)]

    @property
    def known(self) -> Any:
        return self.app.conversations.get(self.key, self.conversation)


@pytest.fixture
def app(dynamodb: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Application:
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url)
    settings = Settings(table_name="ChatTable", auth_mode="dev", url_auth_type="AWS_IAM", inference_profile="us")
    return Application(settings)


@pytest.fixture
def somebody(app: Application) -> Somebody:
    return Somebody(app)


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

    def other() -> None:
        somebody.model.before = lambda: None
        twin.append(somebody.learn(gid))

    somebody.model.before = other
    assert somebody.learn(gid) == []
    assert twin == [["title", "facts"]]
    assert somebody.facts == ["The user sails."]


def test_a_title_that_comes_first_stays(somebody: Somebody) -> None:
    gid = somebody.says("I sail.")

    def rename() -> None:
        somebody.model.before = lambda: None
        somebody.app.conversations.rename(somebody.key, somebody.conversation, "My own")

    somebody.model.before = rename
    assert somebody.learn(gid) == ["facts"]
    assert somebody.known.title == "My own"


def test_erasure_wins(somebody: Somebody) -> None:
    gid = somebody.says("I sail.")

    def erase() -> None:
        somebody.model.before = lambda: None
        assert somebody.app.erasure.everything(somebody.key, float("inf"))

    somebody.model.before = erase
    assert somebody.learn(gid) == []
    assert somebody.facts == []
    assert somebody.known.title is None


def test_nothing_is_learned_from_a_deleted_conversation(somebody: Somebody) -> None:
    gid = somebody.says("I sail.")
    somebody.app.erasure.conversation(somebody.key, somebody.conversation)
    assert somebody.learn(gid) == []
    assert somebody.model.asked == []


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
    assert somebody.learn(somebody.says("Hm.")) == ["title", "facts", "summary", "label"]
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

    def other() -> None:
        somebody.model.before = lambda: None
        assert elsewhere.learn(there) == ["title", "facts"]

    somebody.model.before = other
    assert somebody.learn(here) == ["title", "facts"]
    assert len(somebody.facts) == 1


@pytest.mark.parametrize(("message", "name"), [("Call yourself Iris", "Iris"), ("Choose a name", None)])
def test_the_assistant_s_name_is_the_user_s_word(somebody: Somebody, message: str, name: str | None) -> None:
    somebody.app.facts.set_profile(somebody.key, Profile("Ada", about="sails"))
    somebody.model.texts["Extract"] = json.dumps({"facts": [], "assistant": "Iris"})
    somebody.learn(somebody.says(message))
    assert somebody.app.facts.profile(somebody.key) == Profile("Ada", name, "sails")


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
    somebody.app.erasure.conversation(somebody.key, somebody.conversation)
    assert somebody.known.summary is None


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


def test_what_it_costs_is_counted(somebody: Somebody) -> None:
    gid = somebody.says("I sail.")
    before = somebody.app._usages.look(somebody.key, "address").user
    somebody.learn(gid)
    after = somebody.app._usages.look(somebody.key, "address").user
    assert (after.tokens - before.tokens, after.cost - before.cost) == (220, 1000)
