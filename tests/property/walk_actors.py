"""The actors of a walk: sends of users, execution environments with their generations, and clients that follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from converse_stream.generation.follower import Follower
from converse_stream.limits import Budget, Rate, Rules
from converse_stream.protocol.events import Chunk, Message, Reasoning
from converse_stream.protocol.log import Entry
from converse_stream.store import keys, table
from converse_stream.store.conversations import Conversations
from converse_stream.store.erasure import INDEX_LAG, Erasure
from converse_stream.store.generation_record import LEASE_GRACE_MS, LEASE_MS, End
from converse_stream.store.generation_writer import TableWriter
from converse_stream.store.generations import Generations
from converse_stream.store.usage import UsageStore
from tests.property.fake_table import Item

Atom: TypeAlias = tuple[str, Any]
UserKey: TypeAlias = tuple[str, str]  # a user and the id of one of their conversations or generations

BEGIN = 1_800_000_000.0
SKEW = 4.5  # seconds that a clock may be wrong: two clocks differ by less than the patience
RUN = 400  # code points per write, so that a flush takes several writes
SHORTEST_LIFE, LONGEST_LIFE = 40, 300  # seconds until a function's deadline
MAX_DEPTH = 2  # how deep other actions may be nested in a call
LEASE_SECONDS, GRACE_SECONDS = LEASE_MS / 1000, LEASE_GRACE_MS / 1000
MAX_INDEX_DELAY = INDEX_LAG - 0.1  # seconds, the maximum lag of the index
MAX_BATCH_CALLS = 30  # the maximum number of calls for one batch
CONFLICT_RATE = 0.01  # share of writes
THROTTLE_RATE = 0.02  # share of transactions
MAX_REFUSALS = table.ATTEMPTS - 1  # of one write in a row: the store must retry as often
USAGE_RULES = Rules(Rate(1, 0), Rate(1, 0), 1, Budget(0, 0), Budget(0, 0))
SHARED_PARTITIONS = (
    keys.SWITCH[0],
    keys.address("here")[0],
)  # partitions of no single user

TEXTS = ("a", "word ", "hé ", "🌊", "\u2028", '"\\', "x" * 60, "河" * 40, "lorem ipsum " * 20, "y" * 500)
HOSTILE = ("U#bob#G#x", "#", "~META", "../H", "\x00", "H", "S#0000000000")


class Crash(Exception):
    """The execution environment crashed during an action."""


def atoms(entries: Sequence[Any]) -> list[Atom]:
    """Returns a log as one atom per position: the kind, and a character or an entry of another kind."""
    flat: list[Atom] = []
    for entry in entries:
        if isinstance(entry, (Chunk, Reasoning)):
            kind = "t" if isinstance(entry, Chunk) else "r"
            flat += [(kind, character) for character in entry.content]
        else:
            flat.append(("other", entry))
    return flat


@dataclass
class KnownGeneration:
    """A generation as the walk knows it: its complete text, and what may happen to it."""

    user: str
    gid: str
    conversation: str
    place: int
    entries: list[Entry]
    lease_until: float = 0.0  # true time until which no other environment may end it
    prefix_length: int = 0  # positions of the log at the start
    replaced: Item | None = None  # the answer that it replaces
    model_calls: int = 0
    cancel_signalled: bool = False  # a flush has returned the cancel

    @property
    def key(self) -> UserKey:
        """The user and the generation id."""
        return self.user, self.gid


@dataclass
class RunningGeneration:
    """The state of a generation in the environment that runs it."""

    known: KnownGeneration
    writer: TableWriter
    flushed: int
    ending: tuple[Message, End] | None = None
    tries: int = 0


@dataclass
class Environment:
    """An execution environment with its own clock."""

    number: int
    skew: float
    generations: Generations
    conversations: Conversations
    erasure: Erasure
    usages: UsageStore
    frozen: bool = False
    busy: bool = False
    running: RunningGeneration | None = None


@dataclass
class Send:
    """A request of a client, which it may repeat."""

    user: str
    key: str
    payload: str
    conversation: str
    action: str
    text: str


@dataclass
class Client:
    """A client that follows a generation from the table, and resumes with its cursor."""

    known: KnownGeneration
    name: str
    seen: list[Atom]
    from_start: bool
    busy: bool = False
    follower: Follower | None = None
    environment: Environment | None = None  # which serves the client
    cursor: int = 0
    ended: bool = False


@dataclass(frozen=True)
class Profile:
    """Probabilities of faults, nested actions and crashes."""

    faults: float = 0.06
    nested: float = 0.10
    crashes: float = 0.004
    late: float = 0.0  # of transactions; beside the other faults


DEFAULT_PROFILE = Profile()
