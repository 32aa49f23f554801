"""The store against a real table: places, pages, sizes, and races."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config

from chat.errors import BadRequest, ChatError, Conflict, NotFound, StorageError
from chat.events import Chunk, Citation, Message, Reasoning, Usage
from chat.ids import new_id, now
from chat.memory.lookup import Lookup
from chat.store.conversations import Conversation, Conversations
from chat.store.facts import Facts, Profile
from chat.store.table import Table
from local_stack.dynamodb import DynamoDB

ALICE, BOB = "alice", "bob"


def connect(dynamodb: DynamoDB, **config: Any) -> Table:
    once = Config(retries={"mode": "standard", "total_max_attempts": 1}, **config)
    client = boto3.client("dynamodb", endpoint_url=dynamodb.url, config=once)
    return Table(client, client.list_tables()["TableNames"][0])


@pytest.fixture
def conversations(dynamodb: DynamoDB) -> Conversations:
    return Conversations(connect(dynamodb))


@pytest.fixture
def facts(dynamodb: DynamoDB) -> Facts:
    return Facts(connect(dynamodb))


def user_message(text: str) -> Message:
    return Message(new_id(), "user", (Chunk(text),), now(), generation_id=new_id())


def answer(*parts: Chunk | Reasoning | Citation, **fields: Any) -> Message:
    return Message(new_id(), "assistant", parts, now(), **fields)


def exchange(conversations: Conversations, user: str, conversation: str, question: str, reply: str) -> None:
    place = conversations.start(user, conversations.get(user, conversation), user_message(question))
    conversations.finish(user, conversation, place, answer(Chunk(reply)))


def test_what_is_stored_comes_back_as_it_was(conversations: Conversations) -> None:
    conversation = new_id()
    question = user_message("hé 🌊\u2028\x00")
    place = conversations.start(ALICE, Conversation(conversation), question)
    reply = answer(
        Reasoning("hm"),
        Chunk("a"),
        Citation("t", "https://x", "d", "q"),
        Chunk("b"),
        status="partial",
        generation_id="g",
        model="nova-lite",
        finish_reason="deadline",
        usage=Usage(1, 2, 3, 4, "exact"),
    )
    conversations.finish(ALICE, conversation, place, reply)
    found, history = conversations.recent(ALICE, conversation, 10)
    assert (found.seq, history) == (2, [question, reply])
    assert conversations.messages(ALICE, conversation, limit=10) == ([question, reply], None)


def test_an_answer_of_three_megabytes_is_whole(conversations: Conversations) -> None:
    conversation, text = new_id(), "河🌊 " * 280_000
    place = conversations.start(ALICE, Conversation(conversation), user_message("long"))
    conversations.finish(ALICE, conversation, place, answer(Chunk(text)))
    _, history = conversations.recent(ALICE, conversation, 10)
    assert history[-1].text == text


def test_history_is_the_last_messages_in_order(conversations: Conversations) -> None:
    conversation = new_id()
    for number in range(4):
        exchange(conversations, ALICE, conversation, f"q{number}", f"a{number}")
    _, history = conversations.recent(ALICE, conversation, 3)
    assert [message.text for message in history] == ["a2", "q3", "a3"]


def test_pages_of_messages_lead_back_to_the_first(conversations: Conversations) -> None:
    conversation = new_id()
    for number in range(3):
        exchange(conversations, ALICE, conversation, f"q{number}", f"a{number}")
    texts: list[str] = []
    before = None
    while True:
        page, before = conversations.messages(ALICE, conversation, limit=4, before=before)
        texts = [message.text for message in page] + texts
        if before is None:
            break
    assert texts == ["q0", "a0", "q1", "a1", "q2", "a2"]


def test_conversations_are_listed_by_their_last_change_and_never_a_strangers(conversations: Conversations) -> None:
    user, ids = new_id(), [new_id() for _ in range(5)]
    for conversation in ids:
        exchange(conversations, user, conversation, "q", "a")
    exchange(conversations, user, ids[0], "again", "a")
    exchange(conversations, BOB, ids[1], "q", "a")
    listed: list[str] = []
    before = None
    while True:
        page, before = conversations.page(user, limit=2, before=before)
        listed += [conversation.id for conversation in page]
        if before is None:
            break
    assert listed == [ids[0], ids[4], ids[3], ids[2], ids[1]]


def test_the_same_id_is_another_conversation_for_another_user(conversations: Conversations) -> None:
    conversation = new_id()
    exchange(conversations, ALICE, conversation, "secret", "a")
    assert conversations.recent(BOB, conversation, 10) == (Conversation(conversation), [])
    with pytest.raises(NotFound):
        conversations.messages(BOB, conversation, limit=10)
    exchange(conversations, BOB, conversation, "mine", "b")
    assert [message.text for message in conversations.messages(ALICE, conversation, limit=9)[0]] == ["secret", "a"]


def together(count: int, attempt: Callable[[], object]) -> list[object]:
    barrier = threading.Barrier(count)

    def run() -> object:
        barrier.wait()
        try:
            return attempt()
        except ChatError as error:
            return type(error)

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(count)]]


def test_of_five_messages_sent_at_once_one_wins_and_the_others_are_told(conversations: Conversations) -> None:
    conversation = new_id()
    results = together(5, lambda: conversations.start(ALICE, Conversation(conversation), user_message("q")))
    assert sorted(map(str, results)) == sorted(["2", *[str(Conflict)] * 4])
    assert len(conversations.messages(ALICE, conversation, limit=10)[0]) == 1


def test_a_transaction_that_meets_another_is_tried_again(conversations: Conversations, dynamodb: DynamoDB) -> None:
    """DynamoDB cancels one of two that write to the same item at once, and boto3 does not repeat it."""
    conversation = new_id()
    place = conversations.start(ALICE, Conversation(conversation), user_message("q"))
    client = boto3.client("dynamodb", endpoint_url=dynamodb.url)
    refusals = [{"Code": "TransactionConflict"}, {"Code": "None"}]
    answer_of_the_first = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": refusals}
    attempts: list[object] = []

    def conflict_once(**_: object) -> Any:
        attempts.append(None)
        return (AWSResponse("", 400, HTTPHeaders(), None), answer_of_the_first) if len(attempts) == 1 else None

    client.meta.events.register("before-call.dynamodb.TransactWriteItems", conflict_once)
    table = Table(client, client.list_tables()["TableNames"][0])
    Conversations(table).finish(ALICE, conversation, place, answer(Chunk("paid for")))
    assert len(attempts) == 2
    assert conversations.recent(ALICE, conversation, 9)[1][-1].text == "paid for"
    client.close()


def test_a_page_of_large_messages_stays_below_lambdas_limit(conversations: Conversations) -> None:
    conversation, text = new_id(), "x" * 2_500_000
    for _ in range(2):
        exchange(conversations, ALICE, conversation, "q", text)
    page, before = conversations.messages(ALICE, conversation, limit=10)
    assert [message.text for message in page] == ["q", text]
    page, before = conversations.messages(ALICE, conversation, limit=10, before=before)
    assert [message.text for message in page] == ["q", text]
    assert before is None


def test_an_answer_takes_its_place_once(conversations: Conversations) -> None:
    conversation = new_id()
    place = conversations.start(ALICE, Conversation(conversation), user_message("q"))
    conversations.finish(ALICE, conversation, place, answer(Chunk("first")))
    with pytest.raises(StorageError):
        conversations.finish(ALICE, conversation, place, answer(Chunk("second")))
    assert conversations.recent(ALICE, conversation, 10)[1][-1].text == "first"


def test_an_answer_without_a_conversation_is_not_stored(conversations: Conversations) -> None:
    with pytest.raises(StorageError):
        conversations.finish(ALICE, new_id(), 2, answer(Chunk("late")))


def test_facts(facts: Facts) -> None:
    user = new_id()
    first = facts.add(user, "likes tea", "preference", limit=2)
    second = facts.add(user, "has a dog", "fact", limit=2)
    facts.set_profile(user, Profile("Grace", None, "sails"))
    assert facts.all(user) == ([first, second], Profile("Grace", None, "sails"))
    with pytest.raises(BadRequest, match="2 facts already"):
        facts.add(user, "too much", "fact", limit=2)
    facts.forget(user, first.id)
    assert facts.all(user)[0] == [second]
    for stranger, fact in ((user, first.id), (BOB, second.id), (user, "P")):
        with pytest.raises(NotFound):
            facts.forget(stranger, fact)


def lookup(dynamodb: DynamoDB, seconds: float) -> Lookup:
    table = connect(dynamodb, connect_timeout=seconds, read_timeout=seconds)
    return Lookup(table, seconds=seconds, messages=10)


def test_memory_has_both(dynamodb: DynamoDB, conversations: Conversations, facts: Facts) -> None:
    user, conversation = new_id(), new_id()
    exchange(conversations, user, conversation, "q", "a")
    facts.add(user, "likes tea", "fact", limit=9)
    memory = lookup(dynamodb, 5)(user, conversation)
    assert [message.text for message in memory.history] == ["q", "a"]
    assert [fact.text for fact in memory.facts] == ["likes tea"]
    assert memory.missing == ()


@pytest.mark.parametrize("fault", [{"fail_for_ms": 60_000}, {"delay_ms": 60_000}])
def test_a_table_that_fails_or_hangs_costs_the_budget_and_leaves_no_thread(
    dynamodb: DynamoDB, fault: dict[str, float]
) -> None:
    before = threading.active_count()
    look_up = lookup(dynamodb, 0.3)
    dynamodb.set_faults(**fault)
    try:
        memory = look_up(ALICE, new_id())
        assert memory.missing == ("history", "facts")
        assert memory.conversation is None
        for thread in threading.enumerate():
            if thread.name.startswith("lookup"):
                thread.join(5)
        assert threading.active_count() <= before
    finally:
        dynamodb.set_faults()


def test_a_failing_table_is_a_storage_error(dynamodb: DynamoDB, conversations: Conversations) -> None:
    dynamodb.set_faults(fail_for_ms=60_000)
    try:
        with pytest.raises(StorageError):
            conversations.get(ALICE, new_id())
    finally:
        dynamodb.set_faults()
