"""What the application makes of a request, over a table in memory."""

import json
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import SecretStr

from converse_stream import service
from converse_stream.auth import User
from converse_stream.aws.deadlines import DeadlineExecutor
from converse_stream.container import Container
from converse_stream.flags.feature_flags import DEFAULT_FLAGS
from converse_stream.generation.generation import Generation
from converse_stream.http.bodies import ChatRequest, Send
from converse_stream.http.validation import parse
from converse_stream.limits import Budget
from converse_stream.memory.recall import MemoryStore, Recall
from converse_stream.memory.sources import Source
from converse_stream.model.stream import ModelEnd
from converse_stream.model.transport import Call
from converse_stream.prompts import builder
from converse_stream.prompts.prompt import Prompt, PromptMessage
from converse_stream.protocol.events import (
    Chunk,
    Complete,
    Progress,
    Usage,
)
from converse_stream.protocol.options import Options
from converse_stream.settings import Settings, SettingsError
from converse_stream.store.facts import SearchableFact
from tests.property.fake_table import Calm, FakeDynamo, Fault

ALICE = User("alice")
CONTEXT: LambdaContext = SimpleNamespace(  # type: ignore[assignment]  # as much of it as is used
    get_remaining_time_in_millis=lambda: 60_000, aws_request_id="request"
)


class Interrupted(Calm):
    """Before the next transaction, something else happens."""

    def __init__(self) -> None:
        self.event: Callable[[], object] | None = None

    def before(self, operation: str, pks: Any, *, writes: bool) -> Fault:
        """See Steering."""
        if operation == "transact" and self.event is not None:
            event, self.event = self.event, None
            event()
        return "none"


def application(dynamo: FakeDynamo, **settings: Any) -> Container:
    known = {"table_name": "table", "auth_mode": "dev", "url_auth_type": "NONE", "inference_profile": "us"}
    with (
        mock.patch("converse_stream.container.boto3.client", return_value=dynamo),
        mock.patch("converse_stream.aws.deadlines.client", return_value=dynamo),
        mock.patch("converse_stream.container.Bedrock"),
    ):
        return Container(Settings.model_validate(known | settings))


def request(body: dict[str, Any]) -> ChatRequest:
    return parse(ChatRequest, json.dumps({**body, "conversationId": "conversation"}).encode())


@pytest.mark.parametrize(("usd", "billionths"), [(0, 0), (1e-12, 1), (0.25, 250_000_000), (5, 5_000_000_000)])
def test_a_budget_however_small_is_not_without_limit(usd: float, billionths: int) -> None:
    rules = application(FakeDynamo(Calm()), user_day_usd=usd, day_usd=usd).usages.rules
    assert (rules.user_day.cost, rules.deployment_budget.cost) == (billionths, billionths)


def ended(app: Container, user: User, body: dict[str, Any]) -> Generation:
    """The turn of this request, when it is over."""
    turn = service.start(app, user, request(body), Send(str(body), str(body)), CONTEXT)
    assert isinstance(turn, Generation)
    with turn:
        while not isinstance(turn.wait(0, 5)[-1].event, Complete):
            pass
    return turn


def said(app: Container, user: User, text: str) -> Complete:
    """How the answer to this ended."""
    end = ended(app, user, {"message": {"text": text}}).wait(0, 0)[-1].event
    assert isinstance(end, Complete)
    return end


class Chat:
    """An application, a conversation, and a script in the model's place: `answer 1`, `answer 2`, …"""

    def __init__(self) -> None:
        self.interrupted = Interrupted()
        self.prompts: list[Prompt] = []
        self.app = application(FakeDynamo(self.interrupted), memory_milliseconds=30_000)
        self.app.models.answer = self._answer  # type: ignore[method-assign]  # the script

    def _answer(
        self, prompt: Prompt, alias: str, options: Any, call: Call, **_: Any
    ) -> Generator[Chunk | ModelEnd, None, None]:
        self.prompts.append(prompt)
        yield Chunk(f"answer {len(self.prompts)}")
        yield ModelEnd("stop", Usage())

    def send(self, text: str) -> Generation:
        """A message, and its whole answer."""
        return self.ask({"message": {"text": text}})

    def ask(self, body: dict[str, Any]) -> Generation:
        return ended(self.app, ALICE, body)

    @property
    def told(self) -> list[tuple[Any, ...]]:
        """The history that the last prompt had."""
        return [turn.content for turn in self.prompts[-1].history]


@pytest.fixture
def chat() -> Chat:
    return Chat()


def test_the_prompt_knows_what_was_answered_between_our_look_and_our_start(chat: Chat) -> None:
    chat.send("first")
    chat.interrupted.event = lambda: chat.send("second")
    chat.send("third")
    assert chat.prompts[-1].turn.content == ("third",)
    assert chat.told == [("first",), ("answer 1",), ("second",), ("answer 2",)]


def test_a_second_look_without_time_leaves_what_the_first_saw(chat: Chat) -> None:
    chat.app.facts.add(ALICE.key, "likes tea", "fact", limit=9)
    chat.send("first")
    look, looked = chat.app.lookup, list[float]()

    def hurried(user: str, conversation: str, gid: str, deadline: float) -> Any:
        looked.append(deadline)
        return look(user, conversation, gid, deadline if len(looked) == 1 else time.monotonic())

    def event() -> None:
        with mock.patch.object(chat.app, "lookup", look):
            chat.send("second")

    chat.interrupted.event = event
    with mock.patch.object(chat.app, "lookup", hurried):
        turn = chat.send("third")
    assert chat.told == [("first",), ("answer 1",)]
    assert turn.wait(0, 0)[1].event == Progress("memory", "history left out", missing="history")
    assert "likes tea" in chat.prompts[-1].facts


def test_what_is_looked_up_for_a_request_has_one_deadline_and_documents_have_their_own(chat: Chat) -> None:
    noted: list[tuple[str, float]] = []

    class Noted(DeadlineExecutor):
        def __init__(self, kind: str, threads: int, deadline: float) -> None:
            noted.append((kind, deadline))
            super().__init__(kind, threads, deadline)

    def event() -> None:
        kept = list(noted)
        chat.send("second")
        noted[:] = kept

    chat.send("first")
    with (
        mock.patch("converse_stream.memory.lookup.DeadlineExecutor", Noted),
        mock.patch("converse_stream.memory.recall.DeadlineExecutor", Noted),
    ):
        begun = time.monotonic()
        chat.interrupted.event = event
        chat.send("third")
        assert [kind for kind, _ in noted] == ["lookup", "recall", "recall", "lookup"]
        [documents, deadline] = sorted({deadline for _, deadline in noted})
        assert begun + 1.5 <= documents < time.monotonic() + 1.5
        assert begun + 30 <= deadline < time.monotonic() + 30

        noted.clear()
        service.preview(chat.app, ALICE, request({"message": {"text": "fourth"}}))
        assert [kind for kind, _ in noted] == ["lookup", "recall", "recall"]
        assert len({deadline for _, deadline in noted}) == 2


class Spy:
    """A store that finds one fact, whatever it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def search(self, user: str, question: str, deadline: float) -> Sequence[Source]:
        self.asked.append(question)
        return [SearchableFact("id", "likes tea")]


@pytest.fixture
def spy(chat: Chat) -> Spy:
    spy = Spy()
    chat.app.recall = Recall({"facts": spy})
    return spy


def test_the_user_s_own_words_are_searched_for(chat: Chat, spy: Spy) -> None:
    """Also where the model is told to go on, or to answer again."""
    chat.send("rivers")
    for action in ("continue", "regenerate"):
        service.preview(chat.app, ALICE, request({"action": action}))
        chat.ask({"action": action})
    assert spy.asked == ["rivers"] * 5


def test_memory_can_be_switched_off(chat: Chat, spy: Spy) -> None:
    chat.app.flags = mock.Mock(for_user=lambda _: replace(DEFAULT_FLAGS, memory=False))
    shown = service.preview(chat.app, ALICE, request({"message": {"text": "rivers"}}))
    chat.send("rivers")
    assert (shown.completion.sources, chat.prompts[-1].facts, spy.asked) == ((), "", [])


def test_a_cut_answer_costs_what_its_speaker_costs_and_nothing_by_an_own_key() -> None:
    def answer(*_: Any, **__: Any) -> Generator[Chunk | Progress, None, None]:
        yield Progress("fallback", "nova-micro")
        yield Chunk("a word " * 20)
        yield Chunk("too much" * 1000)

    app = application(FakeDynamo(Calm()), default_model="nova-pro", max_answer_bytes=1000)
    app.models.answer = answer  # type: ignore[method-assign]  # a script in the model's place
    cut = said(app, ALICE, "first")
    assert (cut.finish_reason, cut.ai_message.model) == ("length", "nova-micro")
    exactly = replace(cut.usage, cost=None)
    assert cut.usage == app.models["nova-micro"].priced(exactly, Options())
    assert cut.usage.cost
    own = said(app, User("bob", bedrock_key=SecretStr("key")), "second")
    assert (own.usage.basis, own.usage.output_tokens, own.usage.cost) == ("estimated", cut.usage.output_tokens, None)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_guardrail_looks_when_the_settings_say(mode: str) -> None:
    app = application(FakeDynamo(Calm()), guardrail_id="abc", guardrail_version="1", guardrail_streaming=mode)
    _, asked = app.models.request(Prompt("", (), "", PromptMessage("user", ("hi",))), "nova-lite", Options())
    assert asked["guardrailConfig"]["streamProcessingMode"] == mode


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"default_model": "nova-lite", "allowed_models": "nova-pro"}, "DEFAULT_MODEL"),
        ({"default_model": "gpt"}, "DEFAULT_MODEL"),
        ({"task_model": "gpt"}, "TASK_MODEL"),
        ({"allowed_models": "nova-lite,gpt"}, "ALLOWED_MODELS"),
    ],
)
def test_settings_that_name_no_model_are_refused(settings: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        application(FakeDynamo(Calm()), **settings)


def test_a_start_that_fails_in_any_way_frees_its_slot(chat: Chat) -> None:
    with (
        mock.patch("converse_stream.service.start.build_completion", side_effect=ValueError("a fault")),
        pytest.raises(ValueError, match="fault"),
    ):
        service.start(chat.app, ALICE, request({"message": {"text": "first"}}), Send("key", "payload"), CONTEXT)
    assert chat.app.usages.read(ALICE.key, ALICE.address).slots == frozenset()


@pytest.mark.parametrize("stores", [{}, {"documents": mock.Mock(search=lambda *_: [])}])
def test_the_prompt_is_built_once_where_nothing_is_found(chat: Chat, stores: dict[str, MemoryStore]) -> None:
    chat.app.documents = Recall(stores)
    with mock.patch("converse_stream.prompts.builder.build", wraps=builder.build) as build:
        chat.send("first")
    assert build.call_count == 1


def test_nothing_is_kept_back_for_documents_that_are_not_searched_for(chat: Chat) -> None:
    """Where memory is switched off, an answer may use what is left of the day."""
    chat.app.usages.rules = replace(chat.app.usages.rules, user_day=Budget(chat.app.settings.documents_tokens, 0))
    chat.app.documents = Recall({"documents": mock.Mock(search=lambda *_: [])})
    chat.app.settings = chat.app.settings.model_copy(update={"knowledge_base_id": "ABCDEFGHIJ"})
    assert (end := said(chat.app, ALICE, "first")).finish_reason == "budget", end
    chat.app.flags = mock.Mock(for_user=lambda _: replace(DEFAULT_FLAGS, memory=False))
    assert said(chat.app, ALICE, "second").finish_reason == "stop"
