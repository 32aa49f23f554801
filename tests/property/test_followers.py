"""What the walks found in following: an end that another answer took the place of, and a table that fails."""

from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import pytest

from converse_stream.generation import follower
from converse_stream.generation.follower import Follower
from converse_stream.generation.generation import MAX_UNSAVED_SECONDS
from converse_stream.protocol.events import (
    Chunk,
    Complete,
    Error,
    Event,
    Rollback,
)
from converse_stream.store.generation_writer import TableWriter
from tests.property.fake_table import Fault
from tests.property.steered_store import ALICE, CONVERSATION, Store, fails


def test_an_answer_that_another_took_the_place_of_ends_for_its_follower_as_it_was(store: Store) -> None:
    answer = store.finish(store.send("one"), "first")
    first = store.generations.get(ALICE, "one")
    again = store.regenerate("two", answer)
    assert first is not None
    assert isinstance(again, TableWriter)
    for moment in ("while it is made again", "when it was"):
        view = Follower(
            store.generations, store.conversations, ALICE, first, after=2, client=moment, request_id="r", deadline=1e12
        )
        with mock.patch.object(follower, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: None)), view:
            end = view.wait(1, 0)[-1].event
        assert isinstance(end, Complete)
        assert end.ai_message.text == "first"
        if moment == "while it is made again":
            store.finish(again, "second")


def test_the_earlier_answer_of_a_key_is_not_shown_as_its_new_one(store: Store) -> None:
    """The conversation is deleted while the key, used again after a day, continues its own earlier answer."""
    first = store.finish(store.send("one"), "first")
    store.at += 25 * 3600
    again = store.made_again("one", first, begun=first.parts)
    store.conversations.mark_deleted(ALICE, CONVERSATION)
    store.finish(again, ", and the rest")
    assert isinstance(store.followed("one"), Error)


class FollowingClient:
    """A client that follows a generation and looks at it every half second of the store's clock."""

    def __init__(self, store: Store, gid: str, *, after: int | None = None) -> None:
        record = store.generations.get(ALICE, gid)
        assert record is not None
        self._store = store
        self.view = Follower(
            store.generations,
            store.conversations,
            ALICE,
            record,
            after=after,
            client=None,
            request_id="r",
            deadline=1e12,
        )
        self.view.attach()
        self._cursor = len(self.view.wait(0, 0))

    def look(self) -> list[Event]:
        """What is new."""
        self._store.at += 0.5
        placed = self.view.wait(self._cursor, 0.1)
        self._cursor += len(placed)
        return [each.event for each in placed]


@pytest.fixture
def stopped(store: Store) -> Iterator[None]:
    """The clock of those who follow is the store's."""
    clock = SimpleNamespace(monotonic=lambda: store.at, sleep=lambda _: None)
    with mock.patch.object(follower, "time", clock):
        yield


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize("operation", ["query", "update"])
def test_a_follower_bears_a_read_that_fails_and_a_note_of_its_interest_that_fails(store: Store, operation: str) -> None:
    writer = store.send("one")
    follower = FollowingClient(store, "one")
    writer.flush([Chunk("a")])
    store.once.arm(operation, fails("before"))
    assert [*follower.look(), *follower.look()] == [Chunk("a")]
    store.finish(writer, "b")
    [said, end] = follower.look()
    assert said == Chunk("b")
    assert isinstance(end, Complete)


@pytest.mark.usefixtures("stopped")
def test_a_follower_bears_an_end_that_cannot_be_read_at_once(store: Store) -> None:
    store.finish(store.send("one"), "ab")
    follower = FollowingClient(store, "one", after=5)
    store.once.arm("get", fails("before"))
    assert follower.look() == []
    [rollback, end] = follower.look()
    assert rollback == Rollback(2)
    assert isinstance(end, Complete)


@pytest.mark.usefixtures("stopped")
def test_a_follower_bears_a_table_that_fails_for_as_long_as_the_owner_does(store: Store) -> None:
    store.send("one")
    follower = FollowingClient(store, "one")

    def down() -> Fault:
        store.once.arm("query", down)
        return "before"

    store.once.arm("query", down)
    begun = store.at
    while not follower.view.ended:
        assert follower.look() == []
        assert store.at - begun < 60
    assert store.at - begun == pytest.approx(MAX_UNSAVED_SECONDS, abs=1)
