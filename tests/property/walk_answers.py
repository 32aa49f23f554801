"""Rules of a walk: generations run and end; environments, clocks and writes have faults."""

import json

from converse_stream.protocol import log
from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.events import (
    Chunk,
    Citation,
    Message,
    Reasoning,
    ReasoningSignature,
    RedactedReasoning,
    Unknown,
    Usage,
)
from converse_stream.protocol.log import Entry
from converse_stream.store import keys
from converse_stream.store.generation_record import End, Status, generation_id
from converse_stream.store.generation_writer import Fenced
from tests.property.fake_table import Violation
from tests.property.walk_actors import LEASE_SECONDS, SKEW, TEXTS, Environment, KnownGeneration, RunningGeneration, Send
from tests.property.walk_sends import Sends


class Generating(Sends):
    """Rules of execution environments that generate."""

    def generate(self) -> bool:
        """The model generates some entries."""
        environment = self._idle_environment(generating=True)
        if environment is None or environment.running is None or environment.running.ending is not None:
            return False
        entries = environment.running.known.entries
        if len(entries) > 60:
            return False
        for _ in range(self.random.choice((1, 1, 2, 3, 8))):
            entries.append(self._entry())
        return True

    def zombie(self) -> bool:
        """An owner whose lease has expired continues to write."""
        zombies = [
            item
            for item in self.environments
            if item.running is not None and not item.busy and self._lease(item.running.known) < self.now
        ]
        if not zombies:
            return False
        environment = self.random.choice(zombies)
        environment.frozen = False
        running = environment.running
        if running is None:
            return False
        with self._action(environment, running.known.user, f"zombie {running.known.gid[:6]}"):
            if self.random.random() < 0.5 and running.ending is None:
                self._flush(environment, running)
            else:
                running.ending = running.ending or self._end(running)
                self._finish(environment, running, *running.ending)
        return True

    def answer_at_once(self) -> bool:
        """A complete answer during a send: to the same send, repeated, or to another one in its conversation."""
        environment = self._idle_environment()
        if environment is None or self._current_send is None:
            return False
        user, send = self._current_send.user, self._current_send
        if self.random.random() < 0.5:
            send = Send(user, self._new("key"), "payload", send.conversation, "send", "quick")
            self.sends.append(send)
        self._send(send, environment)
        running = environment.running
        if running is None:
            return False
        running.known.entries.append(self._entry())
        with self._action(environment, user, f"answer {send.key}"):
            running.ending = self._end(running)
            self._finish(environment, running, *running.ending)
        return True

    def _lease(self, known: KnownGeneration) -> float:
        record = self.raw_record(*known.key)
        return int(record["lease"]) / 1000 if record is not None and record["st"] == "run" else float("inf")

    def _entry(self) -> Entry:
        text, chance = self.random.choice(TEXTS), self.random.random()
        if self.random.random() < 0.3:  # text that does not compress, so that tails grow and are sealed
            text = "".join(chr(self.random.randrange(0x4E00, 0x9FFF)) for _ in range(self.random.randrange(20, 300)))
        if chance < 0.75:
            return Chunk(text)
        if chance < 0.9:
            return Reasoning(text)
        if chance < 0.94:
            return Citation(title=text, quote=text)
        if chance < 0.96:
            return ReasoningSignature(text, "model")
        if chance < 0.98:
            return RedactedReasoning(text, "model")
        return Unknown(json.dumps(["later", {"text": text}], ensure_ascii=False, separators=(",", ":")))

    def flush(self) -> bool:
        """The owner flushes new entries."""
        environment = self._idle_environment(generating=True)
        if environment is None or environment.running is None or environment.running.ending is not None:
            return False
        with self._action(environment, environment.running.known.user, f"flush {environment.running.known.gid[:6]}"):
            self._flush(environment, environment.running)
        return True

    def _flush(self, environment: Environment, running: RunningGeneration) -> bool:
        """Flushes. Returns whether all entries are durable now."""
        known, end, flushed_at = running.known, len(running.known.entries), self.now
        cancel_stored = bool((self.raw_record(*known.key) or {}).get("cx"))
        try:
            signals = running.writer.flush(known.entries[running.flushed : end])
        except StorageError:
            self._storage_error()
            return False
        except Fenced:
            if self._is_running(running):
                raise Violation("I5: the owner of a running generation is fenced") from None
            self.counts["fenced"] += 1
            environment.running = None
            return False
        record = self.raw_record(*known.key)
        if record is None or record["n"] < log.end_of(known.entries[:end]):
            raise Violation("I1: a flush succeeded, but its text is not durable")
        if cancel_stored and not signals.cancelled:
            raise Violation("I7: a flush does not return the cancel")
        if signals.cancelled and not record.get("cx"):
            raise Violation("I7: a flush returns a cancel that was not requested")
        running.flushed = end
        known.lease_until = max(known.lease_until, flushed_at + LEASE_SECONDS)
        if signals.cancelled:
            self.counts["cancel signalled"] += 1
            known.cancel_signalled = True
        return True

    def _is_running(self, running: RunningGeneration) -> bool:
        """Returns whether the generation is running in the table with this owner. Its key may be reused."""
        record = self.raw_record(*running.known.key)
        return record is not None and (record["st"], record["own"]) == ("run", running.writer.record.owner)

    def finish(self) -> bool:
        """The generation ends: the model is done or has failed, or the user has cancelled it."""
        environment = self._idle_environment(generating=True)
        if environment is None or environment.running is None:
            return False
        running = environment.running
        if running.ending is None and not running.known.cancel_signalled and self.random.random() < 0.5:
            return False  # continue to generate
        if running.ending is None:
            running.ending = self._end(running)
        with self._action(
            environment, running.known.user, f"finish {running.known.gid[:6]} {running.ending[1].status}"
        ):
            self._finish(environment, running, *running.ending)
        return True

    def _end(self, running: RunningGeneration) -> tuple[Message, End]:
        known = running.known
        status: Status
        status, reason = self.random.choice((("done", "stop"), ("done", "stop"), ("error", "model_error")))
        if known.cancel_signalled:
            status, reason = "cancel", "cancelled"
        usage = Usage(self.random.randrange(50), self.random.randrange(50), basis="estimated")
        answer = Message(
            id=running.writer.record.message_id,
            role="assistant",
            parts=tuple(log.joined(known.entries)),
            created_at="t",
            status="complete" if status == "done" else "partial",
            generation_id=known.gid,
            model="nova-lite",
            finish_reason=reason,
            usage=usage,
        )
        return answer, End(status, reason, usage)

    def _finish(self, environment: Environment, running: RunningGeneration, answer: Message, end: End) -> None:
        running.tries += 1
        known = running.known
        if running.flushed < len(known.entries) and not self._flush(environment, running):
            self._give_up(environment, running)
            return
        try:
            running.writer.finish(answer, end)
        except StorageError:
            self._storage_error()
            self._give_up(environment, running)
            return
        except Fenced:
            if self._is_running(running):
                raise Violation("I5: the owner cannot end its running generation") from None
            self.counts["fenced at the end"] += 1
            environment.running = None
            return
        record = self.raw_record(*known.key)
        if record is not None and (record["st"], record["own"]) != (end.status, running.writer.record.owner):
            raise Violation(f"I2: the stored status is {record['st']} instead of {end.status}")
        if record is not None and record["n"] != log.end_of(known.entries):
            raise Violation("I9: a generation ended before all its text was durable")
        self.counts[f"ended: {end.status}"] += 1
        environment.running = None

    def _give_up(self, environment: Environment, running: RunningGeneration) -> None:
        if environment.running is running and running.tries > 4:
            self.counts["gave up"] += 1
            environment.running = None

    # Faults of environments and clocks

    def crash(self) -> bool:
        """An environment with a running generation crashes."""
        environment = self._idle_environment(generating=True)
        if environment is None:
            return False
        self._trace(f"e{environment.number} is killed")
        environment.running = None
        return True

    def freeze(self) -> bool:
        """An environment is frozen and keeps its state."""
        environment = self._idle_environment(generating=True)
        if environment is None:
            return False
        environment.frozen = True
        return True

    def unfreeze(self) -> bool:
        """A frozen environment continues."""
        frozen = [item for item in self.environments if item.frozen]
        if not frozen:
            return False
        self.random.choice(frozen).frozen = False
        return True

    def pass_a_moment(self) -> bool:
        """A short time passes."""
        self.now += self.random.uniform(0.05, 1.5)
        return True

    def pass_a_lease(self) -> bool:
        """A longer time passes: leases expire."""
        self.now += self.random.uniform(5, 45)
        return True

    def pass_days(self) -> bool:
        """Hours pass: logs expire. All late writes arrive before."""
        self.deliver_late_writes()
        self.now += self.random.choice((3, 26, 50)) * 3600
        self._days += 1
        for environment in self.environments:  # no invocation lives as long
            environment.running = None
        if self.sends and self.random.random() < 0.7:
            self._reuse_old_key()
        return True

    def _reuse_old_key(self) -> None:
        """Repeats an old send, preferably one whose log is not removed yet, and generates a longer answer."""
        stored = [
            send
            for send in self.sends
            if self.dynamo.partition(keys.generation(send.user, generation_id(send.user, send.key)), "S#")
        ]
        self._send(self.random.choice(stored or self.sends))
        for _ in range(8):
            self.generate()
            self.flush()

    def change_skew(self) -> bool:
        """A clock is set forward or back."""
        environment = self.random.choice(self.environments)
        environment.skew = self.random.uniform(-SKEW, SKEW)
        return True

    def flush_with_fast_clock(self) -> bool:
        """An owner flushes with a clock an hour ahead: its lease then ends with its function's deadline."""
        environment = self._idle_environment(generating=True)
        if environment is None or environment.running is None:
            return False
        running, old_skew = environment.running, environment.skew
        environment.skew = 3600
        environment.frozen = True  # for one flush, so that no other action uses this clock
        try:
            with self._action(environment, running.known.user, "flush an hour ahead"):
                self._flush(environment, running)
        finally:
            environment.skew, environment.frozen = old_skew, False
        return True

    def deliver_late_writes(self) -> bool:
        """Late writes arrive, after their callers have timed out."""
        if not self.dynamo.late:
            return False
        self._trace("late writes arrive")
        self._delivering = True
        self.dynamo.deliver()
        self._delivering = False
        return True

    def expire_items(self) -> bool:
        """The table deletes expired items."""
        margin = 2 * SKEW + 1  # so that no clock considers a deleted item as not expired
        self.dynamo.expire(self.now - margin, lambda _: self.random.random() < 0.5)
        return True
