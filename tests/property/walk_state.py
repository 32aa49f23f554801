"""The state of a walk: the table, its users and environments, and the expected content of all generations."""

import random
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from converse_stream.protocol import log
from converse_stream.store import keys
from converse_stream.store.conversations import Conversations
from converse_stream.store.erasure import Erasure
from converse_stream.store.generations import Generations
from converse_stream.store.usage import UsageStore
from tests.property.fake_table import Change, FakeDynamo, Fault, Item, Key, LaggingIndex, Violation
from tests.property.walk_actors import (
    BEGIN,
    DEFAULT_PROFILE,
    MAX_INDEX_DELAY,
    SKEW,
    USAGE_RULES,
    Atom,
    Client,
    Crash,
    Environment,
    KnownGeneration,
    Profile,
    Send,
    UserKey,
    atoms,
)


@dataclass
class State(ABC):
    """The state of a walk."""

    seed: int
    profile: Profile = DEFAULT_PROFILE
    counts: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311  # reproducible, not a secret
        self.now = BEGIN
        self.dynamo = FakeDynamo(self)
        self.index = LaggingIndex(lambda: self.now, self._index_delay)
        self.users = ["alice", "bob"]
        self.environments = [self._environment(number) for number in range(5)]
        self.known_generations: dict[UserKey, KnownGeneration] = {}
        self.places: dict[tuple[str, str, int], list[KnownGeneration]] = {}  # all generations ever, by place
        self.sends: list[Send] = []
        self.clients: list[Client] = []
        self.known_conversations: list[UserKey] = []  # keys of conversations
        self.deleted: set[UserKey] = set()
        self.deleting: set[UserKey] = set()
        self.removed: set[UserKey] = set()  # generations that the table has removed
        self.users_without_usage_check: set[str] = set()  # users of removed generations
        self.failed_owners: set[str] = set()  # owners whose start failed: it must not take effect later
        self.estimates: dict[str, int] = {}  # input tokens of the prompt, by owner
        self.draining = False
        self.erasures: Counter[str] = Counter()  # changes of a user's erasure mark
        self._delivering = False
        self._throttled = False  # every batch returns unprocessed keys
        self._batches = 0
        self._actions: list[tuple[Environment, str, int, int]] = []
        self._faults = 0
        self._own_faults: list[int] = [0]  # faults in each action in progress
        self._refusals: list[int] = [0]  # refusals of the last write in each action, without a fault
        self._numbers = 0
        self._calls = 0
        self._days = 0
        self._current_send: Send | None = None  # the send in progress, with its conversation
        self._created_at_call: dict[UserKey, int] = {}  # the number of the call that created each generation
        self._last_call: list[int] = []

    @abstractmethod
    def before(self, operation: str, pks: Sequence[str], *, writes: bool) -> Fault:
        """See TableHooks."""

    @abstractmethod
    def between(self) -> None:
        """See TableHooks."""

    @abstractmethod
    def committed(self, changes: Sequence[Change]) -> None:
        """See TableHooks."""

    def indexed(self, items: Mapping[Key, Item]) -> Mapping[Key, Item]:
        """See TableHooks. The index lags."""
        return self.index.items()

    def _index_delay(self) -> float:
        return self.random.choice((0.0, 0.2, self.random.uniform(0, MAX_INDEX_DELAY)))

    # The content of the table

    def raw_record(self, user: str, gid: str) -> Item | None:
        """Returns the stored record of a generation, or None; a closed key has no record."""
        record = self.dynamo.items.get((keys.generation(user, gid), keys.RECORD))
        return record if record is None or "closed" not in record else None

    def durable(self, user: str, gid: str) -> list[Atom]:
        """Returns the stored log: the owner's contiguous segments, and the tail."""
        record = self.raw_record(user, gid)
        if record is None:
            return []
        flat: list[Atom] = []
        for item in self.dynamo.partition(keys.generation(user, gid), "S#"):
            if item["n0"] >= record["t0"]:
                break
            if item["own"] != record["own"]:  # of an earlier generation with the same key, not removed yet
                self.counts["a segment of another owner"] += 1
                continue
            if item["n0"] != len(flat):
                raise Violation(f"I1: a segment begins at {item['n0']}, the previous one ended at {len(flat)}")
            flat += atoms(log.decode(bytes(item["ev"])))
            if item["n1"] != len(flat):
                raise Violation("I1: the length of a segment differs from its positions")
        if len(flat) != record["t0"]:
            raise Violation(f"I1: the tail begins at {record['t0']}, the segments end at {len(flat)}")
        return flat + atoms(log.decode(bytes(record["tail"])))

    def _meta_deleted(self, pk: str) -> bool:
        return "deleted" in self.dynamo.items.get((pk, keys.META), {})

    def _generation(self, pk: str) -> UserKey:
        user, _, gid = pk.removeprefix("U#").partition("#G#")
        return user, gid

    def _conversation(self, pk: str) -> UserKey:
        user, _, conversation = pk.removeprefix("U#").partition("#C#")
        return user, conversation

    def expired(self, known: KnownGeneration) -> bool:
        """Returns whether the table may have removed the generation."""
        record = self.raw_record(*known.key)
        reused = self.known_generations[known.key] is not known  # the key belongs to a newer generation
        return record is None or reused or int(record["ttl"]) <= self.now + 2 * SKEW

    # Actions

    def _trace(self, text: str) -> None:
        self.trace.append(f"{'  ' * len(self._actions)}{self.now - BEGIN:.2f} {text}")

    def _environment(self, number: int) -> Environment:
        table = self.dynamo.table()
        conversations = Conversations(table)
        environment = Environment(number, 0.0, None, conversations, None, None)  # type: ignore[arg-type]  # set below: they need its clock
        environment.generations = Generations(table, conversations, lambda: self.now + environment.skew)
        environment.erasure = Erasure(table, conversations, environment.generations)
        environment.usages = UsageStore(table, USAGE_RULES, lambda: self.now + environment.skew)
        return environment

    @contextmanager
    def _action(self, environment: Environment, user: str, text: str) -> Iterator[None]:
        """Runs the block as an action of `environment` for `user`. A crash ends the action."""
        self._trace(f"e{environment.number} {user} {text}")
        environment.busy = True
        self._actions.append((environment, user, self._days, self._faults))
        self._last_call.append(0)
        self._own_faults.append(0)
        self._refusals.append(0)
        try:
            yield
        except Crash:
            self._trace(f"e{environment.number} crashes")
        finally:
            self._actions.pop()
            self._last_call.pop()
            self._own_faults.pop()
            self._refusals.pop()
            environment.busy = False

    def _idle_environment(self, *, generating: bool = False) -> Environment | None:
        """Returns a random idle environment, with or without a running generation, or None."""
        idle = [item for item in self.environments if not item.busy and (item.running is not None) == generating]
        if not self.draining:
            idle = [item for item in idle if not item.frozen]
        return self.random.choice(idle) if idle else None

    def _new(self, text: str) -> str:
        self._numbers += 1
        return f"{text}-{self._numbers:06d}"
