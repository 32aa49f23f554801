"""What a walk knows: the table, everybody in it, and what was said and promised."""

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
    INDEX_LATE,
    RULES_OF_USE,
    SKEW,
    WILD,
    Atom,
    Client,
    Crash,
    Environment,
    KnownGeneration,
    Profile,
    Send,
    Where,
    atoms,
)


@dataclass
class State(ABC):
    """Everybody, and the table between them."""

    seed: int
    profile: Profile = WILD
    counts: Counter[str] = field(default_factory=Counter)
    trace: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311  # reproducible, not a secret
        self.at = BEGIN
        self.dynamo = FakeDynamo(self)
        self.index = LaggingIndex(lambda: self.at, self._lateness)
        self.users = ["alice", "bob"]
        self.environments = [self._environment(number) for number in range(5)]
        self.spoken: dict[Where, KnownGeneration] = {}
        self.places: dict[tuple[str, str, int], list[KnownGeneration]] = {}  # all that there ever were
        self.sends: list[Send] = []
        self.clients: list[Client] = []
        self.known: list[Where] = []  # conversations
        self.deleted: set[Where] = set()
        self.deleting: set[Where] = set()
        self.gone: set[Where] = set()  # generations that the table has forgotten
        self.uncounted: set[str] = set()  # users of such
        self.refused: set[str] = set()  # owners whose start nobody waits for, and that must not begin anything
        self.estimates: dict[str, int] = {}  # by owner: the input tokens of the prompt
        self.calm = False
        self.erasures: Counter[str] = Counter()  # changes of the mark that all of a user's is erased
        self._delivering = False
        self._throttled = False  # batches are not read to their end
        self._batches = 0
        self._acting: list[tuple[Environment, str, int, int]] = []
        self._faults = 0
        self._own_faults: list[int] = [0]  # of each call that is under way
        self._refusals: list[int] = [0]  # of its last write, by a table that is well
        self._numbers = 0
        self._calls = 0
        self._era = 0
        self._focus: Send | None = None  # the send that is under way, with the conversation that it is for
        self._began: dict[Where, int] = {}  # the call before which each generation was there
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
        """See TableHooks: late."""
        return self.index.items()

    def _lateness(self) -> float:
        return self.random.choice((0.0, 0.2, self.random.uniform(0, INDEX_LATE)))

    # The table, looked at from outside

    def raw_record(self, user: str, gid: str) -> Item | None:
        """H as it is; a closed key has none."""
        record = self.dynamo.items.get((keys.generation(user, gid), keys.RECORD))
        return record if record is None or "closed" not in record else None

    def durable(self, user: str, gid: str) -> list[Atom]:
        """The durable log: its owner's segments before the tail, as far as they are contiguous, and the tail."""
        record = self.raw_record(user, gid)
        if record is None:
            return []
        flat: list[Atom] = []
        for item in self.dynamo.partition(keys.generation(user, gid), "S#"):
            if item["n0"] >= record["t0"]:
                break
            if item["own"] != record["own"]:  # of an earlier generation with the same key, not swept yet
                self.counts["a segment of another owner"] += 1
                continue
            if item["n0"] != len(flat):
                raise Violation(f"I1: a segment begins at {item['n0']}, the one before ended at {len(flat)}")
            flat += atoms(log.decode(bytes(item["ev"])))
            if item["n1"] != len(flat):
                raise Violation("I1: a segment that is not as long as it says")
        if len(flat) != record["t0"]:
            raise Violation(f"I1: the tail begins at {record['t0']}, the segments end at {len(flat)}")
        return flat + atoms(log.decode(bytes(record["tail"])))

    def _meta_deleted(self, pk: str) -> bool:
        return "deleted" in self.dynamo.items.get((pk, keys.META), {})

    def _generation(self, pk: str) -> Where:
        user, _, gid = pk.removeprefix("U#").partition("#G#")
        return user, gid

    def _conversation(self, pk: str) -> Where:
        user, _, conversation = pk.removeprefix("U#").partition("#C#")
        return user, conversation

    def lapsed(self, spoken: KnownGeneration) -> bool:
        """Whether the table may have forgotten it."""
        record = self.raw_record(*spoken.where)
        again = self.spoken[spoken.where] is not spoken  # its key was used anew
        return record is None or again or int(record["ttl"]) <= self.at + 2 * SKEW

    # Acting

    def _say(self, what: str) -> None:
        self.trace.append(f"{'  ' * len(self._acting)}{self.at - BEGIN:.2f} {what}")

    def _environment(self, number: int) -> Environment:
        shelf = self.dynamo.table()
        archive = Conversations(shelf)
        made = Environment(number, 0.0, None, archive, None, None)  # type: ignore[arg-type]  # they need its clock
        made.generations = Generations(shelf, archive, lambda: self.at + made.skew)
        made.erasure = Erasure(shelf, archive, made.generations)
        made.usages = UsageStore(shelf, RULES_OF_USE, lambda: self.at + made.skew)
        return made

    @contextmanager
    def _act(self, environment: Environment, user: str, what: str) -> Iterator[None]:
        """What `environment` does now for `user`; a crash ends it."""
        self._say(f"e{environment.number} {user} {what}")
        environment.busy = True
        self._acting.append((environment, user, self._era, self._faults))
        self._last_call.append(0)
        self._own_faults.append(0)
        self._refusals.append(0)
        try:
            yield
        except Crash:
            self._say(f"e{environment.number} crashes")
        finally:
            self._acting.pop()
            self._last_call.pop()
            self._own_faults.pop()
            self._refusals.pop()
            environment.busy = False

    def _idle(self, *, speaking: bool = False) -> Environment | None:
        """An environment that can do something now: with a turn, or for a request without one."""
        able = [each for each in self.environments if not each.busy and (each.turn is not None) == speaking]
        if not self.calm:
            able = [each for each in able if not each.frozen]
        return self.random.choice(able) if able else None

    def _new(self, what: str) -> str:
        self._numbers += 1
        return f"{what}-{self._numbers:06d}"
