"""What is remembered, over a real table and real sockets: budgets of tokens and of time."""

import json
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock

import pytest

from converse_stream import service
from converse_stream.auth import User
from converse_stream.aws import deadlines
from converse_stream.aws.embedder import DIMENSIONS, MAX_CHARS, Titan
from converse_stream.container import Container
from converse_stream.generation.completion import Preview
from converse_stream.generation.generation import Generation
from converse_stream.http.bodies import ChatRequest, Send
from converse_stream.memory.fact_memory import FactMemory
from converse_stream.memory.knowledge_base import KnowledgeBase
from converse_stream.memory.lookup import Memory
from converse_stream.memory.recall import MemoryStore, Recall
from converse_stream.memory.sources import Document, Source, tokens_of
from converse_stream.prompts import builder
from converse_stream.prompts.builder import PromptBudget
from converse_stream.protocol.errors import ConversationBusy, StorageError
from converse_stream.protocol.events import Complete, Progress, Start
from converse_stream.protocol.ids import new_id
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.settings import Settings
from converse_stream.store.facts import Facts, SearchableFact
from converse_stream.store.generation_record import GenerationRecord
from converse_stream.store.table import Table
from local_stack.dynamodb.server import DynamoDB
from tests.contract.dynamodb_local.server import Endpoint
from tests.contract.test_round_trips import Context
from tests.wire.bedrock_standin import standin
from tests.wire.slow_server import DRIPS, gone, slow_server

NOTHING = Memory(None)
FOREVER_DAYS = float("inf")
SECONDS = 0.3
FOR_EVER_AND_A_DAY = 60.0  # a client's, so that it does not give up by itself


@contextmanager
def at(**urls: str) -> Iterator[None]:
    """Where boto3 finds services."""
    with pytest.MonkeyPatch.context() as environment:
        for service, url in urls.items():
            environment.setenv(f"AWS_ENDPOINT_URL_{service}", url)
        yield


def table(url: str, seconds: float = 5) -> Table:
    with at(DYNAMODB=url):
        return Table(deadlines.client("dynamodb", seconds), "ChatTable")


def titan(url: str, seconds: float = 5) -> Titan:
    with at(BEDROCK_RUNTIME=url):
        return Titan(deadlines.client("bedrock-runtime", seconds), "titan-embed-v2", seconds=seconds)


def texts(found: Sequence[Source]) -> list[str]:
    return [source.text for source in found]


def test_facts_that_fit_are_all_there_oldest_first(dynamodb: Endpoint) -> None:
    user, known = new_id(), [f"fact {number}" for number in range(5)]
    facts = Facts(table(dynamodb.url))
    for text in known:
        facts.add(user, text, "fact", limit=9)
        time.sleep(0.002)  # their times have milliseconds
    assert texts(FactMemory(table(dynamodb.url), None, tokens=100).search(user, "?", FOREVER_DAYS)) == known


def test_facts_have_their_budget_with_their_labels(moto: DynamoDB) -> None:
    user, facts = new_id(), Facts(table(moto.url))
    for _ in range(30):
        facts.add(user, "tea", "fact", limit=99)
    found = FactMemory(table(moto.url), None, tokens=50).search(user, "?", FOREVER_DAYS)
    built = builder.build(Memory(None, sources=tuple(found)), (), "?", assistant="Ada", room=PromptBudget(10_000, 100))
    assert 30 < estimate_tokens(built.facts) - estimate_tokens("<facts>\n</facts>") <= 50


def test_nobody_looks_for_facts_after_the_deadline(dynamodb: Endpoint) -> None:
    with pytest.raises(StorageError):
        FactMemory(table(dynamodb.url), None, tokens=100).search(new_id(), "?", time.monotonic() - 1)


def test_of_too_many_those_that_help_are_there_in_a_stable_order(dynamodb: Endpoint) -> None:
    user, facts = new_id(), Facts(table(dynamodb.url))
    for number in range(8):
        facts.add(user, f"the dog is called Rex {number}" if number in {1, 4} else f"plays {number}", "fact", limit=9)
        time.sleep(0.002)
    chosen = ["the dog is called Rex 1", "the dog is called Rex 4", "plays 7"]
    budget = sum(tokens_of(SearchableFact("", text)) for text in chosen)
    found = FactMemory(table(dynamodb.url), None, tokens=budget).search(user, "What is my dog called?", FOREVER_DAYS)
    assert texts(found) == chosen


def test_an_embedding_is_made_with_the_fact_and_kept_as_bytes(dynamodb: Endpoint) -> None:
    with standin() as bedrock:
        user, embedder = new_id(), titan(bedrock.url)
        facts = Facts(table(dynamodb.url), embedder)
        added = facts.add(user, "loves rivers", "fact", limit=9)
        [kept] = facts.searchable(user)
        assert facts.all(user) == [added]
        assert (kept.id, kept.embedding) == (added.id, embedder.embed("loves rivers"))
        length = sum(value * value for value in array("f", kept.embedding or b""))
        assert (len(kept.embedding or b""), round(length, 3)) == (4 * DIMENSIONS, 1)
        for number in range(20):
            facts.add(user, f"plays piece {number}", "fact", limit=99)
        budget = 4 * tokens_of(SearchableFact("", "plays piece 19"))
        by_words = FactMemory(table(dynamodb.url), None, tokens=budget).search(user, "a river?", FOREVER_DAYS)
        by_meaning = FactMemory(table(dynamodb.url), embedder, tokens=budget).search(user, "a river?", FOREVER_DAYS)
    assert "loves rivers" not in texts(by_words)
    assert "loves rivers" in texts(by_meaning)


def test_of_a_long_text_the_begin_is_embedded() -> None:
    with standin() as bedrock:
        embedder = titan(bedrock.url)
        assert embedder.embed("river " * 10_000) == embedder.embed(
            ("river " * 10_000)[:MAX_CHARS]
        )  # Titan takes 50,000
        assert embedder.embed("river") is not None


def test_nothing_is_read_that_is_not_needed(dynamodb: Endpoint) -> None:
    """Embeddings above all: a kilobyte each."""

    class Embedding:
        seconds = 1.0

        def embed(self, text: str) -> bytes:
            return b"1234"

    user, known = new_id(), table(dynamodb.url)
    facts, read = Facts(known, Embedding()), list[set[str]]()

    def note(parsed: Any, **_: Any) -> None:
        read.append({name for item in parsed["Items"] for name in item})

    known._client.meta.events.register("after-call.dynamodb.Query", note)
    facts.add(user, "likes tea", "fact", limit=9)
    facts.add(user, "has a dog", "fact", limit=9)
    assert (len(facts.searchable(user)), len(facts.all(user))) == (2, 2)
    counted = {"sk"}
    assert read == [set(), counted, {"sk", "text", "ts", "embedding"}, {"sk", "text", "ts", "kind", "source"}]


def test_a_fact_s_embedding_has_more_time_than_a_question_s(moto: DynamoDB) -> None:
    made, elsewhere = list[float](), dict.fromkeys(("DYNAMODB", "BEDROCK_AGENT_RUNTIME"), moto.url)

    class Noted(Titan):
        def embed(self, text: str) -> bytes | None:
            made.append(self.seconds)
            return None

    with mock.patch("converse_stream.container.Titan", Noted), application(moto, 3000, **elsewhere) as app:
        app.facts.add("patient", "likes tea", "fact", limit=9)
        service.preview(app, User("patient", "address"), message("tea?"))
    assert made == [2, 1.5]


def test_a_fact_is_kept_without_an_embedding_when_there_is_none_to_be_had(dynamodb: Endpoint) -> None:
    user = new_id()
    with slow_server() as server:
        added = Facts(table(dynamodb.url), titan(server.url, 0.1)).add(user, "likes tea", "fact", limit=9)
    assert Facts(table(dynamodb.url)).searchable(user) == [SearchableFact(added.id, "likes tea")]


def searched(stores: dict[str, MemoryStore], user: str) -> tuple[Memory, float]:
    """What was found, and the seconds that it took; its threads have ended."""
    begun = time.monotonic()
    memory = Recall(stores).begin(user, "harbour", begun + SECONDS).merged_into(NOTHING)
    took = time.monotonic() - begun
    assert gone("recall")
    return memory, took


class Asleep:
    """A store that comes when it likes."""

    def __init__(self, wakes: threading.Event) -> None:
        self._wakes = wakes
        self.asked: list[float] = []

    def search(self, user: str, question: str, deadline: float) -> Sequence[Source]:
        self.asked.append(deadline)
        self._wakes.wait(10)
        return [Document("late", "late.md")]


class Awake:
    """A store that has come already, or cannot."""

    def __init__(self, *found: Source) -> None:
        self._found = found

    def search(self, user: str, question: str, deadline: float) -> Sequence[Source]:
        if not self._found:
            raise StorageError
        return self._found


def test_what_sleeps_or_fails_costs_its_part_and_the_time_until_the_deadline() -> None:
    wakes, here = threading.Event(), Document("here", "here.md")
    asleep, begun = Asleep(wakes), time.monotonic()
    stores: dict[str, MemoryStore] = {"documents": Awake(here), "asleep": asleep, "broken": Awake()}
    memory = Recall(stores).begin("user", "harbour", begun + SECONDS).merged_into(Memory(None, missing=("profile",)))
    assert memory == Memory(None, sources=(here,), missing=("profile", "asleep", "broken"))
    assert asleep.asked == [begun + SECONDS]
    assert SECONDS <= time.monotonic() - begun < 5
    wakes.set()
    assert gone("recall")


@pytest.mark.parametrize("first", DRIPS.values(), ids=DRIPS)
def test_what_hangs_costs_its_budget_and_leaves_no_thread(moto: DynamoDB, first: bytes) -> None:
    user, facts = new_id(), Facts(table(moto.url))
    for number in range(3):
        facts.add(user, f"fact {number}", "fact", limit=9)
    with slow_server(first) as server:
        with at(BEDROCK_AGENT_RUNTIME=server.url):
            client = deadlines.client("bedrock-agent-runtime", FOR_EVER_AND_A_DAY)
        hanging: dict[str, MemoryStore] = {
            "facts": FactMemory(table(server.url, FOR_EVER_AND_A_DAY), None, tokens=1),
            "documents": KnowledgeBase(client, "ABCDEFGHIJ", tokens=100),
        }
        memory, took = searched(hanging, user)
        assert (memory.sources, memory.missing) == ((), ("facts", "documents"))
        assert memory.progress() == [
            Progress("memory", "facts left out", missing="facts"),
            Progress("memory", "documents left out", missing="documents"),
        ]
        assert SECONDS <= took < 5


def test_an_embedder_that_hangs_leaves_the_facts_their_time(moto: DynamoDB) -> None:
    user, facts = new_id(), Facts(table(moto.url))
    for number in range(3):
        facts.add(user, f"fact {number}", "fact", limit=9)
    with slow_server() as server:
        budget = 2 * tokens_of(SearchableFact("", "fact 1"))
        slow, late = titan(server.url, SECONDS / 2), titan(server.url, SECONDS * 2)
        memory, _ = searched({"facts": FactMemory(table(moto.url), slow, tokens=budget)}, user)
        assert (len(memory.sources), memory.missing) == (2, ())  # without the embedder's opinion
        assert server.asked.wait(5)
        server.asked.clear()
        memory, _ = searched({"facts": FactMemory(table(moto.url), late, tokens=budget)}, user)
        assert (len(memory.sources), memory.missing) == (2, ())
        assert not server.asked.is_set()  # there was no time for it


@contextmanager
def application(moto: DynamoDB, milliseconds: int, documents: int = 1_500, /, **elsewhere: str) -> Iterator[Container]:
    """One whose impatient clients, and no others, find services elsewhere."""
    real = deadlines.client
    settings = Settings(
        table_name="ChatTable",
        auth_mode="dev",
        url_auth_type="AWS_IAM",
        knowledge_base_id="ABCDEFGHIJ",
        embedding_model="titan-embed-v2",
        facts_tokens=1,  # so that they never fit, and the question is embedded
        memory_milliseconds=milliseconds,
        documents_milliseconds=documents,
    )

    def client(service: str, seconds: float) -> Any:
        with at(**elsewhere):
            return real(service, seconds)

    with pytest.MonkeyPatch.context() as patch, at(DYNAMODB=moto.url):
        patch.setattr(deadlines, "client", client)
        yield Container(settings)


def message(text: str) -> ChatRequest:
    return ChatRequest.model_validate({"message": {"text": text}})


@pytest.mark.parametrize(
    ("first", "stoppable"), [(DRIPS["silence"], False), (DRIPS["headers"], True), (DRIPS["a body"], True)]
)
def test_services_that_hang_cost_the_budget_in_all_and_leave_no_thread(
    moto: DynamoDB, monkeypatch: pytest.MonkeyPatch, first: bytes, *, stoppable: bool
) -> None:
    """Where a call cannot be stopped its time-outs end it soon after."""
    if not stoppable:
        monkeypatch.setattr(deadlines, "attach_sockets", lambda _: None)
    user, parts = User(new_id(), "address"), ("history", "profile", "facts", "documents")
    with slow_server(first) as server:
        hanging = dict.fromkeys(("DYNAMODB", "BEDROCK_RUNTIME", "BEDROCK_AGENT_RUNTIME"), server.url)
        with application(moto, Settings.model_fields["memory_milliseconds"].default, **hanging) as app:
            asked, begin = message("harbour"), partial(service.start, send=Send(new_id(), "payload"), context=Context())
            for ask in (service.preview, begin):
                begun = time.monotonic()
                answer = ask(app, user, asked)
                assert time.monotonic() - begun < 4  # the lookup of a cold environment, and then the documents
                assert gone("lookup", 2)
                if isinstance(answer, Generation):
                    with answer:
                        pass
                    told = [each.event for each in answer.wait(0, 0)[1:6]]
                    late = [Progress("memory", f"{part} left out", missing=part) for part in parts]
                    assert told == [*late[:-1], Progress("search"), late[-1]]
                assert gone("recall", 2)
                if not isinstance(answer, Generation):
                    assert isinstance(answer, Preview)
                    assert answer.missing == parts


@pytest.mark.parametrize("outcome", [ConversationBusy(), RuntimeError(), mock.Mock(spec=GenerationRecord)], ids=type)
def test_an_answer_that_does_not_begin_leaves_no_search(moto: DynamoDB, outcome: Any) -> None:
    with slow_server() as server, application(moto, 30_000, DYNAMODB=moto.url, BEDROCK_AGENT_RUNTIME=server.url) as app:

        def start(*_: Any, **__: Any) -> Any:
            assert server.asked.wait(5)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        with mock.patch.object(app.generations, "start", start):
            refused = pytest.raises(type(outcome)) if isinstance(outcome, Exception) else nullcontext()
            with refused:
                service.start(app, User(new_id(), "address"), message("harbour"), Send(new_id(), "payload"), Context())
        assert gone("recall")


def test_an_answer_goes_on_without_a_knowledge_base_that_hangs(moto: DynamoDB) -> None:
    with standin() as bedrock, slow_server() as server, at(BEDROCK_RUNTIME=bedrock.url):
        elsewhere = {"DYNAMODB": moto.url, "BEDROCK_RUNTIME": bedrock.url, "BEDROCK_AGENT_RUNTIME": server.url}
        with application(moto, 1000, **elsewhere) as app:
            begun = time.monotonic()
            body = message("harbour [[tokens=3 pace=1 first=1]]")
            turn = service.start(app, User(new_id(), "address"), body, Send(new_id(), "payload"), Context())
            assert isinstance(turn, Generation)
            with turn:
                assert turn.wait(1, 1)[0].event == Progress("search")
                assert time.monotonic() - begun < 1.4  # `start` does not wait for documents
            assert 1 < time.monotonic() - begun < 5  # three quarters of the budget, for an answer, are the least
        assert turn.wait(0, 0)[2].event == Progress("memory", "documents left out", missing="documents")
        assert isinstance(turn.wait(0, 0)[-1].event, Complete)


def test_documents_may_take_longer_than_the_lookup(moto: DynamoDB) -> None:
    location = {"type": "S3", "s3Location": {"uri": "s3://bucket/harbour"}}
    result = {"content": {"text": "It is 9 m deep."}, "location": location}
    found = json.dumps({"retrievalResults": [result]}).encode()
    with standin() as bedrock, slow_answer(found, 0.8) as url, at(BEDROCK_RUNTIME=bedrock.url):
        elsewhere = {"DYNAMODB": moto.url, "BEDROCK_RUNTIME": bedrock.url, "BEDROCK_AGENT_RUNTIME": url}
        with application(moto, 5000, **elsewhere) as app:
            body = message("harbour [[tokens=3 pace=1 first=1]]")
            turn = service.start(app, User(new_id(), "address"), body, Send(new_id(), "payload"), Context())
            assert isinstance(turn, Generation)
            with turn:
                pass
    progress = [each.event for each in turn.wait(0, 0) if isinstance(each.event, Progress)]
    assert progress == [Progress("search"), Progress("search", "harbour")]


def test_a_stop_ends_the_wait_for_documents_and_no_model_is_asked(moto: DynamoDB) -> None:
    user = User(new_id(), "address")
    with standin() as bedrock, slow_server() as server, at(BEDROCK_RUNTIME=bedrock.url):
        elsewhere = {"DYNAMODB": moto.url, "BEDROCK_RUNTIME": bedrock.url, "BEDROCK_AGENT_RUNTIME": server.url}
        with application(moto, 1000, 30_000, **elsewhere) as app:
            turn = service.start(app, user, message("harbour"), Send(new_id(), "payload"), Context())
            assert isinstance(turn, Generation)
            begun = time.monotonic()
            with turn:
                start = turn.wait(0, 0)[0].event
                assert isinstance(start, Start)
                service.cancel(app, user, start.conversation_id, None)
            assert time.monotonic() - begun < 5
            end = turn.wait(0, 0)[-1].event
            assert isinstance(end, Complete)
            assert (end.finish_reason, end.usage.input_tokens) == ("cancelled", 0)
            assert gone("recall", 2)


@contextmanager
def slow_answer(body: bytes, seconds: float) -> Iterator[str]:
    """A server that thinks for so long before its answer to whatever it is asked."""

    class Slow(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            time.sleep(seconds)
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as listener:
        listener.daemon_threads = True
        serving = threading.Thread(target=listener.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{listener.server_address[1]}"
        finally:
            listener.shutdown()
            serving.join()
