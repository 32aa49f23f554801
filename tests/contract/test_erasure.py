"""What users take away is gone, and what is over is read by nobody: from a real table, looked at item by item."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from chat.errors import NotFound, StorageError
from chat.events import Chunk, Usage
from chat.ids import new_id
from chat.store import keys
from chat.store.conversations import Conversations
from chat.store.erasure import Erasure
from chat.store.facts import Facts
from chat.store.generations import Generations
from chat.store.head import End
from chat.store.retention import DAY, FOR_EVER, LATE, Retention
from chat.store.table import Table
from chat.store.writer import Writer
from tests.contract.dynamodb_local.server import Endpoint
from tests.contract.test_store import answer, connect, finish, new_head, user_message

SOON = 20.0  # seconds that an erasure may take here


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


def asked(conversations: Conversations, user: str, conversation: str) -> Writer:
    """A generation that runs, for a new message or in place of the last answer."""
    head = new_head(conversation)
    _, last = conversations.recent(user, conversation, 1)
    message = last[0] if last else replace(user_message("a question"), generation_id=head.gid)
    generations = Generations(conversations._table, conversations)
    writer = generations.start(user, head, None, message, instead=bool(last))
    assert isinstance(writer, Writer)
    return writer


def answered(conversations: Conversations, user: str, conversation: str, text: str) -> str:
    """The generation."""
    writer = asked(conversations, user, conversation)
    finish(writer, answer(Chunk(text), generation_id=writer.head.gid))
    return writer.head.gid


def live(table: Table, user: str) -> None:
    """Conversations, with an answer made again and too large for an item; one deleted; a fact and a profile."""
    conversations, facts = Conversations(table), Facts(table)
    again, gone = new_id(), new_id()
    for conversation in (new_id(), again, gone):
        answered(conversations, user, conversation, "an answer")
    answered(conversations, user, again, "".join(new_id() for _ in range(20_000)))
    erasure(table).conversation(user, gone)
    facts.add(user, "a fact", "fact", limit=10)
    facts.set_profile(user, "a name", None, None)


def ends(writer: Writer, when: Callable[[bool], bool]) -> threading.Thread:
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
    assert erasure(table).everything(alice, time.monotonic() + SOON)
    assert {pk for pk, _ in of(table, alice)} == {keys.limits(alice)}
    assert of(table, bob) == before
    assert erasure(table).everything(alice, time.monotonic() + SOON), "again, with nothing left"


def test_a_running_answer_is_stopped_and_leaves_nothing(table: Table, alice: str) -> None:
    conversations = Conversations(table)
    owner = ends(asked(conversations, alice, new_id()), lambda cancelled: cancelled)
    assert erasure(table).everything(alice, time.monotonic() + SOON)
    owner.join()
    assert {pk for pk, _ in of(table, alice)} == {keys.limits(alice)}


def test_an_owner_that_does_not_end_is_waited_for_by_the_next_call(table: Table, alice: str) -> None:
    conversations, conversation = Conversations(table), new_id()
    ended = threading.Event()
    owner = ends(asked(conversations, alice, conversation), lambda _: ended.is_set())
    assert not erasure(table).everything(alice, time.monotonic() + 0.5)
    assert conversations.get(alice, conversation).deleted
    assert list(conversations.page(alice, limit=9)[0]) == []
    ended.set()
    owner.join()
    assert erasure(table).everything(alice, time.monotonic() + SOON)
    assert {pk for pk, _ in of(table, alice)} == {keys.limits(alice)}


class Failing(Table):
    """Fails at the n-th delete."""

    deletes = 0

    def until(self, deadline: float) -> Table:
        return self

    def delete(self, pk: str, sk: str, **guard: Any) -> bool:
        self.deletes -= 1
        if self.deletes == 0:
            raise StorageError
        return super().delete(pk, sk, **guard)


@pytest.fixture
def failing(table: Table) -> Failing:
    return Failing(table._client, table._name)


@pytest.mark.parametrize("place", [1, 3, 8])
def test_what_broke_it_off_does_not_matter(table: Table, failing: Failing, alice: str, place: int) -> None:
    live(table, alice)
    failing.deletes = place
    with pytest.raises(StorageError):
        erasure(failing).everything(alice, time.monotonic() + SOON)
    assert erasure(table).everything(alice, time.monotonic() + SOON)
    assert {pk for pk, _ in of(table, alice)} == {keys.limits(alice)}


def test_every_change_of_a_conversation_begins_its_time_anew(table: Table, alice: str) -> None:
    conversation, changes = new_id(), count(1)

    def renewed() -> Conversations:
        return Conversations(table, Retention(next(changes)))

    def days() -> int:
        meta = of(table, alice)[keys.conversation(alice, conversation), keys.META]
        return round((int(meta["ttl"]["N"]) - LATE - time.time()) / DAY)

    renewed().create(alice, conversation, None)
    assert days() == 1
    writer = asked(renewed(), alice, conversation)
    assert days() == 2
    finish(Writer(Generations(table, renewed()), table, alice, writer.head), answer(Chunk("an answer")))
    assert days() == 3
    renewed().rename(alice, conversation, "a title")
    assert days() == 4
    Conversations(table).rename(alice, conversation, "kept for ever")
    assert days() == FOR_EVER


def test_a_fact_that_is_forgotten_is_in_no_item(table: Table, alice: str) -> None:
    facts = Facts(table)
    fact, other = (facts.add(alice, text, "fact", limit=5) for text in ("sails", "has a dog"))
    facts.forget(alice, fact.id)
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
    assert erasure(table).everything(alice, time.monotonic() + SOON)
    assert {pk for pk, _ in of(table, alice)} == {keys.limits(alice)}
