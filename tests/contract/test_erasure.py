"""What users take away is gone, and what is over is read by nobody: from a real table, looked at item by item."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any
from unittest import mock

import pytest

from converse_stream import tasks
from converse_stream.protocol.errors import (
    DeletionUnfinished,
    ErasureInProgress,
    NotFound,
    StorageError,
)
from converse_stream.protocol.events import Chunk, Usage
from converse_stream.protocol.ids import new_id
from converse_stream.store import erasure as erasures
from converse_stream.store import erasure_mark, keys
from converse_stream.store.conversations import Conversations
from converse_stream.store.erasure import Erasure
from converse_stream.store.facts import Facts
from converse_stream.store.generation_record import End
from converse_stream.store.generation_writer import TableWriter
from converse_stream.store.generations import Generations
from converse_stream.store.retention import (
    DAY,
    FOREVER_DAYS,
    TTL_DELAY,
    Retention,
)
from converse_stream.store.table import Table
from tests.contract.chat_user import ChatUser
from tests.contract.dynamodb_local.server import Endpoint
from tests.contract.test_store import answer, connect, finish, new_head, user_message

SOON = 20.0  # seconds that an erasure may take here
LATE_BY = 0.3  # seconds that the index is late, where it is


@pytest.fixture(autouse=True)
def index_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables here show at once what was written; a shorter wait is enough."""
    monkeypatch.setattr(erasures, "INDEX_LAG", 2 * LATE_BY)


@pytest.fixture
def table(dynamodb: Endpoint) -> Table:
    return connect(dynamodb)


@pytest.fixture
def alice() -> str:
    return f"alice-{new_id()}"


def erasure(table: Table) -> Erasure:
    conversations = Conversations(table)
    return Erasure(table, conversations, Generations(table, conversations))


def of(table: Table, user: str) -> dict[tuple[str, str], Any]:
    """Every item that names the user anywhere."""
    pages = table._client.get_paginator("scan").paginate(TableName=table._name)
    items = [item for page in pages for item in page["Items"] if user in str(item)]
    return {(item["pk"]["S"], item["sk"]["S"]): item for item in items}


def asked(conversations: Conversations, user: str, conversation: str) -> TableWriter:
    """A generation that runs, for a new message or in place of the last answer."""
    record = new_head(conversation)
    _, last = conversations.recent(user, conversation, 1)
    message = last[0] if last else replace(user_message("a question"), generation_id=record.gid)
    generations = Generations(conversations._table, conversations)
    writer = generations.start(user, record, None, message, replace_last=bool(last))
    assert isinstance(writer, TableWriter)
    return writer


def answered(conversations: Conversations, user: str, conversation: str, text: str) -> str:
    """The generation."""
    writer = asked(conversations, user, conversation)
    finish(writer, answer(Chunk(text), generation_id=writer.record.gid))
    return writer.record.gid


def live(table: Table, user: str) -> None:
    """Conversations, with an answer made again and too large for an item; one deleted; a fact and a profile."""
    conversations, facts = Conversations(table), Facts(table)
    again, gone = new_id(), new_id()
    for conversation in (new_id(), again, gone):
        answered(conversations, user, conversation, "an answer")
    answered(conversations, user, again, "".join(new_id() for _ in range(20_000)))
    assert erasure(table).delete_conversation(user, gone, time.monotonic() + SOON)
    facts.add(user, "a fact", "fact", limit=10)
    facts.set_profile(user, "a name", None, None)


def ends(writer: TableWriter, when: Callable[[bool], bool]) -> threading.Thread:
    """Its owner goes on flushing until it is cancelled and `when` agrees."""

    def speak() -> None:
        said = [Chunk("word ")]
        while not when(writer.flush([Chunk("word ")]).cancelled):
            said.append(Chunk("word "))
            time.sleep(0.05)
        said.append(Chunk("word "))
        writer.finish(answer(*said), End("cancel", "cancelled", Usage()))

    thread = threading.Thread(target=speak)
    thread.start()
    return thread


def test_nothing_of_a_user_is_left_but_what_they_used(table: Table, alice: str) -> None:
    bob = f"bob-{new_id()}"
    live(table, alice)
    live(table, bob)
    before = of(table, bob)
    assert erasure(table).erase_user(alice, time.monotonic() + SOON)
    assert {pk for pk, _ in of(table, alice)} == {keys.limits(alice)}
    assert of(table, bob) == before
    assert erasure(table).erase_user(alice, time.monotonic() + SOON), "again, with nothing left"


def test_a_running_answer_is_stopped_and_leaves_nothing(table: Table, alice: str) -> None:
    conversations = Conversations(table)
    owner = ends(asked(conversations, alice, new_id()), lambda cancelled: cancelled)
    assert erasure(table).erase_user(alice, time.monotonic() + SOON)
    owner.join()
    assert {pk for pk, _ in of(table, alice)} == {keys.limits(alice)}


def test_an_owner_that_does_not_end_is_waited_for_by_the_next_call(table: Table, alice: str) -> None:
    conversations, conversation = Conversations(table), new_id()
    ended = threading.Event()
    owner = ends(asked(conversations, alice, conversation), lambda _: ended.is_set())
    assert not erasure(table).erase_user(alice, time.monotonic() + 0.5)
    assert conversations.get(alice, conversation).deleted
    assert list(conversations.page(alice, limit=9)[0]) == []
    ended.set()
    owner.join()
    assert erasure(table).erase_user(alice, time.monotonic() + SOON)
    assert {pk for pk, _ in of(table, alice)} == {keys.limits(alice)}


class Failing(Table):
    """Fails at the n-th delete."""

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
def failing(table: Table) -> Failing:
    return Failing(table._client, table._name)


@pytest.mark.parametrize("place", [1, 3, 8])
def test_what_broke_it_off_does_not_matter(table: Table, failing: Failing, alice: str, place: int) -> None:
    live(table, alice)
    failing.deletes = place
    with pytest.raises(StorageError):
        erasure(failing).erase_user(alice, time.monotonic() + SOON)
    assert erasure(table).erase_user(alice, time.monotonic() + SOON)
    assert {pk for pk, _ in of(table, alice)} == {keys.limits(alice)}


class Lagging(Table):
    """Its index shows nothing until `shows`, a time of the monotonic clock."""

    shows = 0.0

    def until(self, deadline: float) -> Table:
        return self

    def query_index(self, index: str, pk: str, **page: Any) -> Any:
        return super().query_index(index, pk, **page) if time.monotonic() > self.shows else ([], None)


def test_what_began_before_the_index_shows_it_is_erased(table: Table, alice: str) -> None:
    lagging = Lagging(table._client, table._name)
    lagging.shows = time.monotonic() + LATE_BY
    answered(Conversations(table), alice, new_id(), "of the last moment")
    assert erasure(lagging).erase_user(alice, time.monotonic() + SOON)
    assert {pk for pk, _ in of(table, alice)} == {keys.limits(alice)}


def test_nothing_begins_while_all_is_erased_and_everything_may_afterwards(
    table: Table, failing: Failing, alice: str
) -> None:
    conversations, conversation = Conversations(table), new_id()
    answered(conversations, alice, conversation, "an answer")
    failing.deletes = 1
    with pytest.raises(StorageError):
        erasure(failing).erase_user(alice, time.monotonic() + SOON)
    for begin in (
        lambda: asked(conversations, alice, new_id()),
        lambda: conversations.create(alice, new_id(), None),
    ):
        with pytest.raises(ErasureInProgress):
            begin()
    assert erasure(table).erase_user(alice, time.monotonic() + SOON)
    answered(conversations, alice, conversation, "under the same id")
    conversations.create(alice, new_id(), None)
    assert len(conversations.page(alice, limit=9)[0]) == 2


def test_a_repeated_send_finds_its_answer_while_all_is_erased(table: Table, alice: str) -> None:
    conversations = Conversations(table)
    running = asked(conversations, alice, new_id())
    erasure_mark.begin(table, alice)
    again = Generations(table, conversations).start(
        alice, replace(running.record, owner="another"), None, user_message("a question")
    )
    assert again == running.record


def test_an_erasure_that_comes_too_late_leaves_what_began_since(table: Table, alice: str) -> None:
    """A task that goes on with it while the caller has called again, and has begun anew."""
    conversations, conversation, facts = Conversations(table), new_id(), Facts(table)
    answered(conversations, alice, conversation, "old")

    class Overtaken(Table):
        """At its first look into the index, it waits for another call that erases all, and for what begins then."""

        def until(self, deadline: float) -> Table:
            return self

        def query_index(self, index: str, pk: str, **page: Any) -> Any:
            found = super().query_index(index, pk, **page)
            if found[0] and erasure_mark.since(table, alice):
                assert erasure(table).erase_user(alice, time.monotonic() + SOON)
                answered(conversations, alice, conversation, "new")
                facts.add(alice, "a new fact", "fact", limit=5)
            return found

    assert erasure(Overtaken(table._client, table._name)).erase_user(alice, time.monotonic() + SOON)
    assert [message.text for message in conversations.recent(alice, conversation, 9)[1]][-1] == "new"
    assert [fact.text for fact in facts.all(alice)] == ["a new fact"]
    assert erasure(table).resume(alice, time.monotonic() + SOON), "there is nothing to go on with"
    assert [fact.text for fact in facts.all(alice)] == ["a new fact"]


@pytest.mark.parametrize("last", [True, False])
def test_a_lost_answer_whose_log_another_call_erases_breaks_nothing_off(table: Table, alice: str, last: bool) -> None:
    """The other call has erased all, or breaks off after the log."""
    conversations, conversation = Conversations(table), new_id()
    running = asked(conversations, alice, conversation)
    for _ in range(40):
        running.flush([Chunk(new_id())])
    past = {":past": 1}
    table.update(keys.generation(alice, running.record.gid), keys.RECORD, "SET lease = :past, dl = :past", values=past)

    class Overtaken(Table):
        """Before it reads the log, another call removes that."""

        def until(self, deadline: float) -> Table:
            return self

        def query(self, pk: str, low: str, high: str, **more: Any) -> Any:
            if low.startswith("S#"):
                if last:
                    assert erasure(table).erase_user(alice, time.monotonic() + SOON)
                else:
                    conversations.remove_log(alice, running.record.gid)
            return super().query(pk, low, high, **more)

    assert erasure(Overtaken(table._client, table._name)).erase_user(alice, time.monotonic() + SOON)
    assert {pk for pk, _ in of(table, alice)} <= {keys.limits(alice)}


def long_conversation(table: Table, user: str, turns: int) -> str:
    conversations, conversation = Conversations(table), new_id()
    for _ in range(turns):
        answered(conversations, user, conversation, "an answer")
    return conversation


def test_a_deletion_that_takes_too_long_is_gone_on_with_from_its_mark(table: Table, alice: str) -> None:
    conversation, left = long_conversation(table, alice, 3), 99
    calls = 0
    while True:
        done = erasure(table).delete_conversation(alice, conversation, time.monotonic() + 0.02 * calls)
        before, left = left, len([sk for pk, sk in of(table, alice) if sk.startswith("M#")])
        assert left <= before
        calls += 1
        if done:
            break
        with pytest.raises(DeletionUnfinished):
            Conversations(table).messages(alice, conversation, limit=9)
    assert calls > 1
    assert {sk for pk, sk in of(table, alice) if pk == keys.conversation(alice, conversation)} == {keys.META}
    assert not Conversations(table).get(alice, conversation).unfinished
    assert erasure(table).delete_conversation(alice, conversation, time.monotonic() + SOON), "again, and done"


def test_every_change_of_a_conversation_begins_its_time_anew(table: Table, alice: str) -> None:
    conversation, changes = new_id(), count(1)

    def renewed() -> Conversations:
        return Conversations(table, Retention(next(changes)))

    def days() -> int:
        meta = of(table, alice)[keys.conversation(alice, conversation), keys.META]
        return round((int(meta["ttl"]["N"]) - TTL_DELAY - time.time()) / DAY)

    renewed().create(alice, conversation, None)
    assert days() == 1
    writer = asked(renewed(), alice, conversation)
    assert days() == 2
    finish(TableWriter(Generations(table, renewed()), table, alice, writer.record), answer(Chunk("an answer")))
    assert days() == 3
    renewed().rename(alice, conversation, "a title")
    assert days() == 4
    Conversations(table).rename(alice, conversation, "kept for ever")
    assert days() == FOREVER_DAYS


def test_a_fact_that_is_forgotten_is_in_no_item(table: Table, alice: str) -> None:
    facts = Facts(table)
    fact, other = (facts.add(alice, text, "fact", limit=5) for text in ("sails", "has a dog"))
    facts.delete(alice, fact.id)
    left = of(table, alice)
    assert not [item for item in left.values() if fact.id in str(item) or fact.text in str(item)]
    assert [item for item in left.values() if other.id in str(item)]


def test_a_conversation_is_called_by_its_first_words_as_long_as_they_are_kept(
    table: Table, alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    conversation, known, begun = new_id(), Conversations(table, Retention(days=2)), time.time()
    answered(known, alice, conversation, "an answer")
    opening = known.get(alice, conversation).name
    assert opening is not None
    monkeypatch.setattr(time, "time", lambda: begun + DAY)
    known.rename(alice, conversation, "a title")  # it goes on
    assert known.get(alice, conversation).opening == opening
    monkeypatch.setattr(time, "time", lambda: begun + 2.5 * DAY)
    later = known.get(alice, conversation)
    assert (later.deleted, later.name, later.opening) == (False, "a title", None)


def test_what_is_over_is_read_by_nobody_though_it_is_there(table: Table, alice: str) -> None:
    conversation = new_id()
    gid = answered(Conversations(table, Retention(days=-1)), alice, conversation, "an answer")
    kept = Conversations(table)
    assert len(of(table, alice)) > 3
    assert kept.get(alice, conversation).deleted
    assert kept.page(alice, limit=9) == ([], None)
    assert kept.recent(alice, conversation, 9)[1] == []
    with pytest.raises(NotFound):
        kept.exchange(alice, conversation, 2, gid)
    assert erasure(table).erase_user(alice, time.monotonic() + SOON)
    assert {pk for pk, _ in of(table, alice)} == {keys.limits(alice)}


def test_a_task_goes_on_with_what_takes_longer_than_its_caller_waits(chat_user: ChatUser) -> None:
    """After 202, after a table that failed, and after an erasure that ended meanwhile."""
    app, table = chat_user.app, chat_user.app.conversations._table
    app.__dict__["invoker"] = chat_user.started
    chat_user.says("I sail.")
    assert not app.deletion.run(chat_user.key, chat_user.conversation, 0.001)
    assert not app.deletion.run(chat_user.key, None, 0.001)
    events = [event for _, event in chat_user.started.events]
    assert events == [
        {"task": "erase", "user": chat_user.key, "conversation": chat_user.conversation},
        {"task": "erase", "user": chat_user.key},
    ]
    with pytest.raises(StorageError):
        tasks.run(events[1], app, 0.001)
    assert tasks.run(events[0], app, SOON) == {"erased": True}
    assert [sk for pk, sk in of(table, chat_user.key) if "#C#" in pk] == [keys.META]
    assert tasks.run(events[1], app, SOON) == {"erased": True}
    assert {pk for pk, _ in of(table, chat_user.key)} == {keys.limits(chat_user.key)}
    chat_user.says("I sail again.")
    assert tasks.run(events[1], app, SOON) == {"erased": True}, "twice, as Lambda may start it"
    assert len(app.conversations.page(chat_user.key, limit=9)[0]) == 1
    with pytest.raises(NotFound):
        app.deletion.run(chat_user.key, "unknown", SOON)
    assert len(chat_user.started.events) == 2


def test_a_table_that_fails_hands_the_deletion_over(chat_user: ChatUser, monkeypatch: pytest.MonkeyPatch) -> None:
    app = chat_user.app
    app.__dict__["invoker"] = chat_user.started
    chat_user.says("I sail.")
    with monkeypatch.context() as failing:
        failing.setattr(Conversations, "remove_messages", mock.Mock(side_effect=StorageError))
        with pytest.raises(StorageError):
            app.deletion.run(chat_user.key, chat_user.conversation, SOON)
    [(_, event)] = chat_user.started.events
    assert tasks.run(event, app, SOON) == {"erased": True}
    assert [sk for pk, sk in of(app.conversations._table, chat_user.key) if "#C#" in pk] == [keys.META]
