"""A seeded random walk over the store of generations, and the invariants I1 to I9 and I11 to I14 of its design.

Users send, repeat, cancel, delete and follow. Execution environments generate, flush and finish; they crash, freeze
during a call, and continue as zombies. Clocks differ and are set. The table fails before or after a write, and some
writes arrive late. Other actions may run before any call to the table: these are the races.

The walk knows the expected content of each generation (`KnownGeneration`) and checks the table after every write.
I10 is an invariant of the rate limiter: see test_limits.py.
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
    erasure_marker,
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
from tests.property.sequential_executor import SequentialExecutor
from tests.property.walk_actors import (
    CONFLICT_RATE,
    DEFAULT_PROFILE,
    GRACE_SECONDS,
    MAX_BATCH_CALLS,
    MAX_DEPTH,
    MAX_REFUSALS,
    RUN,
    SHARED_PARTITIONS,
    THROTTLE_RATE,
    Crash,
    Environment,
    Profile,
    Send,
)
from tests.property.walk_readers import Readers


class World(Readers):
    """A walk: its state, its rules and its checks."""

    # Hooks of the table

    def before(self, operation: str, pks: Sequence[str], *, writes: bool) -> Fault:
        """See TableHooks."""
        if self._actions:
            environment, user, days, _ = self._actions[-1]
            for pk in pks:
                is_deployment_day = (
                    pk.startswith("R#all#") and pk.rpartition("#")[2].isdigit()
                )  # the deployment's daily usage
                is_own = pk == keys.user(user) or pk.startswith(f"{keys.user(user)}#")
                if not is_own and not is_deployment_day and pk not in SHARED_PARTITIONS:
                    raise Violation(f"I12: {user} accesses {pk}")
            if not self.draining:
                self._run_others()
                if self._days != days or self.random.random() < self.profile.crashes:
                    self.counts["crash in a call"] += 1
                    environment.running = None
                    raise Crash
        self._calls += 1
        if self._last_call:
            self._last_call[-1] = self._calls
        if refusal := self._inject_refusal(operation, writes=writes):
            return refusal
        is_late = operation == "transact" and self.profile.late and self.random.random() < self.profile.late
        if not is_late and (self.draining or self.random.random() >= self.profile.faults):
            return "none"
        faults: Sequence[Fault] = ("before", "after", "again", "late") if writes else ("before",)
        faults = ("late",) if is_late else faults
        fault = self.random.choice(faults)
        self.counts[f"{operation}: {fault}"] += 1
        self._faults += 1
        self._own_faults[-1] += 1
        self._trace(f"{operation} {fault}")
        return fault

    def between(self) -> None:
        """See TableHooks."""
        if not self.draining:
            self._run_others()

    def _inject_refusal(self, operation: str, *, writes: bool) -> Fault | None:
        """Returns a response of a healthy table that requires a retry, or None."""
        if operation == "batch":
            self._batches += 1
            if self._batches > MAX_BATCH_CALLS:
                raise Violation("a batch is retried without limit")
            if self._throttled or (not self.draining and self.random.random() < 0.3):
                self._faults += 1
                self.counts["batch: unprocessed"] += 1
                return "unprocessed"
        if writes and not self.draining and self._refusals[-1] < MAX_REFUSALS:
            chance = self.random.random()
            throttles = THROTTLE_RATE if operation == "transact" else 0
            if chance < CONFLICT_RATE + throttles:
                refusal: Fault = "conflict" if chance < CONFLICT_RATE else "throttled"
                self._refusals[-1] += 1
                self.counts[f"{operation}: {refusal}"] += 1
                return refusal
        if writes:
            self._refusals[-1] = 0
        return None

    def _run_others(self) -> None:
        depth = len(self._actions)
        if depth <= MAX_DEPTH and self.random.random() < self.profile.nested:
            self.counts["nested"] += 1
            chance = self.random.random()
            if chance < 0.3:
                self.counts["zombie"] += self.zombie()
            elif chance < 0.45:
                self.counts["answer at once"] += self.answer_at_once()
            else:
                for _ in range(self.random.choice((1, 1, 2, 4))):
                    self.step()

    def wait(self, seconds: float) -> None:
        """Advances the clock. Other actions run during a long wait."""
        self.now += max(0.0, seconds)
        if seconds > 1 and not self.draining and len(self._actions) <= MAX_DEPTH:
            for _ in range(4):
                self.step()

    # Rules

    def step(self) -> None:
        """Runs one random rule."""
        name = self.random.choices(tuple(RULES), tuple(RULES.values()))[0]
        rule: Callable[[], bool] = getattr(self, name)
        if rule():
            self.counts[name] += 1

    # The end

    def drain(self) -> None:
        """Ends the walk without faults: all environments stop, and all leases expire.

        Checks that one read then ends every generation, and that each conversation accepts and answers a message.
        """
        self.draining = True
        self._trace("drain")
        self._delivering = True
        self.dynamo.deliver()
        self._delivering = False
        for environment in self.environments:
            environment.frozen, environment.running, environment.skew = False, None, 0.0
        running_records = [
            record
            for (_, sk), record in self.dynamo.items.items()
            if sk == keys.RECORD and record["st"] == "run" and "closed" not in record
        ]  # fmt: skip
        ends = [min(int(record["lease"]), int(record["dl"])) / 1000 for record in running_records]
        self.now = max([self.now, *ends]) + GRACE_SECONDS + 0.01
        reader = self.environments[0]
        for known in self.known_generations.values():
            record = reader.generations.get_or_reap(known.user, known.gid)
            if record is not None and record.status == "run":
                raise Violation("I8: a generation does not end")
        self._drain_clients(reader)
        for user, conversation in sorted(self.deleting):
            self._delete(reader, user, conversation, self.now + 1e9)
        for user in filter(self._is_erased, self.users):
            self._erase(reader, user)
            if self._is_erased(user):
                raise Violation("I14: an erasure is not completed")
        for user, conversation in self.known_conversations:
            self._drain_conversation(user, conversation)
        for user in self.users:
            self._check_usage(user)

    def _drain_clients(self, reader: Environment) -> None:
        for client in self.clients:
            for _ in range(20):
                if client.ended:
                    break
                self.now += 1
                self._follow(reader, client)
            if not client.ended:
                raise Violation("I3: a client does not receive a terminal event")

    def _drain_conversation(self, user: str, conversation: str) -> None:
        reader, user_conversation = self.environments[0], (user, conversation)
        deleted = user_conversation in self.deleted
        send = Send(user, self._new("key"), "payload", conversation, "send", "next")
        gid = generation_id(user, send.key)
        self._last_call.append(0)
        try:
            result = self._start(reader, send, gid, conversation)
        except NotFound:
            if not deleted:
                raise Violation("I8: the conversation is not found") from None
            return
        except ChatError as refused:
            raise Violation(f"I8: the next message in {conversation} is refused with {refused.code}") from None
        finally:
            self._last_call.pop()
        if deleted:
            raise Violation("I14: a deleted conversation accepts a message")
        if not isinstance(result, TableWriter) or reader.running is None:
            raise Violation("I8: the next message does not start a generation")
        reader.running.ending = self._end(reader.running)
        self._finish(reader, reader.running, *reader.running.ending)
        if reader.running is not None:
            raise Violation("I8: the next generation does not end")


# Relative frequencies of the rules. With equal frequencies there would be few flushes, and most generations would be
# reaped.
RULES: Mapping[str, int] = {
    "send": 50,
    "repeat_send": 20,
    "send_other_payload": 6,
    "repeat_old_send": 6,
    "generate": 110,
    "flush": 130,
    "finish": 60,
    "crash": 6,
    "freeze": 8,
    "unfreeze": 20,
    "pass_a_moment": 100,
    "pass_a_lease": 12,
    "pass_days": 2,
    "change_skew": 12,
    "flush_with_fast_clock": 3,
    "deliver_late_writes": 12,
    "expire_items": 3,
    "cancel": 22,
    "delete": 8,
    "erase": 10,
    "reuse_conversations": 3,
    "read_usage": 4,
    "rename": 4,
    "create": 4,
    "read": 30,
    "access_other_user": 5,
    "add_client": 30,
    "follow": 110,
}


@contextmanager
def simulated(world: World) -> Iterator[None]:
    """Replaces the store's clocks, ids and constants by the walk's."""

    def iso() -> str:
        return datetime.fromtimestamp(world.now, UTC).isoformat(timespec="milliseconds")

    def sleep(seconds: float) -> None:
        world.wait(seconds)

    def attach() -> str:
        return world._new("attach")

    clock = SimpleNamespace(time=lambda: world.now, monotonic=lambda: world.now, sleep=sleep)
    with (
        mock.patch.object(generations, "now", iso),
        mock.patch.object(generations, "time", clock),
        mock.patch.object(erasure_marker, "now", iso),
        mock.patch.object(erasure, "time", clock),
        mock.patch.object(usage, "ThreadPoolExecutor", SequentialExecutor),
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


def walk(seed: int, steps: int, profile: Profile = DEFAULT_PROFILE) -> World:
    """Runs one walk. The note of an error has the seed and the last steps, to reproduce it."""
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
