"""What is remembered, over a real table and real sockets: budgets of tokens and of time."""

import socket
import threading
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from chat import impatience
from chat.application import Application
from chat.auth import User
from chat.events import Progress
from chat.ids import new_id
from chat.memory.embedder import DIMENSIONS, Titan
from chat.memory.fact_memory import FactMemory
from chat.memory.knowledge_base import KnowledgeBase
from chat.memory.lookup import Memory
from chat.memory.recall import MemoryStore, Recall
from chat.memory.sources import Source
from chat.prompts.prompt import estimate_tokens
from chat.requests import ChatRequest, Send
from chat.settings import Settings
from chat.store.facts import Facts, Remembered
from chat.store.table import Table
from chat.turn import Turn
from local_stack.dynamodb import DynamoDB
from tests.contract.dynamodb_local.server import Endpoint
from tests.contract.test_round_trips import Context
from tests.wire.bedrock_standin import standin

NOTHING = Memory(None)
FOR_EVER = float("inf")
SERVICES = ("DYNAMODB", "BEDROCK_RUNTIME", "BEDROCK_AGENT_RUNTIME")
SECONDS = 0.3


@pytest.fixture
def silence() -> Iterator[str]:
    """A server that takes every connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def at(**urls: str) -> Iterator[None]:
    """Where boto3 finds services."""
    with pytest.MonkeyPatch.context() as environment:
        for service, url in urls.items():
            environment.setenv(f"AWS_ENDPOINT_URL_{service}", url)
        yield


def table(url: str, seconds: float = 5) -> Table:
    with at(DYNAMODB=url):
        return Table(impatience.client("dynamodb", seconds), "ChatTable")


def titan(url: str, seconds: float = 5) -> Titan:
    with at(BEDROCK_RUNTIME=url):
        return Titan(impatience.client("bedrock-runtime", seconds * 3 / 4), "titan-embed-v2", seconds=seconds)


def texts(found: Sequence[Source]) -> list[str]:
    return [source.text for source in found]


def test_facts_that_fit_are_all_there_oldest_first(dynamodb: Endpoint) -> None:
    user, known = new_id(), [f"fact {number}" for number in range(5)]
    facts = Facts(table(dynamodb.url))
    for text in known:
        facts.add(user, text, "fact", limit=9)
        time.sleep(0.002)  # their times have milliseconds
    assert texts(FactMemory(table(dynamodb.url), None, tokens=100).search(user, "?", FOR_EVER)) == known


def test_of_too_many_those_that_help_are_there_in_a_stable_order(dynamodb: Endpoint) -> None:
    user, facts = new_id(), Facts(table(dynamodb.url))
    for number in range(8):
        facts.add(user, f"the dog is called Rex {number}" if number in {1, 4} else f"plays {number}", "fact", limit=9)
        time.sleep(0.002)
    budget = 2 * estimate_tokens("the dog is called Rex 1") + estimate_tokens("plays 7")
    found = FactMemory(table(dynamodb.url), None, tokens=budget).search(user, "What is my dog called?", FOR_EVER)
    assert texts(found) == ["the dog is called Rex 1", "the dog is called Rex 4", "plays 7"]


def test_an_embedding_is_made_with_the_fact_and_kept_as_bytes(dynamodb: Endpoint) -> None:
    with standin() as bedrock:
        user, embedder = new_id(), titan(bedrock.url)
        facts = Facts(table(dynamodb.url), embedder)
        added = facts.add(user, "loves rivers", "fact", limit=9)
        [kept] = facts.remembered(user)
        assert facts.all(user) == [added]
        assert (kept.id, kept.embedding) == (added.id, embedder.embed("loves rivers"))
        length = sum(value * value for value in array("f", kept.embedding or b""))
        assert (len(kept.embedding or b""), round(length, 3)) == (4 * DIMENSIONS, 1)
        for number in range(20):
            facts.add(user, f"plays piece {number}", "fact", limit=99)
        budget = 4 * estimate_tokens("plays piece 19")
        by_words = FactMemory(table(dynamodb.url), None, tokens=budget).search(user, "a river?", FOR_EVER)
        by_meaning = FactMemory(table(dynamodb.url), embedder, tokens=budget).search(user, "a river?", FOR_EVER)
    assert "loves rivers" not in texts(by_words)
    assert "loves rivers" in texts(by_meaning)


def test_a_fact_is_kept_without_an_embedding_when_there_is_none_to_be_had(dynamodb: Endpoint, silence: str) -> None:
    user = new_id()
    added = Facts(table(dynamodb.url), titan(silence, 0.1)).add(user, "likes tea", "fact", limit=9)
    assert Facts(table(dynamodb.url)).remembered(user) == [Remembered(added.id, "likes tea")]


def searched(stores: dict[str, MemoryStore], user: str) -> tuple[Memory, float]:
    """What was found, and the seconds that it took; its threads have ended."""
    before, begun = threading.active_count(), time.monotonic()
    memory = Recall(stores, seconds=SECONDS).begin(user, "harbour").into(NOTHING)
    took = time.monotonic() - begun
    for thread in threading.enumerate():
        if thread.name.startswith("recall"):
            thread.join(5)
    assert threading.active_count() <= before
    return memory, took


def test_what_hangs_costs_its_budget_and_leaves_no_thread(moto: DynamoDB, silence: str) -> None:
    user, facts = new_id(), Facts(table(moto.url))
    for number in range(3):
        facts.add(user, f"fact {number}", "fact", limit=9)
    with at(BEDROCK_AGENT_RUNTIME=silence):
        client = impatience.client("bedrock-agent-runtime", SECONDS)
    embedder = titan(silence, SECONDS * 2 / 3)
    hanging: dict[str, MemoryStore] = {
        "facts": FactMemory(table(silence, SECONDS), embedder, tokens=1),
        "documents": KnowledgeBase(client, "ABCDEFGHIJ", tokens=100),
    }
    memory, took = searched(hanging, user)
    assert (memory.sources, memory.missing) == ((), ("facts", "documents"))
    assert memory.progress() == [Progress("memory", "facts left out"), Progress("memory", "documents left out")]
    assert SECONDS * 0.9 < took < 5  # and not for ever

    memory, _ = searched({"facts": FactMemory(table(moto.url), embedder, tokens=4)}, user)
    assert (len(memory.sources), memory.missing) == (2, ())  # without the embedder's opinion


def test_an_answer_goes_on_without_a_knowledge_base_that_hangs(moto: DynamoDB, silence: str) -> None:
    with standin() as bedrock, at(**dict(zip(SERVICES, (moto.url, bedrock.url, silence), strict=True))):
        app = Application(
            Settings(
                table_name="ChatTable",
                auth_mode="dev",
                url_auth_type="AWS_IAM",
                knowledge_base_id="ABCDEFGHIJ",
                memory_seconds=1,
            )
        )
        body = ChatRequest.model_validate({"message": {"text": "harbour [[tokens=3 pace=1 first=1]]"}})
        turn = app.start(User(new_id(), "address"), body, Send(new_id(), "payload"), Context())
        assert isinstance(turn, Turn)
        with turn:
            pass
        assert turn.wait(0, 0)[1].event == Progress("memory", "documents left out")
        assert turn.over
