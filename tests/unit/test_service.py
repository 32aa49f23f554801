"""The service functions with a table in memory."""

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
from converse_stream.memory.question import Question
from converse_stream.memory.recall import MemoryStore, Recall
from converse_stream.memory.sources import Source
from converse_stream.model.stream import ModelEnd
from converse_stream.model.transport import Call
from converse_stream.prompts import builder
from converse_stream.prompts.prompt import Prompt, PromptMessage
from converse_stream.protocol.errors import ModelUnpriced
from converse_stream.protocol.events import Chunk, Complete, Progress, Usage
from converse_stream.protocol.options import Options
from converse_stream.service.prompts import check_model
from converse_stream.settings import Settings, SettingsError
from converse_stream.store.facts import SearchableFact
from tests.property.fake_table import FakeDynamo, Fault, NoFaults

ALICE = User("alice")
CONTEXT: LambdaContext = SimpleNamespace(  # type: ignore[assignment]  # only the used attributes
    get_remaining_time_in_millis=lambda: 60_000, aws_request_id="request"
)


class InterruptedTable(NoFaults):
    """A table that calls `event` once, before the next transaction."""

    def __init__(self) -> None:
        self.event: Callable[[], object] | None = None

    def before(self, operation: str, pks: Any, *, writes: bool) -> Fault:
        """See TableHooks."""
        if operation == "transact" and self.event is not None:
            event, self.event = self.event, None
            event()
        return "none"


def application(dynamo: FakeDynamo, **settings: Any) -> Container:
    defaults = {"table_name": "table", "auth_mode": "dev", "url_auth_type": "NONE", "inference_profile": "us"}
    with (
        mock.patch("converse_stream.aws.clients.client", return_value=dynamo),
        mock.patch("converse_stream.container.Bedrock"),
    ):
        return Container(Settings.model_validate(defaults | settings))


def request(body: dict[str, Any]) -> ChatRequest:
    return parse(ChatRequest, json.dumps({**body, "conversationId": "conversation"}).encode())


@pytest.mark.parametrize(("usd", "billionths"), [(0, 0), (1e-12, 1), (0.25, 250_000_000), (5, 5_000_000_000)])
def test_small_budget_is_rounded_up_to_a_limit(usd: float, billionths: int) -> None:
    rules = application(FakeDynamo(NoFaults()), user_day_usd=usd, day_usd=usd).usages.rules
    assert (rules.user_day.cost, rules.deployment_budget.cost) == (billionths, billionths)


def run_to_end(app: Container, user: User, body: dict[str, Any]) -> Generation:
    """The generation of this request, after its end."""
    generation = service.start(app, user, request(body), Send(str(body), str(body)), CONTEXT)
    assert isinstance(generation, Generation)
    with generation:
        while not isinstance(generation.wait(0, 5)[-1].event, Complete):
            pass
    return generation


def complete(app: Container, user: User, text: str) -> Complete:
    """The terminal event of the answer to this text."""
    end = run_to_end(app, user, {"message": {"text": text}}).wait(0, 0)[-1].event
    assert isinstance(end, Complete)
    return end


class Chat:
    """An application with one conversation; the model is a script that answers `answer 1`, `answer 2`, …"""

    def __init__(self) -> None:
        self.table = InterruptedTable()
        self.prompts: list[Prompt] = []
        self.app = application(FakeDynamo(self.table), memory_milliseconds=30_000)
        self.app.models.answer = self._answer  # type: ignore[method-assign]  # the script replaces the model

    def _answer(
        self, prompt: Prompt, name: str, options: Any, call: Call, **_: Any
    ) -> Generator[Chunk | ModelEnd, None, None]:
        self.prompts.append(prompt)
        yield Chunk(f"answer {len(self.prompts)}")
        yield ModelEnd("stop", Usage())

    def send(self, text: str) -> Generation:
        """Sends a message and waits for the end of the answer."""
        return self.ask({"message": {"text": text}})

    def ask(self, body: dict[str, Any]) -> Generation:
        return run_to_end(self.app, ALICE, body)

    @property
    def last_history(self) -> list[tuple[Any, ...]]:
        """The history in the last prompt."""
        return [message.content for message in self.prompts[-1].history]


@pytest.fixture
def chat() -> Chat:
    return Chat()


def test_prompt_contains_an_answer_stored_between_lookup_and_start(chat: Chat) -> None:
    chat.send("first")
    chat.table.event = lambda: chat.send("second")
    chat.send("third")
    assert chat.prompts[-1].turn.content == ("third",)
    assert chat.last_history == [("first",), ("answer 1",), ("second",), ("answer 2",)]


def test_all_prompts_of_a_request_have_one_number_and_one_time(chat: Chat) -> None:
    chat.send("first")
    chat.table.event = lambda: chat.send("second")
    times = iter(range(1_796_126_400_000, 2_000_000_000_000, 60_000))  # a minute for each reading of the clock
    with (
        mock.patch.object(chat.app.generations, "now", side_effect=times),
        mock.patch("converse_stream.prompts.builder.build", wraps=builder.build) as build,
    ):
        chat.send("third")
        chat.send("fourth")
    contexts = [(call.args[2], call.kwargs["context"]) for call in build.call_args_list]
    assert [text for text, _ in contexts].count("third") > 1
    assert len(set(contexts)) == 3
    assert len({context.number for _, context in contexts}) == 3


@pytest.mark.parametrize(("offset", "today"), [({}, "12:00 (UTC)."), ({"utcOffset": "+05:45"}, "17:45 (UTC+05:45).")])
def test_prompt_has_the_time_at_the_offset_of_the_request(chat: Chat, offset: dict[str, str], today: str) -> None:
    body = {"message": {"text": "hello"}, **offset}
    with mock.patch.object(chat.app.generations, "now", return_value=1_796_126_400_000):
        chat.ask(body)
        shown = service.preview(chat.app, ALICE, request(body))
    assert chat.prompts[-1].today == shown.completion.prompt.today == f"Today is Tuesday, 1 December 2026, {today}"


def test_second_lookup_after_the_deadline_keeps_the_result_of_the_first(chat: Chat) -> None:
    chat.app.facts.add(ALICE.key, "likes tea", "fact", limit=9)
    chat.send("first")
    lookup, deadlines = chat.app.lookup, list[float]()

    def lookup_without_time(user: str, conversation: str, gid: str, deadline: float) -> Any:
        deadlines.append(deadline)
        return lookup(user, conversation, gid, deadline if len(deadlines) == 1 else time.monotonic())

    def event() -> None:
        with mock.patch.object(chat.app, "lookup", lookup):
            chat.send("second")

    chat.table.event = event
    with mock.patch.object(chat.app, "lookup", lookup_without_time):
        generation = chat.send("third")
    assert chat.last_history == [("first",), ("answer 1",)]
    assert generation.wait(0, 0)[1].event == Progress("memory", "history left out", missing="history")
    assert "likes tea" in chat.prompts[-1].facts


def test_lookups_of_a_request_share_a_deadline_and_documents_have_their_own(chat: Chat) -> None:
    executors: list[tuple[str, float]] = []

    class RecordingExecutor(DeadlineExecutor):
        def __init__(self, kind: str, threads: int, deadline: float) -> None:
            executors.append((kind, deadline))
            super().__init__(kind, threads, deadline)

    def event() -> None:
        before = list(executors)
        chat.send("second")
        executors[:] = before

    chat.send("first")
    with (
        mock.patch("converse_stream.memory.lookup.DeadlineExecutor", RecordingExecutor),
        mock.patch("converse_stream.memory.recall.DeadlineExecutor", RecordingExecutor),
    ):
        started = time.monotonic()
        chat.table.event = event
        chat.send("third")
        assert [kind for kind, _ in executors] == ["lookup", "recall", "recall", "lookup"]
        [documents, deadline] = sorted({deadline for _, deadline in executors})
        assert started + 1.5 <= documents < time.monotonic() + 1.5
        assert started + 30 <= deadline < time.monotonic() + 30

        executors.clear()
        service.preview(chat.app, ALICE, request({"message": {"text": "fourth"}}))
        assert [kind for kind, _ in executors] == ["lookup", "recall", "recall"]
        assert len({deadline for _, deadline in executors}) == 2


class RecordingStore:
    """A store that finds the same fact for every question, and keeps the questions."""

    def __init__(self) -> None:
        self.questions: list[Question] = []

    def search(self, user: str, question: Question, deadline: float) -> Sequence[Source]:
        self.questions.append(question)
        return [SearchableFact("id", "likes tea")]


@pytest.fixture
def store(chat: Chat) -> RecordingStore:
    store = RecordingStore()
    chat.app.recall = Recall({"facts": store})
    return store


def test_memory_is_searched_with_the_text_of_the_user_message(chat: Chat, store: RecordingStore) -> None:
    """Also for the actions continue and regenerate."""
    chat.send("rivers")
    for action in ("continue", "regenerate"):
        service.preview(chat.app, ALICE, request({"action": action}))
        chat.ask({"action": action})
    assert store.questions == [Question("rivers")] * 5


def test_memory_is_also_searched_with_the_previous_message_of_the_user(chat: Chat, store: RecordingStore) -> None:
    for text in ("Hello", "rivers", "And how long?", "Thank you!"):
        store.questions.clear()
        chat.send(text)
        service.preview(chat.app, ALICE, request({"action": "regenerate"}))
        expected = {
            "Hello": Question(""),  # a greeting is no question
            "rivers": Question("rivers"),
            "And how long?": Question("And how long?", "rivers"),
            "Thank you!": Question(""),
        }
        assert store.questions == [expected[text]] * 2


def test_documents_are_not_searched_for_a_greeting(chat: Chat, store: RecordingStore) -> None:
    documents = RecordingStore()
    chat.app.documents = Recall({"documents": documents})
    chat.send("Hello!")
    service.preview(chat.app, ALICE, request({"message": {"text": "Hello!"}}))
    assert (documents.questions, store.questions) == ([], [Question("")] * 2)
    chat.send("rivers")
    assert documents.questions == [Question("rivers")]


def test_disabled_memory_is_not_searched(chat: Chat, store: RecordingStore) -> None:
    chat.app.flags = mock.Mock(for_user=lambda _: replace(DEFAULT_FLAGS, memory=False))
    preview = service.preview(chat.app, ALICE, request({"message": {"text": "rivers"}}))
    chat.send("rivers")
    assert (preview.completion.sources, chat.prompts[-1].facts, store.questions) == ((), "", [])


def test_truncated_answer_has_the_price_of_its_model_or_none_with_an_own_key() -> None:
    def answer(*_: Any, **__: Any) -> Generator[Chunk | Progress, None, None]:
        yield Progress("fallback", "nova-micro")
        yield Chunk("a word " * 20)
        yield Chunk("too much" * 1000)

    app = application(FakeDynamo(NoFaults()), default_model="nova-pro", max_answer_bytes=1000)
    app.models.answer = answer  # type: ignore[method-assign]  # the script replaces the model
    cut = complete(app, ALICE, "first")
    assert (cut.finish_reason, cut.ai_message.model) == ("length", "nova-micro")
    usage = replace(cut.usage, cost=None)
    assert cut.usage == app.models["nova-micro"].priced(usage, Options())
    assert cut.usage.cost
    own = complete(app, User("bob", bedrock_key=SecretStr("key")), "second")
    assert (own.usage.basis, own.usage.output_tokens, own.usage.cost) == ("estimated", cut.usage.output_tokens, None)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_guardrail_has_the_processing_mode_of_the_settings(mode: str) -> None:
    app = application(FakeDynamo(NoFaults()), guardrail_id="abc", guardrail_version="1", guardrail_streaming=mode)
    _, model_request = app.models.request(Prompt("", (), "", PromptMessage("user", ("hi",))), "nova-lite", Options())
    assert model_request["guardrailConfig"]["streamProcessingMode"] == mode


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        ({"default_model": "nova"}, "DEFAULT_MODEL: nova is no alias"),
        ({"task_model": "nova"}, "TASK_MODEL: nova is no alias"),
        ({"allowed_models": "nova-lite,nova"}, "ALLOWED_MODELS: nova is no alias"),
        ({"default_model": "gpt"}, "DEFAULT_MODEL: gpt has no price"),
        ({"allowed_models": "nova-lite,vendor.new-1"}, "ALLOWED_MODELS: vendor.new-1 has no price"),
        ({"model_overrides": '{"gpt": {"price": []}, "x.y": {"tokens": 1}}'}, "MODEL_OVERRIDES: x.y.tokens: "),
        ({"model_overrides": "missing.json"}, "MODEL_OVERRIDES: cannot be read"),
    ],
)
def test_settings_with_a_wrong_model_are_refused(settings: dict[str, str], variable: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        application(FakeDynamo(NoFaults()), **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"default_model": "nova-lite", "allowed_models": "nova-pro"},
        {"allowed_models": "*"},
        {"default_model": "gpt", "day_usd": 0, "user_day_usd": 0},
        {"default_model": "gpt", "model_overrides": '{"gpt": {"price": [{"input": 1, "output": 2}]}}'},
    ],
)
def test_settings_start_with_a_default_model_that_is_always_allowed(settings: dict[str, Any]) -> None:
    app = application(FakeDynamo(NoFaults()), **settings)
    assert app.models.allows(app.settings.default_model)


def test_model_without_a_price_is_refused_while_there_is_a_budget_in_dollars() -> None:
    app = application(FakeDynamo(NoFaults()), allowed_models="*")
    with pytest.raises(ModelUnpriced, match=r"^vendor\.new-1 has no price\. .* ModelOverrides") as error:
        check_model(app, ALICE, "vendor.new-1", Options())
    assert (error.value.status, error.value.field) == (403, "model")
    check_model(app, replace(ALICE, bedrock_key=SecretStr("key")), "vendor.new-1", Options())
    unlimited = application(FakeDynamo(NoFaults()), allowed_models="*", day_usd=0, user_day_usd=0)
    check_model(unlimited, ALICE, "vendor.new-1", Options())


def test_failed_start_releases_its_slot(chat: Chat) -> None:
    with (
        mock.patch("converse_stream.service.start.build_completion", side_effect=ValueError("a fault")),
        pytest.raises(ValueError, match="fault"),
    ):
        service.start(chat.app, ALICE, request({"message": {"text": "first"}}), Send("key", "payload"), CONTEXT)
    assert chat.app.usages.read(ALICE.key, ALICE.address).slots == frozenset()


@pytest.mark.parametrize("stores", [{}, {"documents": mock.Mock(search=lambda *_: [])}])
def test_prompt_is_built_once_if_no_document_is_found(chat: Chat, stores: dict[str, MemoryStore]) -> None:
    chat.app.documents = Recall(stores)
    with mock.patch("converse_stream.prompts.builder.build", wraps=builder.build) as build:
        chat.send("first")
    assert build.call_count == 1


def test_no_budget_is_reserved_for_documents_with_memory_disabled(chat: Chat) -> None:
    """With memory disabled, an answer may use the whole remaining daily budget."""
    chat.app.usages.rules = replace(chat.app.usages.rules, user_day=Budget(chat.app.settings.documents_tokens, 0))
    chat.app.documents = Recall({"documents": mock.Mock(search=lambda *_: [])})
    chat.app.settings = chat.app.settings.model_copy(update={"knowledge_base_id": "ABCDEFGHIJ"})
    assert (end := complete(chat.app, ALICE, "first")).finish_reason == "budget", end
    chat.app.flags = mock.Mock(for_user=lambda _: replace(DEFAULT_FLAGS, memory=False))
    assert complete(chat.app, ALICE, "second").finish_reason == "stop"
