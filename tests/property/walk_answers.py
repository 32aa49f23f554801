"""Rules of a walk: answers are made, and what happens to their environments, clocks and writes."""

from converse_stream.protocol import log
from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.events import (
    Chunk,
    Citation,
    Message,
    Reasoning,
    Usage,
)
from converse_stream.protocol.log import Entry
from converse_stream.store import keys
from converse_stream.store.generation_record import End, Status, generation_id
from converse_stream.store.generation_writer import Fenced
from tests.property.fake_table import Violation
from tests.property.walk_actors import LEASE_SECONDS, SKEW, TEXTS, Environment, KnownGeneration, RunningGeneration, Send
from tests.property.walk_sends import Sends


class Answers(Sends):
    """Execution environments that answer."""

    def speak(self) -> bool:
        """The model says something."""
        environment = self._idle(speaking=True)
        if environment is None or environment.turn is None or environment.turn.ending is not None:
            return False
        entries = environment.turn.spoken.entries
        if len(entries) > 60:
            return False
        for _ in range(self.random.choice((1, 1, 2, 3, 8))):
            entries.append(self._entry())
        return True

    def zombie(self) -> bool:
        """An owner whose lease ran out comes back, and writes as if nothing had been."""
        back = [
            each
            for each in self.environments
            if each.turn is not None and not each.busy and self._lease(each.turn.spoken) < self.at
        ]
        if not back:
            return False
        environment = self.random.choice(back)
        environment.frozen = False
        turn = environment.turn
        if turn is None:
            return False
        with self._act(environment, turn.spoken.user, f"zombie {turn.spoken.gid[:6]}"):
            if self.random.random() < 0.5 and turn.ending is None:
                self._flush(environment, turn)
            else:
                turn.ending = turn.ending or self._end(turn)
                self._finish(environment, turn, *turn.ending)
        return True

    def exchange(self) -> bool:
        """A whole answer while a send is under way: to the same send, repeated, or to another in its conversation."""
        environment = self._idle()
        if environment is None or self._focus is None:
            return False
        user, send = self._focus.user, self._focus
        if self.random.random() < 0.5:
            send = Send(user, self._new("key"), "payload", send.conversation, "send", "quick")
            self.sends.append(send)
        self._send(send, environment)
        turn = environment.turn
        if turn is None:
            return False
        turn.spoken.entries.append(self._entry())
        with self._act(environment, user, f"answer {send.key}"):
            turn.ending = self._end(turn)
            self._finish(environment, turn, *turn.ending)
        return True

    def _lease(self, spoken: KnownGeneration) -> float:
        record = self.raw_record(*spoken.where)
        return int(record["lease"]) / 1000 if record is not None and record["st"] == "run" else float("inf")

    def _entry(self) -> Entry:
        text, chance = self.random.choice(TEXTS), self.random.random()
        if self.random.random() < 0.3:  # what cannot be deflated, so that tails grow and are sealed
            text = "".join(chr(self.random.randrange(0x4E00, 0x9FFF)) for _ in range(self.random.randrange(20, 300)))
        if chance < 0.75:
            return Chunk(text)
        return Reasoning(text) if chance < 0.9 else Citation(title=text, quote=text)

    def flush(self) -> bool:
        """The keeper's flush."""
        environment = self._idle(speaking=True)
        if environment is None or environment.turn is None or environment.turn.ending is not None:
            return False
        with self._act(environment, environment.turn.spoken.user, f"flush {environment.turn.spoken.gid[:6]}"):
            self._flush(environment, environment.turn)
        return True

    def _flush(self, environment: Environment, turn: RunningGeneration) -> bool:
        """Whether everything that was said is durable now."""
        spoken, upto, asked_at = turn.spoken, len(turn.spoken.entries), self.at
        asked = bool((self.raw_record(*spoken.where) or {}).get("cx"))
        try:
            signals = turn.writer.flush(spoken.entries[turn.flushed : upto])
        except StorageError:
            self._storage_error()
            return False
        except Fenced:
            if self._runs(turn):
                raise Violation("I5: the owner is fenced from a generation that is its own") from None
            self.counts["fenced"] += 1
            environment.turn = None
            return False
        record = self.raw_record(*spoken.where)
        if record is None or record["n"] < log.end_of(spoken.entries[:upto]):
            raise Violation("I1: a flush succeeded, and its text is not durable")
        if asked and not signals.cancelled:
            raise Violation("I7: a flush does not bring the cancel back")
        if signals.cancelled and not record.get("cx"):
            raise Violation("I7: a cancel that nobody asked for")
        turn.flushed = upto
        spoken.held = max(spoken.held, asked_at + LEASE_SECONDS)
        if signals.cancelled:
            self.counts["told of a cancel"] += 1
            spoken.told = True
        return True

    def _runs(self, turn: RunningGeneration) -> bool:
        """Whether the table has it as running, and as this owner's: its key may have been used again since."""
        record = self.raw_record(*turn.spoken.where)
        return record is not None and (record["st"], record["own"]) == ("run", turn.writer.record.owner)

    def finish(self) -> bool:
        """The answer ends: the model has said everything, or failed, or somebody stopped it."""
        environment = self._idle(speaking=True)
        if environment is None or environment.turn is None:
            return False
        turn = environment.turn
        if turn.ending is None and not turn.spoken.told and self.random.random() < 0.5:
            return False  # a longer one
        if turn.ending is None:
            turn.ending = self._end(turn)
        with self._act(environment, turn.spoken.user, f"finish {turn.spoken.gid[:6]} {turn.ending[1].status}"):
            self._finish(environment, turn, *turn.ending)
        return True

    def _end(self, turn: RunningGeneration) -> tuple[Message, End]:
        spoken = turn.spoken
        status: Status
        status, reason = self.random.choice((("done", "stop"), ("done", "stop"), ("error", "model_error")))
        if spoken.told:
            status, reason = "cancel", "cancelled"
        usage = Usage(self.random.randrange(50), self.random.randrange(50), basis="estimated")
        answer = Message(
            id=turn.writer.record.message_id,
            role="assistant",
            parts=tuple(log.joined(spoken.entries)),
            created_at="t",
            status="complete" if status == "done" else "partial",
            generation_id=spoken.gid,
            model="nova-lite",
            finish_reason=reason,
            usage=usage,
        )
        return answer, End(status, reason, usage)

    def _finish(self, environment: Environment, turn: RunningGeneration, answer: Message, end: End) -> None:
        turn.tries += 1
        spoken = turn.spoken
        if turn.flushed < len(spoken.entries) and not self._flush(environment, turn):
            self._give_up(environment, turn)
            return
        try:
            turn.writer.finish(answer, end)
        except StorageError:
            self._storage_error()
            self._give_up(environment, turn)
            return
        except Fenced:
            if self._runs(turn):
                raise Violation("I5: the owner cannot end what is its own") from None
            self.counts["fenced at the end"] += 1
            environment.turn = None
            return
        record = self.raw_record(*spoken.where)
        if record is not None and (record["st"], record["own"]) != (end.status, turn.writer.record.owner):
            raise Violation(f"I2: the end was {end.status}, and is {record['st']}")
        if record is not None and record["n"] != log.end_of(spoken.entries):
            raise Violation("I9: an end before everything was durable")
        self.counts[f"ended: {end.status}"] += 1
        environment.turn = None

    def _give_up(self, environment: Environment, turn: RunningGeneration) -> None:
        if environment.turn is turn and turn.tries > 4:
            self.counts["gave up"] += 1
            environment.turn = None

    # What befalls environments and clocks

    def crash(self) -> bool:
        """An environment with a turn is gone."""
        environment = self._idle(speaking=True)
        if environment is None:
            return False
        self._say(f"e{environment.number} is killed")
        environment.turn = None
        return True

    def freeze(self) -> bool:
        """An environment stops, and keeps all it knows."""
        environment = self._idle(speaking=True)
        if environment is None:
            return False
        environment.frozen = True
        return True

    def thaw(self) -> bool:
        """A frozen one goes on, as if nothing had been."""
        frozen = [each for each in self.environments if each.frozen]
        if not frozen:
            return False
        self.random.choice(frozen).frozen = False
        return True

    def tick(self) -> bool:
        """A moment."""
        self.at += self.random.uniform(0.05, 1.5)
        return True

    def leap(self) -> bool:
        """A long while: leases end."""
        self.at += self.random.uniform(5, 45)
        return True

    def day(self) -> bool:
        """So long that logs are forgotten; no write is as late."""
        self.deliver()
        self.at += self.random.choice((3, 26, 50)) * 3600
        self._era += 1
        for environment in self.environments:  # no function lives as long
            environment.turn = None
        if self.sends and self.random.random() < 0.7:
            self._use_again()
        return True

    def _use_again(self) -> None:
        """An old key, if there is one whose log is not swept yet, and an answer that is not short."""
        left = [
            send
            for send in self.sends
            if self.dynamo.partition(keys.generation(send.user, generation_id(send.user, send.key)), "S#")
        ]
        self._send(self.random.choice(left or self.sends))
        for _ in range(8):
            self.speak()
            self.flush()

    def skew(self) -> bool:
        """A clock jumps, forward or back."""
        environment = self.random.choice(self.environments)
        environment.skew = self.random.uniform(-SKEW, SKEW)
        return True

    def race_ahead(self) -> bool:
        """The clock of one that writes jumps an hour ahead: its lease then ends with its function's deadline."""
        environment = self._idle(speaking=True)
        if environment is None or environment.turn is None:
            return False
        turn, kept = environment.turn, environment.skew
        environment.skew = 3600
        environment.frozen = True  # and flushes once, so that nobody else sees by this clock
        try:
            with self._act(environment, turn.spoken.user, "flush an hour ahead"):
                self._flush(environment, turn)
        finally:
            environment.skew, environment.frozen = kept, False
        return True

    def deliver(self) -> bool:
        """Writes arrive that nobody waits for."""
        if not self.dynamo.late:
            return False
        self._say("late writes arrive")
        self._delivering = True
        self.dynamo.deliver()
        self._delivering = False
        return True

    def expire(self) -> bool:
        """The table deletes what is past its time."""
        late = 2 * SKEW + 1  # no clock takes for present what is deleted
        self.dynamo.expire(self.at - late, lambda _: self.random.random() < 0.5)
        return True
