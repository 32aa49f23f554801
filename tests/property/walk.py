"""A seeded random walk over the store of generations, and the invariants I1 to I9 and I11 to I14 of its design.

Users send, repeat, cancel, delete and follow; execution environments speak, flush and finish; they crash, freeze in the
middle of a call and come back as zombies; clocks differ and jump; the table fails, before or after it has written, and
delivers late. Any call to the table may let others work first: that is where the races are.

The walk knows what was said and what was promised (`Spoken`), and looks at the table itself after every write.
I10 is not here: it is about the rate limiter.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from unittest import mock

from converse_stream.generation import follower
from converse_stream.protocol.errors import ChatError, NotFound
from converse_stream.store import (
    conversations,
    erasure,
    erasure_mark,
    generation_records,
    generation_writer,
    generations,
    keys,
    table,
    usage,
)
from converse_stream.store.generation_record import generation_id
from converse_stream.store.generation_writer import TableWriter
from tests.property.fake_table import Fault, Violation
from tests.property.in_turn import InTurn
from tests.property.walk_actors import (
    BATCHES,
    CONFLICTS,
    DEPTH,
    GRACE_SECONDS,
    REFUSALS,
    RUN,
    SHARED,
    THROTTLES,
    WILD,
    Crash,
    Environment,
    Profile,
    Send,
)
from tests.property.walk_readers import Readers


class World(Readers):
    """Everybody, and the table between them."""

    # The table's steering

    def before(self, operation: str, pks: Sequence[str], *, writes: bool) -> Fault:
        """See Steering."""
        if self._acting:
            environment, user, era, _ = self._acting[-1]
            for pk in pks:
                everybodys = pk.startswith("R#all#") and pk.rpartition("#")[2].isdigit()  # the deployment's day
                own = pk == keys.user(user) or pk.startswith(f"{keys.user(user)}#")
                if not own and not everybodys and pk not in SHARED:
                    raise Violation(f"I12: {user} reaches {pk}")
            if not self.calm:
                self._others()
                if self._era != era or self.random.random() < self.profile.crashes:
                    self.counts["crash in a call"] += 1
                    environment.turn = None
                    raise Crash
        self._calls += 1
        if self._last_call:
            self._last_call[-1] = self._calls
        if pushed := self._pushed_back(operation, writes=writes):
            return pushed
        if self.calm or self.random.random() >= self.profile.faults:
            return "none"
        faults: Sequence[Fault] = ("before", "after", "again", "late") if writes else ("before",)
        fault = self.random.choice(faults)
        self.counts[f"{operation}: {fault}"] += 1
        self._faults += 1
        self._own_faults[-1] += 1
        self._say(f"{operation} {fault}")
        return fault

    def between(self) -> None:
        """See Steering."""
        if not self.calm:
            self._others()

    def _pushed_back(self, operation: str, *, writes: bool) -> Fault | None:
        """What the table answers that is well, and asks for another attempt."""
        if operation == "batch":
            self._batches += 1
            if self._batches > BATCHES:
                raise Violation("a batch is asked for without end")
            if self._throttled or (not self.calm and self.random.random() < 0.3):
                self._faults += 1
                self.counts["batch: unprocessed"] += 1
                return "unprocessed"
        if writes and not self.calm and self._refusals[-1] < REFUSALS:
            chance = self.random.random()
            throttles = THROTTLES if operation == "transact" else 0
            if chance < CONFLICTS + throttles:
                refusal: Fault = "conflict" if chance < CONFLICTS else "throttled"
                self._refusals[-1] += 1
                self.counts[f"{operation}: {refusal}"] += 1
                return refusal
        if writes:
            self._refusals[-1] = 0
        return None

    def _others(self) -> None:
        depth = len(self._acting)
        if depth <= DEPTH and self.random.random() < self.profile.nested:
            self.counts["nested"] += 1
            chance = self.random.random()
            if chance < 0.3:
                self.counts["zombie"] += self.zombie()
            elif chance < 0.45:
                self.counts["exchange"] += self.exchange()
            else:
                for _ in range(self.random.choice((1, 1, 2, 4))):
                    self.step()

    def wait(self, seconds: float) -> None:
        """Somebody sleeps; others do much in a long while."""
        self.at += max(0.0, seconds)
        if seconds > 1 and not self.calm and len(self._acting) <= DEPTH:
            for _ in range(4):
                self.step()

    # Rules

    def step(self) -> None:
        """One thing happens."""
        name = self.random.choices(tuple(RULES), tuple(RULES.values()))[0]
        rule: Callable[[], bool] = getattr(self, name)
        if rule():
            self.counts[name] += 1

    # The end

    def drain(self) -> None:
        """Everybody dies; after lease, patience and one read every generation has ended, and nothing is stuck."""
        self.calm = True
        self._say("drain")
        self._delivering = True
        self.dynamo.deliver()
        self._delivering = False
        for environment in self.environments:
            environment.frozen, environment.turn, environment.skew = False, None, 0.0
        running = [
            record
            for (_, sk), record in self.dynamo.items.items()
            if sk == keys.RECORD and record["st"] == "run" and "closed" not in record
        ]  # fmt: skip
        ends = [min(int(record["lease"]), int(record["dl"])) / 1000 for record in running]
        self.at = max([self.at, *ends]) + GRACE_SECONDS + 0.01
        reader = self.environments[0]
        for spoken in self.spoken.values():
            record = reader.generations.get_or_reap(spoken.user, spoken.gid)
            if record is not None and record.status == "run":
                raise Violation("I8: it has not ended")
        self._drain_clients(reader)
        for user, conversation in sorted(self.deleting):
            self._delete(reader, user, conversation, self.at + 1e9)
        for user in filter(self._is_erased, self.users):
            self._erase(reader, user)
            if self._is_erased(user):
                raise Violation("I14: an erasure does not end")
        for user, conversation in self.known:
            self._drain_conversation(user, conversation)
        for user in self.users:
            self._check_usage(user)

    def _drain_clients(self, reader: Environment) -> None:
        for client in self.clients:
            for _ in range(20):
                if client.over:
                    break
                self.at += 1
                self._follow(reader, client)
            if not client.over:
                raise Violation("I3: a client never sees the end")

    def _drain_conversation(self, user: str, conversation: str) -> None:
        reader, where = self.environments[0], (user, conversation)
        gone = where in self.deleted
        send = Send(user, self._new("key"), "payload", conversation, "send", "next")
        gid = generation_id(user, send.key)
        self._last_call.append(0)
        try:
            result = self._start(reader, send, gid, conversation)
        except NotFound:
            if not gone:
                raise Violation("I8: the conversation is gone") from None
            return
        except ChatError as refused:
            raise Violation(f"I8: the next message in {conversation} is told {refused.code}") from None
        finally:
            self._last_call.pop()
        if gone:
            raise Violation("I14: a deleted conversation takes a message")
        if not isinstance(result, TableWriter) or reader.turn is None:
            raise Violation("I8: the next message does not begin")
        reader.turn.ending = self._end(reader.turn)
        self._finish(reader, reader.turn, *reader.turn.ending)
        if reader.turn is not None:
            raise Violation("I8: the next answer does not end")


# How often each rule is tried. Plain chance would starve the flush, and everything would be reaped.
RULES: Mapping[str, int] = {
    "send": 50,
    "send_again": 20,
    "send_otherwise": 6,
    "send_anew": 6,
    "speak": 110,
    "flush": 130,
    "finish": 60,
    "crash": 6,
    "freeze": 8,
    "thaw": 20,
    "tick": 100,
    "leap": 12,
    "day": 2,
    "skew": 12,
    "race_ahead": 3,
    "deliver": 12,
    "expire": 3,
    "cancel": 22,
    "delete": 8,
    "erase": 10,
    "use_again": 3,
    "add_up": 4,
    "rename": 4,
    "create": 4,
    "look": 30,
    "pry": 5,
    "join": 30,
    "follow": 110,
}


@contextmanager
def simulated(world: World) -> Iterator[None]:
    """The store's own clocks, ids and constants are the walk's."""

    def iso() -> str:
        return datetime.fromtimestamp(world.at, UTC).isoformat(timespec="milliseconds")

    def sleep(seconds: float) -> None:
        world.wait(seconds)

    def attach() -> str:
        return world._new("attach")

    clock = SimpleNamespace(time=lambda: world.at, monotonic=lambda: world.at, sleep=sleep)
    with (
        mock.patch.object(generations, "now", iso),
        mock.patch.object(generations, "time", clock),
        mock.patch.object(erasure_mark, "now", iso),
        mock.patch.object(erasure, "time", clock),
        mock.patch.object(usage, "ThreadPoolExecutor", InTurn),
        mock.patch.object(usage, "random", world.random),
        mock.patch.object(table, "random", world.random),
        mock.patch.object(generation_records, "now", iso),
        mock.patch.object(conversations, "now", iso),
        mock.patch.object(conversations, "time", clock),
        mock.patch.object(follower, "time", clock),
        mock.patch.object(follower, "new_id", attach),
        mock.patch.object(table, "time", clock),
        mock.patch.object(table, "logger", mock.NonCallableMock()),
        mock.patch.object(generations, "logger", mock.NonCallableMock()),
        mock.patch.object(generations, "count_lost"),
        mock.patch.object(generation_writer, "RUN", RUN),
    ):
        yield


def walk(seed: int, steps: int, profile: Profile = WILD) -> World:
    """One walk to its end. A Violation says how to see it again."""
    world = World(seed, profile)
    with simulated(world):
        try:
            for _ in range(steps):
                world.step()
            world.drain()
        except Exception as error:
            error.add_note(f"seed {seed}, {steps} steps; the last of them:\n" + "\n".join(world.trace[-40:]))
            raise
    return world
