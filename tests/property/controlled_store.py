"""A store on the fake table, with a clock and faults that a test controls."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

from converse_stream.generation import follower
from converse_stream.generation.follower import Follower
from converse_stream.limits import Budget, Rate, Rules
from converse_stream.protocol import log
from converse_stream.protocol.events import Chunk, Complete, Error, Message, Usage
from converse_stream.store import keys
from converse_stream.store.conversations import Conversations
from converse_stream.store.generation_record import LEASE_MS, End, GenerationRecord
from converse_stream.store.generation_writer import TableWriter
from converse_stream.store.generations import Generations
from tests.property.fake_table import FakeDynamo, Fault, NoFaults

ALICE, CONVERSATION = "alice", "conversation"
BEGIN = 1_800_000_000.0
HIGH_LIMITS = Rules(Rate(1_000, 60_000), Rate(1_000, 60_000), 5, Budget(0, 0), Budget(0, 0))


class OneShotHook(NoFaults):
    """Runs an event once, before the first call of an operation after `arm`."""

    def __init__(self) -> None:
        self._operation = ""
        self._event: Callable[[], Fault] = lambda: "none"

    def arm(self, operation: str, event: Callable[[], Fault]) -> None:
        """Sets the event that runs before the next call of `operation`. It returns the fault of that call."""
        self._operation, self._event = operation, event

    def before(self, operation: str, pks: Sequence[str], *, writes: bool) -> Fault:
        """See TableHooks."""
        if operation != self._operation:
            return "none"
        self._operation = ""
        return self._event()


class Store:
    """A store with a clock that a test sets."""

    def __init__(self) -> None:
        self.now = BEGIN
        self.hook = OneShotHook()
        self.dynamo = FakeDynamo(self.hook)
        self.conversations = Conversations(self.dynamo.table())
        self.generations = Generations(self.dynamo.table(), self.conversations, lambda: self.now)

    def record(self, gid: str, **fields: Any) -> GenerationRecord:
        """Returns the record of a new generation."""
        at = int(self.now * 1000)
        lease, deadline = at + LEASE_MS, at + 60_000
        owner, message_id = f"owner of {gid} at {at}", f"{gid}-answer-{at}"
        record = GenerationRecord(
            gid, "run", owner, "payload", CONVERSATION, 0, message_id, "nova-lite", 0, 0, (), lease, deadline
        )
        return replace(record, **fields)

    def send(self, gid: str, **fields: Any) -> TableWriter:
        """Sends a message. Returns the writer of its answer."""
        question = Message(f"{gid}-question", "user", (Chunk("q"),), "t", generation_id=gid)
        writer = self.generations.start(ALICE, self.record(gid, **fields), None, question)
        assert isinstance(writer, TableWriter)
        return writer

    def start_replacement(
        self, gid: str, message: Message, *, prefix: Sequence[Any] = (), **fields: Any
    ) -> TableWriter:
        """Starts an answer that replaces `message`, or continues `prefix`. Returns its writer."""
        record = self.record(gid, length=log.end_of(prefix), tail=tuple(prefix), **fields)
        writer = self.generations.start(ALICE, record, None, message, replace_last=True)
        assert isinstance(writer, TableWriter)
        return writer

    def follow_to_end(self, gid: str) -> Complete | Error:
        """Follows an ended generation. Returns the terminal event."""
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
        """The texts of the conversation's messages."""
        return [message.text for message in self.conversations.recent(ALICE, CONVERSATION, 20)[1]]

    @property
    def usage(self) -> list[int]:
        """The user's requests, input tokens, output tokens and cost, summed over all days."""
        days = self.dynamo.partition(keys.limits(ALICE), "D#")
        return [sum(int(day[name]) for day in days) for name in ("requests", "tokens_in", "tokens_out", "cost")]

    def regenerate(self, gid: str, message: Message) -> TableWriter | GenerationRecord:
        """Starts a regeneration. Returns its writer, or the record of the generation that it attaches to."""
        return self.generations.start(ALICE, self.record(gid), None, message, replace_last=True)

    def finish(self, writer: TableWriter, text: str) -> Message:
        """Flushes `text` and ends the answer. Returns the stored message."""
        record = writer.record
        at = f"t{self.now}"
        answer = Message(record.message_id, "assistant", (*record.tail, Chunk(text)), at, generation_id=record.gid)
        writer.flush([Chunk(text)])
        writer.finish(answer, End("done", "stop", Usage()))
        return answer

    def durable(self, gid: str) -> str:
        """Returns the text of the stored log."""
        record = self.generations.get(ALICE, gid)
        assert record is not None
        return "".join(entry.content for entry in self.generations.read(ALICE, record, 0) if isinstance(entry, Chunk))


class EveryCallHook(NoFaults):
    """Injects a fault into every call of an operation, and counts the calls."""

    def __init__(self, operation: str, fault: Fault) -> None:
        self._operation, self._fault = operation, fault
        self.calls = 0

    def before(self, operation: str, pks: Sequence[str], *, writes: bool) -> Fault:
        """See TableHooks."""
        if operation != self._operation:
            return "none"
        self.calls += 1
        return self._fault


def inject(fault: Fault) -> Callable[[], Fault]:
    return lambda: fault
