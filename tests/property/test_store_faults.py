"""What the walks found, each as short as it can be: one race or one failure, in a table that is otherwise well."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from chat import following, log
from chat.errors import ConversationBusy, NotFound, StorageError
from chat.events import Chunk, Complete, Error, Event, Message, Reasoning, Rollback, Usage
from chat.following import Following
from chat.limits import NO_SLOTS, Budget, Rate, Rules, Used, slot
from chat.store import conversations, keys, messages, table
from chat.store.conversations import Conversations
from chat.store.facts import Facts
from chat.store.generations import Generations
from chat.store.head import LEASE, PATIENCE, End, Estimate, Head, Status
from chat.store.limits import Usages
from chat.store.table import ConditionFailed
from chat.store.unstored import Unstored
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


def test_a_mark_that_is_deleted_late_is_not_that_of_a_later_deletion(store: Store) -> None:
    """Otherwise messages are there, and no deletion finds them any more."""
    store.finish(store.send("one"), "first")
    store.conversations.mark_deleted(ALICE, CONVERSATION)
    store.conversations.remove_messages(ALICE, CONVERSATION)
    store.once.arm("delete", fails("late"))
    with pytest.raises(StorageError):
        store.conversations.remove_mark(ALICE, CONVERSATION)
    store.conversations.remove_mark(ALICE, CONVERSATION)
    store.finish(store.send("two"), "second")
    store.conversations.mark_deleted(ALICE, CONVERSATION)
    store.dynamo.deliver()
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


class Always(Calm):
    """Every call of `operation` goes like this, and is counted."""

    def __init__(self, operation: str, fault: Fault) -> None:
        self._operation, self._fault = operation, fault
        self.calls = 0

    def before(self, operation: str, pks: Sequence[str], *, writes: bool) -> Fault:
        """See Steering."""
        if operation != self._operation:
            return "none"
        self.calls += 1
        return self._fault


@pytest.fixture
def slept() -> Iterator[list[float]]:
    """The pauses that the table makes, which take no time here; its clock goes on with them."""
    pauses: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append, time=lambda: BEGIN)
    with mock.patch.object(table, "time", clock):
        yield pauses


# A plain write that meets a transaction


@pytest.mark.parametrize("operation", ["put", "delete"])
def test_a_plain_write_that_meets_a_transaction_is_repeated(store: Store, slept: list[float], operation: str) -> None:
    there = store.dynamo.table()
    if operation == "delete":
        there.put({"pk": "p", "sk": "s"})
    store.once.arm(operation, fails("conflict"))
    _write(there, operation)
    assert (("p", "s") in store.dynamo.items) == (operation == "put")
    assert len(slept) == 1


@pytest.mark.parametrize("operation", ["put", "delete"])
@pytest.mark.usefixtures("slept")
def test_a_plain_write_that_meets_transactions_all_the_time_is_a_storage_error(operation: str) -> None:
    steering = Always(operation, "conflict")
    with pytest.raises(StorageError):
        _write(FakeDynamo(steering).table(), operation)
    assert steering.calls == table.ATTEMPTS


def _write(there: table.Table, operation: str) -> None:
    if operation == "put":
        there.put({"pk": "p", "sk": "s"})
    else:
        there.delete("p", "s")


# A transaction that is throttled, which boto3 does not repeat


def test_a_start_and_an_end_that_are_throttled_are_repeated_after_a_longer_pause(
    store: Store, slept: list[float]
) -> None:
    with mock.patch.object(random, "uniform", lambda _, most: most):
        store.once.arm("transact", fails("throttled"))
        writer = store.send("one")
        store.once.arm("transact", fails("throttled"))
        store.finish(writer, "answer")
        store.once.arm("transact", fails("conflict"))
        store.finish(store.send("two"), "another")
    assert store.history == ["q", "answer", "q", "another"]
    assert slept == [table.THROTTLED_PAUSE, table.THROTTLED_PAUSE, table.FIRST_PAUSE]


def test_what_a_task_has_spent_is_counted_when_the_table_is_throttled(store: Store, slept: list[float]) -> None:
    usages = Usages(store.dynamo.table(), NOBODY_RUNS, lambda: store.at)
    store.once.arm("transact", fails("throttled"))
    usages.count(ALICE, Usage(1_000, 500, cost=7))
    assert store.day == [0, 1_000, 500, 7]
    assert len(slept) == 1


def test_a_transaction_that_is_throttled_all_the_time_is_a_storage_error(slept: list[float]) -> None:
    steering = Always("transact", "throttled")
    there = FakeDynamo(steering).table()
    with mock.patch.object(random, "uniform", lambda _, most: most), pytest.raises(StorageError):
        there.transact([there.placed({"pk": "p", "sk": "s"})])
    assert steering.calls == table.ATTEMPTS
    assert sum(slept) < 2, "an answer must be stored in the margin before the function's deadline"


def test_a_transaction_whose_condition_fails_while_it_is_throttled_is_not_repeated(store: Store) -> None:
    """The condition may hold by then, but then another transaction has changed the item."""
    there = store.dynamo.table()
    reasons = [{"Code": "ConditionalCheckFailed"}, {"Code": "ThrottlingError"}]
    error = ClientError({"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}, "write")  # type: ignore[typeddict-unknown-key]  # the stubs know the common keys only
    with mock.patch.object(store.dynamo, "transact_write_items", side_effect=error), pytest.raises(ConditionFailed):
        there.transact([])


def test_a_deletion_that_meets_a_transaction_goes_on(store: Store) -> None:
    store.finish(store.send("one"), "secret")
    store.conversations.mark_deleted(ALICE, CONVERSATION)
    store.once.arm("delete", fails("conflict"))
    store.conversations.remove_messages(ALICE, CONVERSATION)
    assert [sk for pk, sk in store.dynamo.items if pk == keys.conversation(ALICE, CONVERSATION)] == [keys.META]


# A batch that is read in part

WANTED = [("p", str(number)) for number in range(8)]


def test_a_batch_that_is_read_in_part_is_read_on(store: Store, slept: list[float]) -> None:
    there = store.dynamo.table()
    for pk, sk in WANTED:
        there.put({"pk": pk, "sk": sk})
    store.once.arm("batch", fails("unprocessed"))
    assert {(item["pk"], item["sk"]) for item in there.get_many(WANTED)} == set(WANTED)
    assert len(slept) == 1, "the table asks for a pause"


def test_a_batch_that_is_never_read_to_its_end_is_a_storage_error(slept: list[float]) -> None:
    steering = Always("batch", "unprocessed")
    with pytest.raises(StorageError):
        FakeDynamo(steering).table().get_many(WANTED)
    assert steering.calls < 20
    assert 0 < sum(slept) < 5


def test_a_batch_waits_for_no_pause_that_nobody_waits_for(slept: list[float]) -> None:
    steering = Always("batch", "unprocessed")
    with mock.patch.object(random, "uniform", lambda _, most: most), pytest.raises(StorageError):
        FakeDynamo(steering).table().until(0.1).get_many(WANTED)
    assert sum(slept) <= 0.1


# A write that boto3 makes twice, because the first answer was lost


def test_a_fact_that_is_forgotten_twice_by_boto3_is_forgotten(store: Store) -> None:
    facts = Facts(store.dynamo.table())
    fact = facts.add(ALICE, "sails", "fact", limit=5)
    store.once.arm("delete", fails("again"))
    facts.forget(ALICE, fact.id)
    assert facts.all(ALICE) == []
    with pytest.raises(NotFound):
        facts.forget(ALICE, fact.id)


NOBODY_RUNS = Rules(Rate(1_000, 60_000), Rate(1_000, 60_000), 5, Budget(0, 0), Budget(0, 0))


@pytest.mark.parametrize("ahead", [0, 3_000], ids=["idle", "busy"])
@pytest.mark.parametrize("runs", [False, True], ids=["without an answer", "with an answer"])
def test_a_rate_that_is_moved_twice_by_boto3_moves_one_step(store: Store, ahead: int, *, runs: bool) -> None:
    usages, now = Usages(store.dynamo.table(), NOBODY_RUNS, lambda: store.at), int(store.at * 1000)
    rates = [(keys.limits(ALICE), keys.RATE), keys.address("here")]
    for pk, sk in rates:
        store.dynamo.items[pk, sk] = {"pk": pk, "sk": sk, "tat": Decimal(now + ahead)}
    taken = slot(now + 60_000, "gid") if runs else None
    with mock.patch.object(
        store.once, "before", lambda operation, *_, **__: "again" if operation == "update" else "none"
    ):
        usages.admit(ALICE, "here", taken, Used(tat=now + ahead, address_tat=now + ahead))
    assert [int(store.dynamo.items[key]["tat"]) - now - ahead for key in rates] == [1_000, 1_000]


def test_a_conversation_that_is_created_twice_is_the_same(store: Store) -> None:
    """By boto3, or by a client whose first answer was lost."""
    store.once.arm("transact", fails("after"))
    with pytest.raises(StorageError):
        store.conversations.create(ALICE, CONVERSATION, "title")
    created = store.conversations.create(ALICE, CONVERSATION, "title")
    assert created == store.conversations.get(ALICE, CONVERSATION)


# A message whose pieces are not there


def test_a_large_message_that_is_deleted_while_it_is_read_is_not_found(store: Store) -> None:
    with mock.patch.object(messages, "PIECE_BYTES", 40):
        store.finish(store.send("one"), "".join(chr(0x4E00 + 7 * number) for number in range(400)))

    def delete() -> Fault:
        store.conversations.mark_deleted(ALICE, CONVERSATION)
        store.conversations.remove_messages(ALICE, CONVERSATION)
        return "none"

    def after_the_first() -> Fault:
        store.once.arm("query", delete)
        return "none"

    for read in (
        lambda: store.conversations.messages(ALICE, CONVERSATION, limit=9),
        lambda: store.conversations.recent(ALICE, CONVERSATION, 9),
    ):
        kept = dict(store.dynamo.items)
        store.once.arm("query", after_the_first)
        with pytest.raises(NotFound):
            read()
        store.dynamo.items = kept


# What an answer cost that is not stored


def test_an_answer_that_is_not_stored_is_counted_once_however_often_it_is_tried(store: Store) -> None:
    usages = Usages(store.dynamo.table(), NOBODY_RUNS, lambda: store.at)
    taken = slot(int(store.at * 1000) + 60_000, "gid")
    usages.admit(ALICE, "here", taken, Used())
    ledger = Unstored(store.dynamo.table(), ALICE, taken, lambda: store.at)
    message = Message("m", "assistant", (), "t")
    end = End("done", "stop", Usage(1_000, 500))
    for _ in range(3):
        store.once.arm("transact", fails("after"))
        with pytest.raises(StorageError):
            ledger.finish(message, end)
        store.at += 1
    ledger.finish(message, end)
    used = usages.look(ALICE, "here")
    assert (used.user.tokens, used.everybody.tokens, used.slots) == (1_500, 1_500, NO_SLOTS)


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
