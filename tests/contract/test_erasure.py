"""Erasure and retention on a real table: deleted items are removed, expired items are not read."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any
from unittest import mock

import boto3
import pytest

from converse_stream import tasks
from converse_stream.protocol.errors import DeletionUnfinished, ErasureInProgress, NotFound, StorageError
from converse_stream.protocol.events import Chunk, Usage
from converse_stream.protocol.ids import new_id
from converse_stream.store import erasure as erasures
from converse_stream.store import erasure_marker, keys
from converse_stream.store.conversations import Conversations
from converse_stream.store.erasure import Erasure
from converse_stream.store.facts import Facts
from converse_stream.store.generation_record import End
from converse_stream.store.generation_writer import TableWriter
from converse_stream.store.generations import Generations
from converse_stream.store.retention import DAY, FOREVER_DAYS, TTL_DELAY, Retention
from converse_stream.store.table import Table
from tests.contract.chat_user import ChatUser
from tests.contract.dynamodb_local.server import Endpoint
from tests.contract.test_store import answer, connect, finish, new_head, user_message

ERASURE_SECONDS = 20.0  # the deadline of an erasure in these tests
INDEX_DELAY = 0.3  # seconds that the index lags in the tests that simulate it


@pytest.fixture(autouse=True)
def index_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """The indexes of both servers are updated immediately, so a shorter wait is enough."""
    monkeypatch.setattr(erasures, "INDEX_LAG", 2 * INDEX_DELAY)


@pytest.fixture
def table(dynamodb: Endpoint) -> Table:
    return connect(dynamodb)


@pytest.fixture
def alice() -> str:
    return f"alice-{new_id()}"


def erasure(table: Table) -> Erasure:
    conversations = Conversations(table)
    return Erasure(table, conversations, Generations(table, conversations))


def items_of(table: Table, user: str) -> dict[tuple[str, str], Any]:
    """Returns every item that contains the user's key anywhere."""
    scan = boto3.client("dynamodb", endpoint_url=table._client.service.url).get_paginator("scan")
    pages = scan.paginate(TableName=table._name)
    items = [item for page in pages for item in page["Items"] if user in str(item)]
    return {(item["pk"]["S"], item["sk"]["S"]): item for item in items}


def start_generation(conversations: Conversations, user: str, conversation: str) -> TableWriter:
    """Starts a generation: for a first message, or to replace the last answer."""
    record = new_head(conversation)
    _, last = conversations.recent(user, conversation, 1)
    message = last[0] if last else replace(user_message("a question"), generation_id=record.gid)
    generations = Generations(conversations._table, conversations)
    writer = generations.start(user, record, None, message, replace_last=bool(last))
    assert isinstance(writer, TableWriter)
    return writer


def store_answer(conversations: Conversations, user: str, conversation: str, text: str) -> str:
    """Starts and finishes a generation. Returns its id."""
    writer = start_generation(conversations, user, conversation)
    finish(writer, answer(Chunk(text), generation_id=writer.record.gid))
    return writer.record.gid


def store_conversations(table: Table, user: str) -> None:
    """Stores three conversations, a fact and a profile.

    One conversation has a regenerated answer that is too large for an item; one is deleted.
    """
    conversations, facts = Conversations(table), Facts(table)
    regenerated, deleted = new_id(), new_id()
    for conversation in (new_id(), regenerated, deleted):
        store_answer(conversations, user, conversation, "an answer")
    store_answer(conversations, user, regenerated, "".join(new_id() for _ in range(20_000)))
    assert erasure(table).delete_conversation(user, deleted, time.monotonic() + ERASURE_SECONDS)
    facts.add(user, "a fact", "fact", limit=10)
    facts.set_profile(user, "a name", None, None)


def run_owner(writer: TableWriter, ended: Callable[[bool], bool]) -> threading.Thread:
    """Starts a thread that flushes as the owner until `ended(cancelled)` is true, and then finishes."""

    def generate() -> None:
        chunks = [Chunk("word ")]
        while not ended(writer.flush([Chunk("word ")]).cancelled):
            chunks.append(Chunk("word "))
            time.sleep(0.05)
        chunks.append(Chunk("word "))
        writer.finish(answer(*chunks), End("cancel", "cancelled", Usage()))

    thread = threading.Thread(target=generate)
    thread.start()
    return thread


def test_an_erasure_removes_every_item_of_the_user_except_the_usage(table: Table, alice: str) -> None:
    bob = f"bob-{new_id()}"
    store_conversations(table, alice)
    store_conversations(table, bob)
    before = items_of(table, bob)
    assert erasure(table).erase_user(alice, time.monotonic() + ERASURE_SECONDS)
    assert {pk for pk, _ in items_of(table, alice)} == {keys.limits(alice)}
    assert items_of(table, bob) == before
    assert erasure(table).erase_user(alice, time.monotonic() + ERASURE_SECONDS), (
        "a second erasure succeeds, with no items left"
    )


def test_an_erasure_cancels_a_running_generation_and_removes_it(table: Table, alice: str) -> None:
    conversations = Conversations(table)
    owner = run_owner(start_generation(conversations, alice, new_id()), lambda cancelled: cancelled)
    assert erasure(table).erase_user(alice, time.monotonic() + ERASURE_SECONDS)
    owner.join()
    assert {pk for pk, _ in items_of(table, alice)} == {keys.limits(alice)}


def test_an_erasure_is_unfinished_until_the_owner_ends(table: Table, alice: str) -> None:
    conversations, conversation = Conversations(table), new_id()
    ended = threading.Event()
    owner = run_owner(start_generation(conversations, alice, conversation), lambda _: ended.is_set())
    assert not erasure(table).erase_user(alice, time.monotonic() + 0.5)
    assert conversations.get(alice, conversation).deleted
    assert list(conversations.page(alice, limit=9)[0]) == []
    ended.set()
    owner.join()
    assert erasure(table).erase_user(alice, time.monotonic() + ERASURE_SECONDS)
    assert {pk for pk, _ in items_of(table, alice)} == {keys.limits(alice)}


class FailingTable(Table):
    """Raises StorageError when the counter `deletes` reaches zero."""

    deletes = 0

    def until(self, deadline: float) -> Table:
        return self

    def delete(self, pk: str, sk: str, **guard: Any) -> None:
        self._count()
        super().delete(pk, sk, **guard)

    def delete_unchanged(self, item: dict[str, Any], name: str) -> None:
        self._count()
        super().delete_unchanged(item, name)

    def _count(self) -> None:
        self.deletes -= 1
        if self.deletes == 0:
            raise StorageError


@pytest.fixture
def failing(table: Table) -> FailingTable:
    return FailingTable(table._client, table._name)


@pytest.mark.parametrize("failing_delete", [1, 3, 8])
def test_an_erasure_that_failed_at_any_delete_is_completed_by_the_next_call(
    table: Table, failing: FailingTable, alice: str, failing_delete: int
) -> None:
    store_conversations(table, alice)
    failing.deletes = failing_delete
    with pytest.raises(StorageError):
        erasure(failing).erase_user(alice, time.monotonic() + ERASURE_SECONDS)
    assert erasure(table).erase_user(alice, time.monotonic() + ERASURE_SECONDS)
    assert {pk for pk, _ in items_of(table, alice)} == {keys.limits(alice)}


class LaggingTable(Table):
    """Its index is empty until `visible_at`, a time of the monotonic clock."""

    visible_at = 0.0

    def until(self, deadline: float) -> Table:
        return self

    def query_index(self, index: str, pk: str, **page: Any) -> Any:
        return super().query_index(index, pk, **page) if time.monotonic() > self.visible_at else ([], None)


def test_an_erasure_includes_conversations_that_the_index_does_not_show_yet(table: Table, alice: str) -> None:
    lagging = LaggingTable(table._client, table._name)
    lagging.visible_at = time.monotonic() + INDEX_DELAY
    store_answer(Conversations(table), alice, new_id(), "just before the erasure")
    assert erasure(lagging).erase_user(alice, time.monotonic() + ERASURE_SECONDS)
    assert {pk for pk, _ in items_of(table, alice)} == {keys.limits(alice)}


def test_nothing_starts_during_an_erasure_and_conversations_start_after_it(
    table: Table, failing: FailingTable, alice: str
) -> None:
    conversations, conversation = Conversations(table), new_id()
    store_answer(conversations, alice, conversation, "an answer")
    failing.deletes = 1
    with pytest.raises(StorageError):
        erasure(failing).erase_user(alice, time.monotonic() + ERASURE_SECONDS)
    for begin in (
        lambda: start_generation(conversations, alice, new_id()),
        lambda: conversations.create(alice, new_id(), None),
    ):
        with pytest.raises(ErasureInProgress):
            begin()
    assert erasure(table).erase_user(alice, time.monotonic() + ERASURE_SECONDS)
    store_answer(conversations, alice, conversation, "under the same id")
    conversations.create(alice, new_id(), None)
    assert len(conversations.page(alice, limit=9)[0]) == 2


def test_a_repeated_send_returns_its_generation_during_an_erasure(table: Table, alice: str) -> None:
    conversations = Conversations(table)
    running = start_generation(conversations, alice, new_id())
    erasure_marker.begin(table, alice)
    again = Generations(table, conversations).start(
        alice, replace(running.record, owner="another"), None, user_message("a question")
    )
    assert again == running.record


def test_a_late_erasure_keeps_what_was_stored_after_it_was_completed(table: Table, alice: str) -> None:
    """A task continues an erasure that a second call has already completed, and the user has stored new items."""
    conversations, conversation, facts = Conversations(table), new_id(), Facts(table)
    store_answer(conversations, alice, conversation, "old")

    class OvertakenTable(Table):
        """During its first query of the index, another call completes the erasure and new items are stored."""

        def until(self, deadline: float) -> Table:
            return self

        def query_index(self, index: str, pk: str, **page: Any) -> Any:
            result = super().query_index(index, pk, **page)
            if result[0] and erasure_marker.get(table, alice):
                assert erasure(table).erase_user(alice, time.monotonic() + ERASURE_SECONDS)
                store_answer(conversations, alice, conversation, "new")
                facts.add(alice, "a new fact", "fact", limit=5)
            return result

    assert erasure(OvertakenTable(table._client, table._name)).erase_user(alice, time.monotonic() + ERASURE_SECONDS)
    assert [message.text for message in conversations.recent(alice, conversation, 9)[1]][-1] == "new"
    assert [fact.text for fact in facts.all(alice)] == ["a new fact"]
    assert erasure(table).resume(alice, time.monotonic() + ERASURE_SECONDS), "there is no unfinished erasure"
    assert [fact.text for fact in facts.all(alice)] == ["a new fact"]


@pytest.mark.parametrize("complete", [True, False])
def test_an_erasure_continues_if_a_concurrent_call_removed_the_log(table: Table, alice: str, complete: bool) -> None:
    """The other call completes the erasure, or fails after it removed the log."""
    conversations, conversation = Conversations(table), new_id()
    running = start_generation(conversations, alice, conversation)
    for _ in range(40):
        running.flush([Chunk(new_id())])
    past = {":past": 1}
    table.update(keys.generation(alice, running.record.gid), keys.RECORD, "SET lease = :past, dl = :past", values=past)

    class OvertakenTable(Table):
        """Before it reads the log, another call removes the log."""

        def until(self, deadline: float) -> Table:
            return self

        def query(self, pk: str, low: str, high: str, **more: Any) -> Any:
            if low.startswith("S#"):
                if complete:
                    assert erasure(table).erase_user(alice, time.monotonic() + ERASURE_SECONDS)
                else:
                    conversations.remove_log(alice, running.record.gid)
            return super().query(pk, low, high, **more)

    assert erasure(OvertakenTable(table._client, table._name)).erase_user(alice, time.monotonic() + ERASURE_SECONDS)
    assert {pk for pk, _ in items_of(table, alice)} <= {keys.limits(alice)}


def long_conversation(table: Table, user: str, turns: int) -> str:
    conversations, conversation = Conversations(table), new_id()
    for _ in range(turns):
        store_answer(conversations, user, conversation, "an answer")
    return conversation


def test_a_deletion_that_runs_out_of_time_is_continued_from_its_mark(table: Table, alice: str) -> None:
    conversation, remaining = long_conversation(table, alice, 3), 99
    calls = 0
    while True:
        done = erasure(table).delete_conversation(alice, conversation, time.monotonic() + 0.02 * calls)
        before, remaining = remaining, len([sk for pk, sk in items_of(table, alice) if sk.startswith("M#")])
        assert remaining <= before
        calls += 1
        if done:
            break
        with pytest.raises(DeletionUnfinished):
            Conversations(table).messages(alice, conversation, limit=9)
    assert calls > 1
    assert {sk for pk, sk in items_of(table, alice) if pk == keys.conversation(alice, conversation)} == {keys.META}
    assert not Conversations(table).get(alice, conversation).unfinished
    assert erasure(table).delete_conversation(alice, conversation, time.monotonic() + ERASURE_SECONDS), (
        "a second deletion succeeds"
    )


def test_every_change_of_a_conversation_restarts_its_retention(table: Table, alice: str) -> None:
    conversation, changes = new_id(), count(1)

    def next_retention() -> Conversations:
        return Conversations(table, Retention(next(changes)))

    def days() -> int:
        meta = items_of(table, alice)[keys.conversation(alice, conversation), keys.META]
        return round((int(meta["ttl"]["N"]) - TTL_DELAY - time.time()) / DAY)

    next_retention().create(alice, conversation, None)
    assert days() == 1
    writer = start_generation(next_retention(), alice, conversation)
    assert days() == 2
    finish(TableWriter(Generations(table, next_retention()), table, alice, writer.record), answer(Chunk("an answer")))
    assert days() == 3
    next_retention().rename(alice, conversation, "a title")
    assert days() == 4
    Conversations(table).rename(alice, conversation, "without retention")
    assert days() == FOREVER_DAYS


def test_a_forgotten_fact_is_in_no_item(table: Table, alice: str) -> None:
    facts = Facts(table)
    fact, other = (facts.add(alice, text, "fact", limit=5) for text in ("sails", "has a dog"))
    facts.delete(alice, fact.id)
    items = items_of(table, alice)
    assert not [item for item in items.values() if fact.id in str(item) or fact.text in str(item)]
    assert [item for item in items.values() if other.id in str(item)]


def test_the_opening_names_a_conversation_until_the_first_message_expires(
    table: Table, alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation, conversations, started_at = new_id(), Conversations(table, Retention(days=2)), time.time()
    store_answer(conversations, alice, conversation, "an answer")
    opening = conversations.get(alice, conversation).name
    assert opening is not None
    monkeypatch.setattr(time, "time", lambda: started_at + DAY)
    conversations.rename(alice, conversation, "a title")  # an update
    assert conversations.get(alice, conversation).opening == opening
    monkeypatch.setattr(time, "time", lambda: started_at + 2.5 * DAY)
    later = conversations.get(alice, conversation)
    assert (later.deleted, later.name, later.opening) == (False, "a title", None)


def test_expired_items_are_not_read_before_they_are_removed(table: Table, alice: str) -> None:
    conversation = new_id()
    gid = store_answer(Conversations(table, Retention(days=-1)), alice, conversation, "an answer")
    conversations = Conversations(table)
    assert len(items_of(table, alice)) > 3
    assert conversations.get(alice, conversation).deleted
    assert conversations.page(alice, limit=9) == ([], None)
    assert conversations.recent(alice, conversation, 9)[1] == []
    with pytest.raises(NotFound):
        conversations.exchange(alice, conversation, 2, gid)
    assert erasure(table).erase_user(alice, time.monotonic() + ERASURE_SECONDS)
    assert {pk for pk, _ in items_of(table, alice)} == {keys.limits(alice)}


def test_a_task_completes_a_deletion_that_exceeds_the_request_time(chat_user: ChatUser) -> None:
    """After a response 202, after a table failure, and if the erasure was completed before the task started."""
    app, table = chat_user.app, chat_user.app.conversations._table
    app.__dict__["invoker"] = chat_user.invocations
    chat_user.sends("I sail.")
    assert not app.deletion.run(chat_user.key, chat_user.conversation, 0.001)
    assert not app.deletion.run(chat_user.key, None, 0.001)
    events = [event for _, event in chat_user.invocations.events]
    assert events == [
        {"task": "erase", "user": chat_user.key, "conversation": chat_user.conversation},
        {"task": "erase", "user": chat_user.key},
    ]
    with pytest.raises(StorageError):
        tasks.run(events[1], app, 0.001)
    assert tasks.run(events[0], app, ERASURE_SECONDS) == {"erased": True}
    assert [sk for pk, sk in items_of(table, chat_user.key) if "#C#" in pk] == [keys.META]
    assert tasks.run(events[1], app, ERASURE_SECONDS) == {"erased": True}
    assert {pk for pk, _ in items_of(table, chat_user.key)} == {keys.limits(chat_user.key)}
    chat_user.sends("I sail again.")
    assert tasks.run(events[1], app, ERASURE_SECONDS) == {"erased": True}, (
        "a duplicate delivery of the event has no effect"
    )
    assert len(app.conversations.page(chat_user.key, limit=9)[0]) == 1
    with pytest.raises(NotFound):
        app.deletion.run(chat_user.key, "unknown", ERASURE_SECONDS)
    assert len(chat_user.invocations.events) == 2


def test_a_deletion_on_a_failing_table_is_completed_by_a_task(
    chat_user: ChatUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = chat_user.app
    app.__dict__["invoker"] = chat_user.invocations
    chat_user.sends("I sail.")
    with monkeypatch.context() as failing:
        failing.setattr(Conversations, "remove_messages", mock.Mock(side_effect=StorageError))
        with pytest.raises(StorageError):
            app.deletion.run(chat_user.key, chat_user.conversation, ERASURE_SECONDS)
    [(_, event)] = chat_user.invocations.events
    assert tasks.run(event, app, ERASURE_SECONDS) == {"erased": True}
    assert [sk for pk, sk in items_of(app.conversations._table, chat_user.key) if "#C#" in pk] == [keys.META]
