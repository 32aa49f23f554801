"""What the walks found, each as short as it can be: one race or one failure, in a table that is otherwise well."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from chat import following, log
from chat.errors import ConversationBusy, NotFound, StorageError
from chat.events import Chunk, Complete, Error, Message, Reasoning, Usage
from chat.following import Following
from chat.store import conversations, keys
from chat.store.conversations import Conversations
from chat.store.generations import Generations
from chat.store.head import LEASE, PATIENCE, End, Estimate, Head, Status
from chat.store.writer import Writer
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

    def head(self, gid: str, **fields: Any) -> Head:
        """A new generation's head."""
        at = int(self.at * 1000)
        lease, deadline = at + LEASE, at + 60_000
        head = Head(gid, "run", f"owner of {gid} at {at}", "payload", CONVERSATION, 0, f"{gid}-answer-{at}",
                    "nova-lite", 0, 0, (), lease, deadline)  # fmt: skip
        return replace(head, **fields)

    def send(self, gid: str, **fields: Any) -> Writer:
        """The writer of a new message's answer."""
        question = Message(f"{gid}-question", "user", (Chunk("q"),), "t", generation_id=gid)
        writer = self.generations.start(ALICE, self.head(gid, **fields), None, question)
        assert isinstance(writer, Writer)
        return writer

    def made_again(self, gid: str, message: Message, *, begun: Sequence[Any] = (), **fields: Any) -> Writer:
        """The writer of an answer that takes the place of `message`, or goes on with what has `begun`."""
        head = self.head(gid, n=log.end_of(begun), tail=tuple(begun), **fields)
        writer = self.generations.start(ALICE, head, None, message, instead=True)
        assert isinstance(writer, Writer)
        return writer

    def followed(self, gid: str) -> Complete | Error:
        """How a generation that has ended ends for whoever follows it now."""
        head = self.generations.head(ALICE, gid)
        assert head is not None
        view = Following(
            self.generations, self.conversations, ALICE, head, after=None, client="tab", request_id="r", deadline=1e12
        )
        with mock.patch.object(following, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: None)), view:
            end = view.wait(1, 0)[-1].event
        assert isinstance(end, (Complete, Error))
        return end

    @property
    def history(self) -> list[str]:
        """What the conversation's messages say."""
        return [message.text for message in self.conversations.recent(ALICE, CONVERSATION, 20)[1]]

    @property
    def day(self) -> list[int]:
        """The user's requests, tokens in, tokens out and cost, of all days."""
        days = self.dynamo.partition(keys.limits(ALICE), "D#")
        return [sum(int(day[name]) for day in days) for name in ("requests", "tokens_in", "tokens_out", "cost")]

    def regenerate(self, gid: str, message: Message) -> Writer | Head:
        """The answer once more."""
        return self.generations.start(ALICE, self.head(gid), None, message, instead=True)

    def finish(self, writer: Writer, text: str) -> Message:
        """Ends an answer that says this and nothing else."""
        head = writer.head
        at = f"t{self.at}"
        answer = Message(head.message_id, "assistant", (*head.tail, Chunk(text)), at, generation_id=head.gid)
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


# An answer that is made again, and nothing comes of it


@pytest.mark.parametrize(
    ("status", "reason"), [("cancel", "cancelled"), ("error", "model_failed"), ("done", "deadline")]
)
def test_a_regeneration_that_ends_before_its_first_part_puts_the_old_answer_back(
    store: Store, status: Status, reason: str
) -> None:
    first = store.finish(store.send("one"), "good")
    again = store.regenerate("two", first)
    assert isinstance(again, Writer)
    empty = Message(again.head.message_id, "assistant", (), "t", "partial", "two", finish_reason="cancelled")
    assert again.finish(empty, End(status, reason, Usage())) == first
    assert again.finish(empty, End(status, reason, Usage())) == first, "an end that had succeeded unseen"
    assert store.history == ["q", "good"]
    end = store.followed("two")
    if isinstance(end, Complete):
        assert (end.ai_message, end.finish_reason) == (first, reason)
    else:
        assert (end.code, end.message_id) == (reason, first.id)
    store.finish(store.made_again("three", first), "better")
    assert store.history == ["q", "better"]


def test_a_continuation_that_ends_before_its_first_part_leaves_the_answer_as_it_was(store: Store) -> None:
    first = store.finish(store.send("one"), "good")
    again = store.made_again("two", first, begun=first.parts)
    empty = replace(first, id=again.head.message_id, generation_id="two", finish_reason="cancelled")
    assert again.finish(empty, End("cancel", "cancelled", Usage())) == first
    assert store.conversations.recent(ALICE, CONVERSATION, 5)[1][-1] == first


@pytest.mark.parametrize("hours", [0.01, 25])
def test_a_regeneration_whose_owner_dies_before_its_first_part_puts_the_old_answer_back(
    store: Store, hours: float
) -> None:
    """Whoever looks ends it; after a day, when its head is gone, the next message does."""
    first = store.finish(store.send("one"), "good")
    store.made_again("two", first)
    store.at += hours * 3600
    store.generations.alive(ALICE, "two")
    store.send("three")
    assert store.history == ["q", "good", "q"]


def test_a_large_answer_is_put_back_whole(store: Store) -> None:
    with mock.patch("chat.store.messages.PIECE_BYTES", 20):
        first = store.finish(store.send("one"), "".join(map(chr, range(0x4E00, 0x4E40))))
        again = store.made_again("two", first)
        empty = Message(again.head.message_id, "assistant", (), "t", "partial", "two")
        assert again.finish(empty, End("cancel", "cancelled", Usage())) == first
        assert store.conversations.recent(ALICE, CONVERSATION, 5)[1][-1] == first


def test_a_conversation_that_is_deleted_while_its_answer_is_put_back_stays_deleted(store: Store) -> None:
    first = store.finish(store.send("one"), "good")
    again = store.made_again("two", first)

    def delete() -> Fault:
        store.conversations.mark_deleted(ALICE, CONVERSATION)
        store.conversations.remove_messages(ALICE, CONVERSATION, "two")
        return "none"

    store.once.arm("transact", delete)
    again.finish(Message("empty", "assistant", (), "t"), End("cancel", "cancelled", Usage()))
    assert [item["sk"] for item in store.dynamo.partition(keys.conversation(ALICE, CONVERSATION))] == [keys.META]


# A key that is used again after a day


@pytest.mark.parametrize("swept", ["nothing", "the head", "the segments"])
def test_a_key_that_is_used_again_after_a_day_begins_anew(store: Store, swept: str) -> None:
    """Whatever of its old items the table has deleted by then."""
    with mock.patch("chat.store.writer.TAIL_BYTES", 40):
        writer = store.send("one")
        for text in ("o" * 50, "l" * 50, "d" * 50):
            writer.flush([Reasoning(text), Chunk(text)])
        writer.finish(Message("old", "assistant", (), "t"), End("done", "stop", Usage()))
        store.at += 25 * 3600
        parts = {"nothing": (), "the head": (keys.HEAD,), "the segments": ("S#",)}[swept]
        store.dynamo.expire(store.at, lambda key: key[1].startswith(parts) if parts else False)
        again = store.send("one")
        for text in ("n" * 30, "e" * 60, "w" * 20):
            again.flush([Reasoning(text), Chunk(text)])
    assert store.durable("one") == "n" * 30 + "e" * 60 + "w" * 20
    assert store.generations.look(ALICE, "one")[0] is not None


def test_a_head_whose_time_is_over_is_not_looked_at(store: Store) -> None:
    store.finish(store.send("one"), "answer")
    store.at += 25 * 3600
    assert store.generations.look(ALICE, "one")[0] is None


def test_a_segment_of_a_day_ago_does_not_arrive_over_a_new_one(store: Store) -> None:
    with mock.patch("chat.store.writer.TAIL_BYTES", 40):
        writer = store.send("one")
        writer.flush([Chunk("o" * 50)])
        store.once.arm("put", fails("late"))
        with pytest.raises(StorageError):
            writer.flush([Reasoning("l" * 90)])
        store.at += 25 * 3600
        again = store.send("one")
        again.flush([Chunk("new ")])
        again.flush([Reasoning("x" * 90), Chunk("answer")])
        store.dynamo.deliver()
    assert store.durable("one") == "new answer"


def test_an_answer_of_a_key_that_was_used_again_can_be_made_again(store: Store) -> None:
    """Its earlier versions have one key: a generation's id, which a day later is another generation's."""
    first = store.finish(store.send("one"), "first")
    second = store.finish(store.made_again("two", first), "second")
    third = store.finish(store.made_again("three", second), "third")
    store.at += 25 * 3600
    fourth = store.finish(store.made_again("two", third), "fourth")
    store.finish(store.made_again("four", fourth), "fifth")
    assert store.history == ["q", "fifth"]


# A start that lands late


def test_a_start_that_lands_late_begins_nothing(store: Store) -> None:
    store.once.arm("transact", fails("late"))
    with pytest.raises(StorageError):
        store.send("one")
    store.dynamo.deliver()
    assert store.conversations.get(ALICE, CONVERSATION).active is None
    writer = store.send("one", owner="the second try")
    assert store.generations.alive(ALICE, "one") == writer.head
    store.finish(writer, "answer")
    assert store.history == ["q", "answer"]


def test_of_two_starts_that_land_late_neither_begins_anything(store: Store) -> None:
    for owner in ("the first try", "the second try"):
        store.once.arm("transact", fails("late"))
        with pytest.raises(StorageError):
            store.send("one", owner=owner)
    store.dynamo.deliver()
    assert store.generations.head(ALICE, "one") is None
    store.finish(store.send("one", owner="the third try"), "answer")
    assert store.history == ["q", "answer"]


def test_a_start_that_landed_before_its_key_is_closed_goes_on(store: Store) -> None:
    store.once.arm("transact", fails("after"))
    store.finish(store.send("one"), "answer")
    assert store.history == ["q", "answer"]


def test_a_close_that_lands_late_closes_no_generation(store: Store) -> None:
    def close_late() -> Fault:
        store.once.arm("update", fails("late"))
        return "before"

    store.once.arm("transact", close_late)
    with pytest.raises(StorageError):
        store.send("one")
    writer = store.send("one", owner="the second try")
    store.dynamo.deliver()
    assert store.generations.head(ALICE, "one") == writer.head


# What a lost answer costs


@pytest.mark.parametrize("begun", ["", "paid for before, "])
def test_a_lost_answer_is_charged_for_what_it_read_and_said(store: Store, begun: str) -> None:
    if begun:
        first = store.finish(store.send("one"), begun)
        writer = store.made_again("two", first, begun=first.parts, estimate=Estimate(1000, 2_000_000, 4_000_000_000))
    else:
        writer = store.send("two", estimate=Estimate(1000, 2_000_000, 4_000_000_000))
    writer.flush([Reasoning("h" * 40), Chunk("a" * 40)])
    before = store.day
    store.at += 3600
    assert store.generations.alive(ALICE, "two") == store.generations.alive(ALICE, "two")
    head = store.generations.head(ALICE, "two")
    assert head is not None
    assert head.usage == Usage(1000, 20, basis="estimated", cost=2_000_000 + 20 * 4_000)
    counted = [now - then for now, then in zip(store.day, before, strict=True)]
    assert counted == [1, 1000, 20, 2_080_000], "once, in the transaction of the end"


def test_a_lost_answer_that_its_users_own_key_pays_for_costs_nothing(store: Store) -> None:
    store.send("one", estimate=Estimate(1000)).flush([Chunk("a" * 40)])
    store.at += 3600
    head = store.generations.alive(ALICE, "one")
    assert head is not None
    assert head.usage == Usage(1000, 10, basis="estimated")
