"""A store above the fake table, with a clock that a test turns and calls that fail when a test says so."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

from converse_stream.generation import follower
from converse_stream.generation.follower import Follower
from converse_stream.limits import Budget, Rate, Rules
from converse_stream.protocol import log
from converse_stream.protocol.events import (
    Chunk,
    Complete,
    Error,
    Message,
    Usage,
)
from converse_stream.store import keys
from converse_stream.store.conversations import Conversations
from converse_stream.store.generation_record import LEASE_MS, End, GenerationRecord
from converse_stream.store.generation_writer import TableWriter
from converse_stream.store.generations import Generations
from tests.property.fake_table import Calm, FakeDynamo, Fault

ALICE, CONVERSATION = "alice", "conversation"
BEGIN = 1_800_000_000.0
GENEROUS_LIMITS = Rules(Rate(1_000, 60_000), Rate(1_000, 60_000), 5, Budget(0, 0), Budget(0, 0))


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

    def record(self, gid: str, **fields: Any) -> GenerationRecord:
        """A new generation's head."""
        at = int(self.at * 1000)
        lease, deadline = at + LEASE_MS, at + 60_000
        owner, message_id = f"owner of {gid} at {at}", f"{gid}-answer-{at}"
        record = GenerationRecord(
            gid, "run", owner, "payload", CONVERSATION, 0, message_id, "nova-lite", 0, 0, (), lease, deadline
        )
        return replace(record, **fields)

    def send(self, gid: str, **fields: Any) -> TableWriter:
        """The writer of a new message's answer."""
        question = Message(f"{gid}-question", "user", (Chunk("q"),), "t", generation_id=gid)
        writer = self.generations.start(ALICE, self.record(gid, **fields), None, question)
        assert isinstance(writer, TableWriter)
        return writer

    def made_again(self, gid: str, message: Message, *, begun: Sequence[Any] = (), **fields: Any) -> TableWriter:
        """The writer of an answer that takes the place of `message`, or goes on with what has `begun`."""
        record = self.record(gid, length=log.end_of(begun), tail=tuple(begun), **fields)
        writer = self.generations.start(ALICE, record, None, message, replace_last=True)
        assert isinstance(writer, TableWriter)
        return writer

    def followed(self, gid: str) -> Complete | Error:
        """How a generation that has ended ends for whoever follows it now."""
        record = self.generations.get(ALICE, gid)
        assert record is not None
        view = Follower(
            self.generations, self.conversations, ALICE, record, after=None, client="tab", request_id="r", deadline=1e12
        )
        with mock.patch.object(follower, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda _: None)), view:
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

    def regenerate(self, gid: str, message: Message) -> TableWriter | GenerationRecord:
        """The answer once more."""
        return self.generations.start(ALICE, self.record(gid), None, message, replace_last=True)

    def finish(self, writer: TableWriter, text: str) -> Message:
        """Ends an answer that says this and nothing else."""
        record = writer.record
        at = f"t{self.at}"
        answer = Message(record.message_id, "assistant", (*record.tail, Chunk(text)), at, generation_id=record.gid)
        writer.flush([Chunk(text)])
        writer.finish(answer, End("done", "stop", Usage()))
        return answer

    def durable(self, gid: str) -> str:
        """The text in the table."""
        record = self.generations.get(ALICE, gid)
        assert record is not None
        return "".join(entry.content for entry in self.generations.read(ALICE, record, 0) if isinstance(entry, Chunk))


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


def fails(how: Fault) -> Callable[[], Fault]:
    return lambda: how
