"""What the walks found, each as short as it can be: one race or one failure, in a table that is otherwise well."""

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from unittest import mock

import pytest

from chat import following
from chat.errors import ConversationBusy, NotFound, StorageError
from chat.events import Chunk, Complete, Event, Message, Reasoning, Rollback, Usage
from chat.following import Following
from chat.store import conversations, keys
from chat.store.conversations import Conversations
from chat.store.generations import Generations
from chat.store.head import LEASE, PATIENCE, End, Head
from chat.store.writer import Writer
from chat.turn import UNSAVED
from tests.property.fake_table import Calm, FakeDynamo, Fault

ALICE, CONVERSATION = "alice", "conversation"
BEGIN = 1_800_000_000.0


class Once(Calm):
    """At the first call of `operation` after `arm`, something happens once."""

    def __init__(self) -> None:
        self._operation = ""
        self._event: Callable[[], Fault] = lambda: "none"

    def arm(self, operation: str, event: Callable[[], Fault]) -> None:
        """What happens before the next such call, and how that call goes."""
        self._operation, self._event = operation, event

    def before(self, operation: str, pks: Sequence[str], *, writes: bool) -> Fault:
        """See Steering."""
        if operation != self._operation:
            return "none"
        self._operation = ""
        return self._event()


class Store:
    """A store with a clock that a test turns."""

    def __init__(self) -> None:
        self.at = BEGIN
        self.once = Once()
        self.dynamo = FakeDynamo(self.once)
        self.conversations = Conversations(self.dynamo.table())
        self.generations = Generations(self.dynamo.table(), self.conversations, lambda: self.at)

    def head(self, gid: str) -> Head:
        """A new generation's head."""
        at = int(self.at * 1000)
        lease, deadline = at + LEASE, at + 60_000
        return Head(gid, "run", f"owner of {gid}", "payload", CONVERSATION, 0, f"{gid}-answer", "nova-lite", 0, 0, (),
                    lease, deadline)  # fmt: skip

    def send(self, gid: str) -> Writer:
        """The writer of a new message's answer."""
        question = Message(f"{gid}-question", "user", (Chunk("q"),), "t", generation_id=gid)
        writer = self.generations.start(ALICE, self.head(gid), None, question)
        assert isinstance(writer, Writer)
        return writer

    def regenerate(self, gid: str, message: Message) -> Writer | Head:
        """The answer once more."""
        return self.generations.start(ALICE, self.head(gid), None, message, instead=True)

    def finish(self, writer: Writer, text: str) -> Message:
        """Ends an answer that says this and nothing else."""
        head = writer.head
        answer = Message(head.message_id, "assistant", (Chunk(text),), "t", generation_id=head.gid)
        writer.flush([Chunk(text)])
        writer.finish(answer, End("done", "stop", Usage()))
        return answer

    def durable(self, gid: str) -> str:
        """The text in the table."""
        head = self.generations.head(ALICE, gid)
        assert head is not None
        return "".join(entry.content for entry in self.generations.read(ALICE, head, 0) if isinstance(entry, Chunk))


@pytest.fixture
def store() -> Store:
    return Store()


def fails(how: Fault) -> Callable[[], Fault]:
    return lambda: how


def test_a_flush_that_succeeded_unseen_may_be_given_again_with_more(store: Store) -> None:
    writer = store.send("one")
    store.once.arm("update", fails("after"))
    with pytest.raises(StorageError):
        writer.flush([Chunk("a")])
    writer.flush([Chunk("a"), Chunk("b")])
    assert store.durable("one") == "ab"


def test_a_flush_that_failed_in_its_second_write_may_be_given_again(store: Store) -> None:
    writer = store.send("one")
    entries = [Chunk("a" * 10), Chunk("b" * 10)]

    def second() -> Fault:
        store.once.arm("update", fails("before"))
        return "none"

    with mock.patch("chat.store.writer.RUN", 10):
        store.once.arm("update", second)
        with pytest.raises(StorageError):
            writer.flush(entries)
        writer.flush(entries)
    assert store.durable("one") == "a" * 10 + "b" * 10


def test_a_segment_that_arrives_late_does_not_replace_a_longer_one(store: Store) -> None:
    writer = store.send("one")
    with mock.patch("chat.store.writer.RUN", 40), mock.patch("chat.store.writer.TAIL_BYTES", 40):
        writer.flush([Chunk("a")])
        store.once.arm("put", fails("late"))
        with pytest.raises(StorageError):
            writer.flush([Reasoning("b"), Chunk("c" * 35)])  # one run: "a" is sealed for it, and the write is late
        writer.flush([Reasoning("b"), Chunk("c" * 40)])  # two runs: "b" joins the tail, and both are sealed
    store.dynamo.deliver()
    assert store.durable("one") == "a" + "c" * 40


def test_a_regeneration_sent_twice_at_once_is_one(store: Store) -> None:
    answer = store.finish(store.send("one"), "first")
    begun: list[Writer | Head] = []

    def twin() -> Fault:
        begun.append(store.regenerate("two", answer))
        return "none"

    message = answer
    known = store.conversations.get(ALICE, CONVERSATION)
    store.once.arm("get", twin)
    again = store.generations.start(ALICE, store.head("two"), known, message, instead=True)
    assert isinstance(begun[0], Writer)
    assert isinstance(again, (Writer, Head))


def test_an_answer_that_another_took_the_place_of_ends_for_its_follower_as_it_was(store: Store) -> None:
    answer = store.finish(store.send("one"), "first")
    first = store.generations.head(ALICE, "one")
    again = store.regenerate("two", answer)
    assert first is not None
    assert isinstance(again, Writer)
    for moment in ("while it is made again", "when it was"):
        view = Following(
            store.generations, store.conversations, ALICE, first, after=2, client=moment, request_id="r", deadline=1e12
        )
        with mock.patch.object(following, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: None)), view:
            end = view.wait(1, 0)[-1].event
        assert isinstance(end, Complete)
        assert end.ai_message.text == "first"
        if moment == "while it is made again":
            store.finish(again, "second")


class Follower:
    """A client that follows a generation and looks at it every half second of the store's clock."""

    def __init__(self, store: Store, gid: str, *, after: int | None = None) -> None:
        head = store.generations.head(ALICE, gid)
        assert head is not None
        self._store = store
        self.view = Following(
            store.generations, store.conversations, ALICE, head, after=after, client=None, request_id="r", deadline=1e12
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
    with mock.patch.object(following, "time", clock):
        yield


@pytest.mark.usefixtures("stopped")
@pytest.mark.parametrize("operation", ["query", "update"])
def test_a_follower_bears_a_read_that_fails_and_a_note_of_its_interest_that_fails(store: Store, operation: str) -> None:
    writer = store.send("one")
    follower = Follower(store, "one")
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
    follower = Follower(store, "one", after=5)
    store.once.arm("get", fails("before"))
    assert follower.look() == []
    [rollback, end] = follower.look()
    assert rollback == Rollback(2)
    assert isinstance(end, Complete)


@pytest.mark.usefixtures("stopped")
def test_a_follower_bears_a_table_that_fails_for_as_long_as_the_owner_does(store: Store) -> None:
    store.send("one")
    follower = Follower(store, "one")

    def down() -> Fault:
        store.once.arm("query", down)
        return "before"

    store.once.arm("query", down)
    begun = store.at
    while not follower.view.over:
        assert follower.look() == []
        assert store.at - begun < 60
    assert store.at - begun == pytest.approx(UNSAVED, abs=1)


@pytest.mark.parametrize("deleted", [False, True])
def test_a_conversation_is_not_stuck_when_nobody_looked_for_a_day(store: Store, deleted: bool) -> None:
    store.send("one")
    store.at += 25 * 3600
    if deleted:
        store.dynamo.expire(store.at)
    try:
        store.send("two")
    except ConversationBusy:
        pytest.fail("the conversation is stuck for ever")


def test_a_reader_that_loses_against_a_renewed_lease_sees_a_running_generation(store: Store) -> None:
    writer = store.send("one")
    store.at += (LEASE + PATIENCE) / 1000 + 1

    def wake() -> Fault:
        writer.flush([])
        return "none"

    store.once.arm("transact", wake)
    head = store.generations.alive(ALICE, "one")
    assert head is not None
    assert head.status == "run"


def test_a_deletion_that_broke_off_leaves_its_mark(store: Store) -> None:
    """Otherwise whoever uses the id again sees the old messages."""
    store.finish(store.send("one"), "secret")
    with mock.patch.object(conversations, "time", SimpleNamespace(time=lambda: store.at)):
        store.conversations.mark_deleted(ALICE, CONVERSATION)
    store.dynamo.expire(store.at + 1e9)
    assert (keys.conversation(ALICE, CONVERSATION), keys.META) in store.dynamo.items


def test_a_name_for_a_conversation_that_is_deleted_at_that_moment_does_not_bring_it_back(store: Store) -> None:
    store.finish(store.send("one"), "answer")

    def delete() -> Fault:
        store.conversations.mark_deleted(ALICE, CONVERSATION)
        return "none"

    store.once.arm("update", delete)
    with pytest.raises(NotFound):
        store.conversations.rename(ALICE, CONVERSATION, "title")
    assert store.conversations.get(ALICE, CONVERSATION).title is None
