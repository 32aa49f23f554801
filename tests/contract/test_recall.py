"""Recall of facts and documents on a real table and real sockets: token budgets and deadlines."""

import json
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from unittest import mock

import pytest

from converse_stream import service
from converse_stream.auth import User
from converse_stream.aws import connection_pools, deadlines
from converse_stream.aws.embedder import DIMENSIONS, MAX_CHARS, Embedder, Titan
from converse_stream.container import Container
from converse_stream.generation.completion import Preview
from converse_stream.generation.generation import Generation
from converse_stream.http.bodies import ChatRequest, Send
from converse_stream.memory.fact_memory import FactMemory
from converse_stream.memory.knowledge_base import KnowledgeBase
from converse_stream.memory.lookup import Memory
from converse_stream.memory.question import Question
from converse_stream.memory.recall import MemoryStore, Recall
from converse_stream.memory.sources import Document, Source, tokens_of
from converse_stream.prompts import builder
from converse_stream.prompts.builder import PromptBudget, RequestContext
from converse_stream.prompts.templates import numbered_fence, render
from converse_stream.protocol.errors import ConversationBusy, StorageError
from converse_stream.protocol.events import Complete, Progress, Start
from converse_stream.protocol.ids import new_id, now
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.settings import Settings
from converse_stream.store import keys
from converse_stream.store.facts import Fact, Facts, SearchableFact
from converse_stream.store.generation_record import GenerationRecord
from converse_stream.store.search_terms import ATTRIBUTE, pack, terms_of
from converse_stream.store.table import Table
from local_stack.dynamodb.server import DynamoDB
from tests.contract.dynamodb_local.server import Endpoint
from tests.contract.test_round_trips import Context
from tests.wire.bedrock_standin import standin
from tests.wire.slow_server import FIRST_BYTES, slow_server, threads_ended

EMPTY = Memory(None)
NO_DEADLINE = float("inf")
SEARCH_SECONDS = 0.3  # the deadline of a search
LONG_TIMEOUT = 60.0  # seconds, of a client that must not time out in the test


@contextmanager
def endpoints(**urls: str) -> Iterator[None]:
    """Sets the endpoint URLs of boto3 services."""
    with pytest.MonkeyPatch.context() as environment:
        for service, url in urls.items():
            environment.setenv(f"AWS_ENDPOINT_URL_{service}", url)
        yield


def table(url: str, seconds: float = 5) -> Table:
    with endpoints(DYNAMODB=url):
        return Table(deadlines.client("dynamodb", seconds), "ChatTable")


def titan(url: str, seconds: float = 5) -> Titan:
    with endpoints(BEDROCK_RUNTIME=url):
        return Titan(deadlines.client("bedrock-runtime", seconds), "titan-embed-v2", seconds=seconds)


def texts(sources: Sequence[Source]) -> list[str]:
    return [source.text for source in sources]


def test_facts_within_the_budget_are_all_returned_oldest_first(dynamodb: Endpoint) -> None:
    user, stored = new_id(), [f"fact {number}" for number in range(5)]
    facts = Facts(table(dynamodb.url))
    for text in stored:
        facts.add(user, text, "fact", limit=9)
        time.sleep(0.002)  # their timestamps have milliseconds
    assert texts(FactMemory(table(dynamodb.url), None, tokens=100).search(user, Question("?"), NO_DEADLINE)) == stored


def test_the_budget_of_facts_includes_their_labels(moto: DynamoDB) -> None:
    user, facts = new_id(), Facts(table(moto.url))
    for _ in range(30):
        facts.add(user, "tea", "fact", limit=99)
    sources = FactMemory(table(moto.url), None, tokens=50).search(user, Question("?"), NO_DEADLINE)
    built = builder.build(
        Memory(None, sources=tuple(sources)),
        (),
        "?",
        assistant="Ada",
        budget=PromptBudget(10_000, 100),
        context=RequestContext("7f3a9c21", datetime.now(UTC)),
    )
    frame = numbered_fence("facts", "7f3a9c21", "") + render("facts")
    assert 30 < estimate_tokens(built.facts) - estimate_tokens(frame) <= 50


def test_a_fact_search_after_the_deadline_fails(dynamodb: Endpoint) -> None:
    with pytest.raises(StorageError):
        FactMemory(table(dynamodb.url), None, tokens=100).search(new_id(), Question("?"), time.monotonic() - 1)


def test_the_relevant_facts_are_chosen_in_a_stable_order_when_not_all_fit(dynamodb: Endpoint) -> None:
    user, facts = new_id(), Facts(table(dynamodb.url))
    for number in range(8):
        facts.add(user, f"the dog is called Rex {number}" if number in {1, 4} else f"plays {number}", "fact", limit=9)
        time.sleep(0.002)
    chosen = ["the dog is called Rex 1", "the dog is called Rex 4", "plays 7"]
    budget = sum(size_of(text) for text in chosen)
    memory = FactMemory(table(dynamodb.url), None, tokens=budget)
    assert texts(memory.search(user, Question("What is my dog called?"), NO_DEADLINE)) == chosen
    assert texts(memory.search(user, Question("And how old is it?", "my dog"), NO_DEADLINE)) == chosen
    assert texts(memory.search(user, Question(""), NO_DEADLINE)) == ["plays 5", "plays 6", "plays 7"]


class Synonyms:
    """Embeds brooks as rivers: for the stand-in, only texts with common parts of words have a similar meaning."""

    seconds = 1.0

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def embed(self, text: str) -> bytes | None:
        return self._embedder.embed(text.replace("brook", "river"))


def test_an_embedding_is_stored_with_its_fact_and_used_in_the_search(dynamodb: Endpoint) -> None:
    with standin() as bedrock:
        user, embedder = new_id(), titan(bedrock.url)
        facts = Facts(table(dynamodb.url), embedder)
        added = facts.add(user, "loves rivers", "fact", limit=9)
        [stored] = facts.searchable(user)
        assert facts.all(user) == [added]
        assert (stored.id, stored.embedding) == (added.id, embedder.embed("loves rivers"))
        length = sum(value * value for value in array("f", stored.embedding or b""))
        assert (len(stored.embedding or b""), round(length, 3)) == (4 * DIMENSIONS, 1)
        for number in range(20):
            facts.add(user, f"plays piece {number}", "fact", limit=99)
        budget = 4 * size_of("plays piece 19")
        question, synonyms = Question("And?", "a brook?"), Synonyms(embedder)
        by_words = FactMemory(table(dynamodb.url), None, tokens=budget).search(user, question, NO_DEADLINE)
        by_meaning = FactMemory(table(dynamodb.url), synonyms, tokens=budget).search(user, question, NO_DEADLINE)
    assert "loves rivers" not in texts(by_words)
    assert "loves rivers" in texts(by_meaning)


def test_only_the_beginning_of_a_long_text_is_embedded() -> None:
    with standin() as bedrock:
        embedder = titan(bedrock.url)
        assert embedder.embed("river " * 10_000) == embedder.embed(
            ("river " * 10_000)[:MAX_CHARS]
        )  # Titan accepts 50,000 characters
        assert embedder.embed("river") is not None


def test_queries_of_facts_read_only_the_attributes_they_need(dynamodb: Endpoint) -> None:
    """Lists of facts above all no embeddings, which are a kilobyte each."""

    class Embedding:
        seconds = 1.0

        def embed(self, text: str) -> bytes:
            return b"1234"

    user, facts_table = new_id(), table(dynamodb.url)
    facts, attributes_read = Facts(facts_table, Embedding()), list[set[str]]()

    query = facts_table._client.query

    def noting_query(**request: Any) -> Any:
        response = query(**request)
        attributes_read.append({name for item in response["Items"] for name in item})
        return response

    facts_table._client.query = noting_query
    facts.add(user, "likes tea", "fact", limit=9)
    facts.add(user, "has a dog", "fact", limit=9)
    assert (len(facts.searchable(user)), len(facts.all(user))) == (2, 2)
    counted = {"sk"}
    assert attributes_read == [
        set(),
        counted,
        {"sk", "text", "ts", "embedding", ATTRIBUTE},
        {"sk", "text", "ts", "kind", "source"},
    ]


def test_terms_are_stored_with_added_and_learned_facts(dynamodb: Endpoint) -> None:
    user, facts_table = new_id(), table(dynamodb.url)
    facts = Facts(facts_table)
    facts.add(user, "likes tea", "fact", limit=9)
    facts_table.transact(facts.learned_parts(user, [Fact("id", "has a dog", "fact", "conversation", now(), 0.9)]))
    stored = {fact.text: fact.terms for fact in facts.searchable(user)}
    assert stored == {text: pack(terms_of(text)) for text in ("likes tea", "has a dog")}


def test_facts_of_another_version_are_found_without_their_terms(dynamodb: Endpoint) -> None:
    """Facts of earlier versions have no terms, those of later ones have others."""
    user, facts_table = new_id(), table(dynamodb.url)
    for number, (text, terms) in enumerate({"has a dog": {}, "has dogs": {"terms2": b"123"}, "tea": {}}.items()):
        key = {"pk": keys.facts(user), "sk": keys.fact(str(number))}
        facts_table.put({**key, "text": text, "kind": "fact", "source": "user", "ts": f"2026-0{number + 1}", **terms})
    budget = size_of("has a dog") + size_of("has dogs")
    memory = FactMemory(facts_table, None, tokens=budget)
    assert texts(memory.search(user, Question("the dog"), NO_DEADLINE)) == ["has a dog", "has dogs"]


def test_the_embedding_of_a_fact_has_a_longer_timeout_than_that_of_a_question(moto: DynamoDB) -> None:
    timeouts, hanging = list[float](), dict.fromkeys(("DYNAMODB", "BEDROCK_AGENT_RUNTIME"), moto.url)

    class RecordingTitan(Titan):
        def embed(self, text: str) -> bytes | None:
            timeouts.append(self.seconds)
            return None

    with mock.patch("converse_stream.container.Titan", RecordingTitan), application(moto, 3000, **hanging) as app:
        app.facts.add("user", "likes tea", "fact", limit=9)
        service.preview(app, User("user", "address"), message("tea?"))
    assert timeouts == [2, 1.5]


def test_a_fact_is_stored_without_an_embedding_if_the_embedder_times_out(dynamodb: Endpoint) -> None:
    user = new_id()
    with slow_server() as server:
        added = Facts(table(dynamodb.url), titan(server.url, 0.1)).add(user, "likes tea", "fact", limit=9)
    assert Facts(table(dynamodb.url)).searchable(user) == [
        SearchableFact(added.id, "likes tea", created_at=added.created_at, terms=pack(terms_of("likes tea")))
    ]


def size_of(text: str) -> int:
    """The tokens of a stored fact, which has a date."""
    return tokens_of(SearchableFact("", text, created_at="2026-12-01"))


def search(stores: dict[str, MemoryStore], user: str) -> tuple[Memory, float]:
    """Returns the result and the duration of a search, in seconds. Asserts that its threads have ended."""
    started_at = time.monotonic()
    memory = Recall(stores).begin(user, Question("harbour"), started_at + SEARCH_SECONDS).merged_into(EMPTY)
    seconds = time.monotonic() - started_at
    assert threads_ended("recall")
    return memory, seconds


class SlowStore:
    """A store that returns after its event is set."""

    def __init__(self, released: threading.Event) -> None:
        self._released = released
        self.deadlines: list[float] = []

    def search(self, user: str, question: Question, deadline: float) -> Sequence[Source]:
        self.deadlines.append(deadline)
        self._released.wait(10)
        return [Document("late", "late.md")]


class FastStore:
    """A store that returns its documents immediately, or raises StorageError if it has none."""

    def __init__(self, *sources: Source) -> None:
        self._sources = sources

    def search(self, user: str, question: Question, deadline: float) -> Sequence[Source]:
        if not self._sources:
            raise StorageError
        return self._sources


def test_a_store_that_is_late_or_fails_is_missing_and_the_others_are_returned() -> None:
    released, document = threading.Event(), Document("text", "file.md")
    slow, started_at = SlowStore(released), time.monotonic()
    stores: dict[str, MemoryStore] = {"documents": FastStore(document), "slow": slow, "failing": FastStore()}
    memory = (
        Recall(stores)
        .begin("user", Question("harbour"), started_at + SEARCH_SECONDS)
        .merged_into(Memory(None, missing=("profile",)))
    )
    assert memory == Memory(None, sources=(document,), missing=("profile", "slow", "failing"))
    assert slow.deadlines == [started_at + SEARCH_SECONDS]
    assert SEARCH_SECONDS <= time.monotonic() - started_at < 5
    released.set()
    assert threads_ended("recall")


@pytest.mark.parametrize("first", FIRST_BYTES.values(), ids=FIRST_BYTES)
def test_a_hanging_store_is_missing_after_the_deadline_and_leaves_no_thread(moto: DynamoDB, first: bytes) -> None:
    user, facts = new_id(), Facts(table(moto.url))
    for number in range(3):
        facts.add(user, f"fact {number}", "fact", limit=9)
    with slow_server(first) as server:
        with endpoints(BEDROCK_AGENT_RUNTIME=server.url):
            client = deadlines.client("bedrock-agent-runtime", LONG_TIMEOUT)
        hanging: dict[str, MemoryStore] = {
            "facts": FactMemory(table(server.url, LONG_TIMEOUT), None, tokens=1),
            "documents": KnowledgeBase(client, "ABCDEFGHIJ", tokens=100),
        }
        memory, seconds = search(hanging, user)
        assert (memory.sources, memory.missing) == ((), ("facts", "documents"))
        assert memory.progress() == [
            Progress("memory", "facts left out", missing="facts"),
            Progress("memory", "documents left out", missing="documents"),
        ]
        assert SEARCH_SECONDS <= seconds < 5


def test_facts_are_returned_although_the_embedder_hangs(moto: DynamoDB) -> None:
    user, facts = new_id(), Facts(table(moto.url))
    for number in range(3):
        facts.add(user, f"fact {number}", "fact", limit=9)
    with slow_server() as server:
        budget = 2 * size_of("fact 1")
        slow, late = titan(server.url, SEARCH_SECONDS / 2), titan(server.url, SEARCH_SECONDS * 2)
        memory, _ = search({"facts": FactMemory(table(moto.url), slow, tokens=budget)}, user)
        assert (len(memory.sources), memory.missing) == (2, ())  # ranked without embeddings
        assert server.request_received.wait(5)
        server.request_received.clear()
        memory, _ = search({"facts": FactMemory(table(moto.url), late, tokens=budget)}, user)
        assert (len(memory.sources), memory.missing) == (2, ())
        assert not server.request_received.is_set()  # its timeout exceeds the remaining time


@contextmanager
def application(
    moto: DynamoDB, milliseconds: int, documents: int = 1_500, /, **deadline_endpoints: str
) -> Iterator[Container]:
    """Yields an application. Only its clients with deadlines use the endpoints in `deadline_endpoints`."""
    real_client = deadlines.client
    settings = Settings(
        table_name="ChatTable",
        auth_mode="dev",
        url_auth_type="AWS_IAM",
        knowledge_base_id="ABCDEFGHIJ",
        embedding_model="titan-embed-v2",
        facts_tokens=1,  # so that the facts never fit, and the question is embedded
        memory_milliseconds=milliseconds,
        documents_milliseconds=documents,
    )

    def client(service: str, seconds: float) -> Any:
        with endpoints(**deadline_endpoints):
            return real_client(service, seconds)

    with pytest.MonkeyPatch.context() as patch, endpoints(DYNAMODB=moto.url):
        patch.setattr(deadlines, "client", client)
        yield Container(settings)


def message(text: str) -> ChatRequest:
    return ChatRequest.model_validate({"message": {"text": text}})


@pytest.mark.parametrize(
    ("first", "cancellable"),
    [(FIRST_BYTES["silence"], False), (FIRST_BYTES["headers"], True), (FIRST_BYTES["body"], True)],
)
def test_hanging_services_delay_an_answer_by_the_budget_once_and_leave_no_thread(
    moto: DynamoDB, monkeypatch: pytest.MonkeyPatch, first: bytes, *, cancellable: bool
) -> None:
    """If a call cannot be cancelled, its timeouts end it shortly after."""
    if not cancellable:
        monkeypatch.setattr(connection_pools, "_attach", lambda _: None)
    user, parts = User(new_id(), "address"), ("history", "profile", "facts", "documents")
    with slow_server(first) as server:
        hanging = dict.fromkeys(("DYNAMODB", "BEDROCK_RUNTIME", "BEDROCK_AGENT_RUNTIME"), server.url)
        with application(moto, Settings.model_fields["memory_milliseconds"].default, **hanging) as app:
            body, start = message("harbour"), partial(service.start, send=Send(new_id(), "payload"), context=Context())
            for request in (service.preview, start):
                started_at = time.monotonic()
                answer = request(app, user, body)
                assert time.monotonic() - started_at < 4  # the lookup of a cold environment, and then the documents
                assert threads_ended("lookup", 2)
                if isinstance(answer, Generation):
                    with answer:
                        pass
                    events = [entry.event for entry in answer.wait(0, 0)[1:6]]
                    missing = [Progress("memory", f"{part} left out", missing=part) for part in parts]
                    assert events == [*missing[:-1], Progress("search"), missing[-1]]
                assert threads_ended("recall", 2)
                if not isinstance(answer, Generation):
                    assert isinstance(answer, Preview)
                    assert answer.missing == parts


@pytest.mark.parametrize("outcome", [ConversationBusy(), RuntimeError(), mock.Mock(spec=GenerationRecord)], ids=type)
def test_a_refused_start_ends_its_search(moto: DynamoDB, outcome: Any) -> None:
    with slow_server() as server, application(moto, 30_000, DYNAMODB=moto.url, BEDROCK_AGENT_RUNTIME=server.url) as app:

        def start(*_: Any, **__: Any) -> Any:
            assert server.request_received.wait(5)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        with mock.patch.object(app.generations, "start", start):
            expected_error = pytest.raises(type(outcome)) if isinstance(outcome, Exception) else nullcontext()
            with expected_error:
                service.start(app, User(new_id(), "address"), message("harbour"), Send(new_id(), "payload"), Context())
        assert threads_ended("recall")


def test_an_answer_is_generated_without_documents_if_the_knowledge_base_hangs(moto: DynamoDB) -> None:
    with standin() as bedrock, slow_server() as server, endpoints(BEDROCK_RUNTIME=bedrock.url):
        deadline_endpoints = {"DYNAMODB": moto.url, "BEDROCK_RUNTIME": bedrock.url, "BEDROCK_AGENT_RUNTIME": server.url}
        with application(moto, 3_000, 4_000, **deadline_endpoints) as app:
            started_at = time.monotonic()
            body = message("harbour [[tokens=3 pace=1 first=1]]")
            turn = service.start(app, User(new_id(), "address"), body, Send(new_id(), "payload"), Context())
            assert isinstance(turn, Generation)
            with turn:
                assert turn.wait(1, 1)[0].event == Progress("search")
                assert time.monotonic() - started_at < 4  # `start` does not wait for documents
            assert time.monotonic() - started_at > 3  # at least three quarters of the budget
        assert turn.wait(0, 0)[2].event == Progress("memory", "documents left out", missing="documents")
        assert isinstance(turn.wait(0, 0)[-1].event, Complete)


def test_documents_may_take_longer_than_the_lookup(moto: DynamoDB) -> None:
    location = {"type": "S3", "s3Location": {"uri": "s3://bucket/harbour"}}
    result = {"content": {"text": "It is 9 m deep."}, "location": location}
    response = json.dumps({"retrievalResults": [result]}).encode()
    with standin() as bedrock, slow_answer(response, 0.8) as url, endpoints(BEDROCK_RUNTIME=bedrock.url):
        deadline_endpoints = {"DYNAMODB": moto.url, "BEDROCK_RUNTIME": bedrock.url, "BEDROCK_AGENT_RUNTIME": url}
        with application(moto, 5000, **deadline_endpoints) as app:
            body = message("harbour [[tokens=3 pace=1 first=1]]")
            turn = service.start(app, User(new_id(), "address"), body, Send(new_id(), "payload"), Context())
            assert isinstance(turn, Generation)
            with turn:
                pass
    progress = [entry.event for entry in turn.wait(0, 0) if isinstance(entry.event, Progress)]
    assert progress == [Progress("search"), Progress("search", "harbour")]


def test_a_cancellation_ends_the_search_for_documents_and_no_model_is_called(moto: DynamoDB) -> None:
    user = User(new_id(), "address")
    with standin() as bedrock, slow_server() as server, endpoints(BEDROCK_RUNTIME=bedrock.url):
        deadline_endpoints = {"DYNAMODB": moto.url, "BEDROCK_RUNTIME": bedrock.url, "BEDROCK_AGENT_RUNTIME": server.url}
        with application(moto, 1000, 30_000, **deadline_endpoints) as app:
            turn = service.start(app, user, message("harbour"), Send(new_id(), "payload"), Context())
            assert isinstance(turn, Generation)
            started_at = time.monotonic()
            with turn:
                start = turn.wait(0, 0)[0].event
                assert isinstance(start, Start)
                service.cancel(app, user, start.conversation_id, None)
            assert time.monotonic() - started_at < 5
            end = turn.wait(0, 0)[-1].event
            assert isinstance(end, Complete)
            assert (end.finish_reason, end.usage.input_tokens) == ("cancelled", 0)
            assert threads_ended("recall", 2)


@contextmanager
def slow_answer(body: bytes, seconds: float) -> Iterator[str]:
    """Yields the URL of a server that returns `body` after this many seconds."""

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
