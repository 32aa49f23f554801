"""Regression tests of the walks, followers: replaced answers, and a failing table."""

from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import pytest

from converse_stream.generation import follower
from converse_stream.generation.follower import Follower
from converse_stream.generation.generation import MAX_UNSAVED_SECONDS
from converse_stream.protocol.events import Chunk, Complete, Error, Event, Rollback
from converse_stream.store.generation_writer import TableWriter
from tests.property.controlled_store import ALICE, CONVERSATION, Store, inject
from tests.property.fake_table import Fault


def test_the_follower_of_a_replaced_answer_gets_that_answer(store: Store) -> None:
    answer = store.finish(store.send("one"), "first")
    first = store.generations.get(ALICE, "one")
    regeneration = store.regenerate("two", answer)
    assert first is not None
    assert isinstance(regeneration, TableWriter)
    for moment in ("during the regeneration", "after the regeneration"):
        view = Follower(
            store.generations, store.conversations, ALICE, first, after=2, client=moment, request_id="r", deadline=1e12
        )
        with mock.patch.object(follower, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: None)), view:
            end = view.wait(1, 0)[-1].event
        assert isinstance(end, Complete)
        assert end.ai_message.text == "first"
        if moment == "during the regeneration":
            store.finish(regeneration, "second")


def test_a_follower_of_a_reused_key_does_not_get_its_earlier_answer(store: Store) -> None:
    """The conversation is deleted while the key, used again after a day, continues its own earlier answer."""
    first = store.finish(store.send("one"), "first")
    store.now += 25 * 3600
    regeneration = store.start_replacement("one", first, prefix=first.parts)
    store.conversations.mark_deleted(ALICE, CONVERSATION)
    store.finish(regeneration, ", and the rest")
    assert isinstance(store.follow_to_end("one"), Error)


class FollowingClient:
    """A client that follows a generation and reads it every half second of the store's clock."""

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

    def read(self) -> list[Event]:
        """Advances the clock by half a second. Returns the new events."""
        self._store.now += 0.5
        positioned = self.view.wait(self._cursor, 0.1)
        self._cursor += len(positioned)
        return [item.event for item in positioned]


@pytest.fixture
def store_clock(store: Store) -> Iterator[None]:
    """Followers use the store's clock."""
    clock = SimpleNamespace(monotonic=lambda: store.now, sleep=lambda _: None)
    with mock.patch.object(follower, "time", clock):
        yield


@pytest.mark.usefixtures("store_clock")
@pytest.mark.parametrize("operation", ["query", "update"])
def test_a_follower_continues_after_a_failed_read_or_a_failed_follow_mark(store: Store, operation: str) -> None:
    writer = store.send("one")
    follower = FollowingClient(store, "one")
    writer.flush([Chunk("a")])
    store.hook.arm(operation, inject("before"))
    assert [*follower.read(), *follower.read()] == [Chunk("a")]
    store.finish(writer, "b")
    [chunk, end] = follower.read()
    assert chunk == Chunk("b")
    assert isinstance(end, Complete)


@pytest.mark.usefixtures("store_clock")
def test_a_follower_gets_the_end_after_a_failed_read(store: Store) -> None:
    store.finish(store.send("one"), "ab")
    follower = FollowingClient(store, "one", after=5)
    store.hook.arm("get", inject("before"))
    assert follower.read() == []
    [rollback, end] = follower.read()
    assert rollback == Rollback(2)
    assert isinstance(end, Complete)


@pytest.mark.usefixtures("store_clock")
def test_a_follower_retries_a_failing_table_as_long_as_the_owner_does(store: Store) -> None:
    store.send("one")
    follower = FollowingClient(store, "one")

    def fail() -> Fault:
        store.hook.arm("query", fail)
        return "before"

    store.hook.arm("query", fail)
    started_at = store.now
    while not follower.view.ended:
        assert follower.read() == []
        assert store.now - started_at < 60
    assert store.now - started_at == pytest.approx(MAX_UNSAVED_SECONDS, abs=1)
