"""The store on a real table: order, pages, sizes and races."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from converse_stream.aws import clients
from converse_stream.memory.lookup import Lookup, Memory
from converse_stream.protocol import log
from converse_stream.protocol.errors import (
    AlreadyExists,
    BadRequest,
    ChatError,
    ConversationBusy,
    IdempotencyKeyReused,
    NotFound,
    StorageError,
)
from converse_stream.protocol.events import Chunk, Citation, Message, Reasoning, Usage
from converse_stream.protocol.ids import new_id, now
from converse_stream.protocol.log import ENTRIES
from converse_stream.store import keys
from converse_stream.store.conversations import Conversation, Conversations
from converse_stream.store.facts import Facts, Profile
from converse_stream.store.generation_record import LEASE_MS, End, GenerationRecord, Status, generation_id
from converse_stream.store.generation_writer import Fenced, Signals, TableWriter
from converse_stream.store.generations import Generations
from converse_stream.store.table import Table
from local_stack.dynamodb.server import DynamoDB
from tests.contract.dynamodb_local.server import Endpoint
from tests.property.fake_table import FakeDynamo, NoFaults

ALICE, BOB = "alice", "bob"


@pytest.fixture(autouse=True, params=["own", "botocore"])
def client_kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test of this module runs with both clients."""
    monkeypatch.setenv("DYNAMODB_BY_BOTOCORE", "1" if request.param == "botocore" else "")


def connect(dynamodb: Endpoint, *, read_seconds: float = 60) -> Table:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url)
        client = clients.client("dynamodb", attempts=1, connect_seconds=5, read_seconds=read_seconds)
    return Table(client, "ChatTable")


@pytest.fixture
def conversations(dynamodb: Endpoint) -> Conversations:
    return Conversations(connect(dynamodb))


@pytest.fixture
def facts(dynamodb: Endpoint) -> Facts:
    return Facts(connect(dynamodb))


def user_message(text: str) -> Message:
    return Message(new_id(), "user", (Chunk(text),), now(), generation_id=new_id())


def answer(*parts: Chunk | Reasoning | Citation, **fields: Any) -> Message:
    return Message(new_id(), "assistant", parts, now(), **fields)


def new_head(conversation: str, **fields: Any) -> GenerationRecord:
    at = int(time.time() * 1000)
    record = GenerationRecord(
        gid=generation_id("user", new_id()),
        status="run",
        owner=new_id(),
        fingerprint="payload",
        conversation=conversation,
        seq=0,
        message_id=new_id(),
        model="nova-lite",
        length=0,
        tail_start=0,
        tail=(),
        lease=at + LEASE_MS,
        deadline=at + 60_000,
    )
    return replace(record, **fields)


def begin(conversations: Conversations, user: str, conversation: str, message: Message, **fields: Any) -> TableWriter:
    generations = Generations(conversations._table, conversations)
    writer = generations.start(user, new_head(conversation, **fields), None, message)
    assert isinstance(writer, TableWriter)
    return writer


def finish(writer: TableWriter, reply: Message, status: Status = "done", reason: str = "stop") -> None:
    writer.flush([part for part in reply.parts if isinstance(part, ENTRIES)])
    writer.finish(reply, End(status, reason, Usage(1, 2, basis="exact")))


def exchange(conversations: Conversations, user: str, conversation: str, question: str, reply: str) -> None:
    finish(begin(conversations, user, conversation, user_message(question)), answer(Chunk(reply)))


def test_stored_messages_are_read_unchanged(conversations: Conversations) -> None:
    conversation = new_id()
    question = user_message("hé 🌊\u2028\x00")
    writer = begin(conversations, ALICE, conversation, question)
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
    finish(writer, reply)
    stored, history = conversations.recent(ALICE, conversation, 10)
    assert (stored.seq, history) == (2, [question, reply])
    assert conversations.messages(ALICE, conversation, limit=10) == ([question, reply], None)


def test_an_answer_of_three_megabytes_is_stored_completely(conversations: Conversations) -> None:
    conversation, text = new_id(), "河🌊 " * 280_000
    finish(begin(conversations, ALICE, conversation, user_message("long")), answer(Chunk(text)))
    _, history = conversations.recent(ALICE, conversation, 10)
    assert history[-1].text == text


def test_history_is_the_last_messages_in_order(conversations: Conversations) -> None:
    conversation = new_id()
    for number in range(4):
        exchange(conversations, ALICE, conversation, f"q{number}", f"a{number}")
    _, history = conversations.recent(ALICE, conversation, 3)
    assert [message.text for message in history] == ["a2", "q3", "a3"]


def test_pages_of_messages_reach_the_first_message(conversations: Conversations) -> None:
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


def test_conversations_are_listed_by_last_update_and_per_user(conversations: Conversations) -> None:
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


def test_the_same_id_is_a_different_conversation_for_another_user(conversations: Conversations) -> None:
    conversation = new_id()
    exchange(conversations, ALICE, conversation, "secret", "a")
    assert conversations.recent(BOB, conversation, 10) == (Conversation(conversation), [])
    with pytest.raises(NotFound):
        conversations.messages(BOB, conversation, limit=10)
    exchange(conversations, BOB, conversation, "mine", "b")
    assert [message.text for message in conversations.messages(ALICE, conversation, limit=9)[0]] == ["secret", "a"]


def run_concurrently(count: int, attempt: Callable[[], object]) -> list[object]:
    barrier = threading.Barrier(count)

    def run() -> object:
        barrier.wait()
        try:
            return attempt()
        except ChatError as error:
            return type(error)

    with ThreadPoolExecutor(count) as pool:
        return [future.result() for future in [pool.submit(run) for _ in range(count)]]


def test_of_five_concurrent_messages_one_starts_and_the_others_get_conversation_busy(
    conversations: Conversations,
) -> None:
    conversation = new_id()
    results = run_concurrently(5, lambda: type(begin(conversations, ALICE, conversation, user_message("q"))))
    assert sorted(map(str, results)) == sorted([str(TableWriter), *[str(ConversationBusy)] * 4])
    assert len(conversations.messages(ALICE, conversation, limit=10)[0]) == 1


def test_a_transaction_with_a_conflict_is_retried(dynamodb: Endpoint) -> None:
    """DynamoDB cancels one of two concurrent transactions on the same item; boto3 does not retry it."""
    client = boto3.client("dynamodb", endpoint_url=dynamodb.url)
    refusals = [{"Code": "TransactionConflict"}, {"Code": "None"}]
    first_response = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": refusals}
    attempts: list[object] = []

    def conflict_once(**_: object) -> Any:
        attempts.append(None)
        return (AWSResponse("", 400, HTTPHeaders(), None), first_response) if len(attempts) == 1 else None

    client.meta.events.register("before-call.dynamodb.TransactWriteItems", conflict_once)
    conversations, conversation = Conversations(Table(client, client.list_tables()["TableNames"][0])), new_id()
    exchange(conversations, ALICE, conversation, "q", "paid for")
    assert len(attempts) == 3  # the start twice, the finish once
    assert conversations.recent(ALICE, conversation, 9)[1][-1].text == "paid for"
    client.close()


def test_a_page_of_large_messages_is_below_the_response_limit_of_lambda(conversations: Conversations) -> None:
    conversation, text = new_id(), "x" * 2_500_000
    for _ in range(2):
        exchange(conversations, ALICE, conversation, "q", text)
    page, before = conversations.messages(ALICE, conversation, limit=10)
    assert [message.text for message in page] == ["q", text]
    page, before = conversations.messages(ALICE, conversation, limit=10, before=before)
    assert [message.text for message in page] == ["q", text]
    assert before is None


# Generations


def test_a_repeated_send_returns_the_same_generation(conversations: Conversations) -> None:
    generations, conversation = Generations(conversations._table, conversations), new_id()
    first = begin(conversations, ALICE, conversation, user_message("q"))
    again = replace(new_head(conversation), gid=first.record.gid)
    for stored in (None, Conversation(conversation)):
        started = generations.start(ALICE, again, stored, user_message("q"))
        assert isinstance(started, GenerationRecord)
        assert started.owner == first.record.owner
    with pytest.raises(IdempotencyKeyReused):
        generations.start(ALICE, replace(again, fingerprint="another payload"), None, user_message("other"))
    assert len(conversations.messages(ALICE, conversation, limit=9)[0]) == 1


def test_a_start_whose_response_was_lost_succeeds_when_repeated(conversations: Conversations) -> None:
    """The response to the SDK's first attempt was lost; its second attempt finds the item of the first."""
    generations, conversation = Generations(conversations._table, conversations), new_id()
    record = new_head(conversation)
    assert isinstance(generations.start(ALICE, record, None, user_message("q")), TableWriter)
    assert isinstance(generations.start(ALICE, record, Conversation(conversation), user_message("q")), TableWriter)


def test_each_flush_makes_its_chunks_durable(conversations: Conversations) -> None:
    generations = Generations(conversations._table, conversations)
    writer = begin(conversations, ALICE, new_id(), user_message("q"))
    text, record = "", writer.record
    for _ in range(60):
        word = f"{new_id()} 🌊 "  # does not compress
        writer.flush([Chunk(word)])
        text += word
        stored = generations.get(ALICE, writer.record.gid)
        assert stored is not None
        record = stored
        assert (record.length, writer.durable) == (len(text), len(text))
    assert record.tail_start > 0, "the tail was sealed"
    for position in (0, 1, record.tail_start - 1, record.tail_start, record.tail_start + 1, record.length):
        entries = log.after(generations.read(ALICE, record, 0), position)
        assert "".join(entry.content for entry in entries if isinstance(entry, Chunk)) == text[position:]
    assert generations.read(ALICE, record, record.tail_start) == list(record.tail)


def test_a_flush_returns_the_signals_of_cancel_and_follow(conversations: Conversations) -> None:
    generations = Generations(conversations._table, conversations)
    writer = begin(conversations, ALICE, new_id(), user_message("q"))
    assert writer.flush([Chunk("a")]) == Signals(cancelled=False, followed=False)
    generations.mark_followed(ALICE, writer.record, generations.now() + 10_000)
    assert writer.flush([]) == Signals(cancelled=False, followed=True)
    generations.cancel(ALICE, writer.record)
    assert writer.flush([]).cancelled
    finish(writer, answer(Chunk("a")), "cancel", "cancelled")
    generations.cancel(ALICE, writer.record)  # after the end: no effect
    record = generations.get(ALICE, writer.record.gid)
    assert record is not None
    assert (record.status, record.reason) == ("cancel", "cancelled")


def test_the_first_reader_ends_a_dead_generation_and_its_owner_is_fenced(conversations: Conversations) -> None:
    conversation = new_id()
    writer = begin(conversations, ALICE, conversation, user_message("q"))
    writer.flush([Chunk("half an ans")])
    now_reader = Generations(conversations._table, conversations)
    later_reader = Generations(conversations._table, conversations, clock=lambda: time.time() + 30)
    assert now_reader.get_or_reap(ALICE, writer.record.gid).status == "run"  # type: ignore[union-attr]  # the record exists
    record = later_reader.get_or_reap(ALICE, writer.record.gid)
    assert record is not None
    assert (record.status, record.reason) == ("lost", "lost")
    assert conversations.get(ALICE, conversation).active is None
    partial = conversations.messages(ALICE, conversation, limit=9)[0][-1]
    assert (partial.text, partial.status, partial.id) == ("half an ans", "partial", writer.record.message_id)
    with pytest.raises(Fenced):
        writer.flush([Chunk("wer")])
    with pytest.raises(Fenced):
        writer.finish(answer(Chunk("half an answer")), End("done", "stop", Usage()))
    exchange(conversations, ALICE, conversation, "and now?", "again")
    assert [message.text for message in conversations.messages(ALICE, conversation, limit=9)[0]] == [
        "q",
        "half an ans",
        "and now?",
        "again",
    ]


def test_a_dead_generation_does_not_block_the_next_message(conversations: Conversations) -> None:
    conversation = new_id()
    begin(conversations, ALICE, conversation, user_message("q"), lease=0, deadline=0)
    exchange(conversations, ALICE, conversation, "again", "a")
    assert [message.text for message in conversations.messages(ALICE, conversation, limit=9)[0]] == [
        "q",
        "",
        "again",
        "a",
    ]


def test_a_finish_whose_response_was_lost_succeeds_when_repeated(conversations: Conversations) -> None:
    writer = begin(conversations, ALICE, new_id(), user_message("q"))
    reply = answer(Chunk("a"))
    finish(writer, reply)
    writer.finish(reply, End("done", "stop", Usage(1, 2, basis="exact")))


def test_a_deleted_conversation_stays_deleted(conversations: Conversations) -> None:
    conversation = new_id()
    exchange(conversations, ALICE, conversation, "q", "a")
    writer = begin(conversations, ALICE, conversation, user_message("q"))
    assert conversations.mark_deleted(ALICE, conversation) == writer.record.gid
    conversations.remove_messages(ALICE, conversation)
    finish(writer, answer(Chunk("late")))
    for attempt in (
        lambda: conversations.messages(ALICE, conversation, limit=9),
        lambda: conversations.rename(ALICE, conversation, "title"),
        lambda: begin(conversations, ALICE, conversation, user_message("q")),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert conversation not in [item.id for item in conversations.page(ALICE, limit=100)[0]]
    assert conversations.recent(ALICE, conversation, 9)[1] == []


def test_conversations_are_created_and_renamed(conversations: Conversations) -> None:
    conversation = new_id()
    created = conversations.create(ALICE, conversation, "first")
    assert conversations.get(ALICE, conversation) == created
    with pytest.raises(AlreadyExists):
        conversations.create(ALICE, conversation, None)
    exchange(conversations, ALICE, conversation, "q", "a")
    assert conversations.rename(ALICE, conversation, "second").title == "second"
    with pytest.raises(NotFound):
        conversations.rename(BOB, conversation, "theirs")


def test_a_repeated_finish_counts_the_usage_once(conversations: Conversations) -> None:
    user = new_id()
    for _ in range(2):
        writer = begin(conversations, user, new_id(), user_message("q"))
        finish(writer, answer(Chunk("a")))
        writer.finish(answer(Chunk("a")), End("done", "stop", Usage(1, 2, basis="exact")))
    [day] = conversations._table.query(keys.limits(user), "D#", "D#~")
    assert (day["requests"], day["tokens_in"], day["tokens_out"]) == (2, 2, 4)


def test_facts_are_added_limited_and_forgotten_per_user(facts: Facts) -> None:
    user = new_id()
    first = facts.add(user, "likes tea", "preference", limit=2)
    second = facts.add(user, "has a dog", "fact", limit=2)
    facts.set_profile(user, "Grace", None, "sails")
    assert (facts.all(user), facts.profile(user)) == ([first, second], Profile("Grace", None, "sails"))
    with pytest.raises(BadRequest, match="2 facts already"):
        facts.add(user, "too much", "fact", limit=2)
    facts.delete(user, first.id)
    assert facts.all(user) == [second]
    for user_id, fact_id in ((user, first.id), (BOB, second.id), (user, "P")):
        with pytest.raises(NotFound):
            facts.delete(user_id, fact_id)


def test_a_stored_lone_surrogate_is_read_as_the_replacement_character() -> None:
    """JSON can contain it as an escape, but a frame, a prompt or an answer cannot. (Nor can moto, hence FakeDynamo.)"""
    dynamo = FakeDynamo(NoFaults())
    facts, pk = Facts(dynamo.table()), keys.facts(ALICE)
    fact = {"text": "likes \ud83d tea", "kind": "fact", "source": "user", "ts": now()}
    profile = {"name": "Ada\udc00", "about": "sails"}
    for item in ({"pk": pk, "sk": keys.fact("tea"), **fact}, {"pk": pk, "sk": keys.PROFILE, **profile}):
        dynamo.items[item["pk"], item["sk"]] = item
    assert [fact.text for fact in facts.all(ALICE)] == ["likes \ufffd tea"]
    assert [fact.text for fact in facts.searchable(ALICE)] == ["likes \ufffd tea"]
    assert facts.profile(ALICE) == Profile("Ada\ufffd", None, "sails")


def test_a_profile_is_changed_by_one_write_without_a_read(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a change between a read and a write cannot be lost."""
    user = new_id()
    monkeypatch.delattr(Table, "get")
    assert facts.set_profile(user, None, None, None) == Profile()
    assert facts.set_profile(user, "Grace", "Iris", "sails", learning=False) == Profile("Grace", "Iris", "sails", False)
    assert facts.set_profile(user, "Ada", None, None) == Profile("Ada", learning=False), (
        "learning is unchanged if it is not given"
    )
    assert facts.set_profile(user, None, None, None, learning=True) == Profile()


def test_a_lookup_returns_history_and_profile(dynamodb: Endpoint, conversations: Conversations, facts: Facts) -> None:
    user, conversation = new_id(), new_id()
    exchange(conversations, user, conversation, "q", "a")
    facts.set_profile(user, "Grace", None, None)
    memory = Lookup(connect(dynamodb), messages=10)(user, conversation, "none", time.monotonic() + 5)
    assert [message.text for message in memory.history] == ["q", "a"]
    assert memory.profile == Profile("Grace")
    assert memory.missing == ()


def test_a_lookup_on_a_failing_table_reports_history_and_profile_as_missing(moto: DynamoDB) -> None:
    look_up = Lookup(connect(moto), messages=10)
    moto.set_faults(fail_for_ms=60_000)
    try:
        assert look_up(ALICE, new_id(), "none", time.monotonic() + 5) == Memory(
            None, missing=("history", "profile"), earlier_was_read=False
        )
    finally:
        moto.set_faults()


def test_reads_stop_at_the_deadline() -> None:
    """The table has more pages than can be read before the deadline."""
    pages = 100_000
    client = mock.Mock()
    client.query.side_effect = [{"Items": [], "LastEvaluatedKey": {"pk": {"S": "pk"}}}] * pages
    unprocessed = {"table": {"Keys": [{"pk": {"S": "pk"}, "sk": {"S": "sk"}}]}}
    client.batch_get_item.side_effect = [{"Responses": {}, "UnprocessedKeys": unprocessed}] * pages
    table = Table(client, "table").until(time.monotonic() + 0.05)
    with pytest.raises(StorageError):
        table.query("pk", "a", "z")
    assert client.query.call_count > 1
    table = Table(client, "table").until(time.monotonic() + 0.05)
    with pytest.raises(StorageError):
        table.get_many([("pk", "sk")])
    assert 0 < client.batch_get_item.call_count < 10, "it pauses between calls"


def test_a_failing_table_raises_storage_error(moto: DynamoDB) -> None:
    conversations = Conversations(connect(moto))
    moto.set_faults(fail_for_ms=60_000)
    try:
        with pytest.raises(StorageError):
            conversations.get(ALICE, new_id())
    finally:
        moto.set_faults()
