"""Who takes part in a walk: users' sends, execution environments with their turns, and clients that follow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from converse_stream.generation.follower import Follower
from converse_stream.limits import Budget, Rate, Rules
from converse_stream.protocol.events import Chunk, Citation, Message
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
Where: TypeAlias = tuple[str, str]  # a user and the id of something of theirs

BEGIN = 1_800_000_000.0
SKEW = 4.5  # seconds that a clock may be wrong: two of them differ by less than the patience
RUN = 400  # code points in one write, so that a flush takes several
SHORTEST_LIFE, LONGEST_LIFE = 40, 300  # seconds until a function's deadline
DEPTH = 2  # how deep others may work inside a call
LEASE_SECONDS, GRACE_SECONDS = LEASE_MS / 1000, LEASE_GRACE_MS / 1000
INDEX_LATE = INDEX_LAG - 0.1  # seconds that the index is late at most
BATCHES = 30  # calls that one batch may take
CONFLICTS = 0.01  # of writes
THROTTLES = 0.02  # of transactions
REFUSALS = table.ATTEMPTS - 1  # of one write, one after the other: the store must bear them
RULES_OF_USE = Rules(Rate(1, 0), Rate(1, 0), 1, Budget(0, 0), Budget(0, 0))
SHARED = (keys.SWITCH[0], keys.address("here")[0])  # what is no user's, beside the day of everybody

TEXTS = ("a", "word ", "hé ", "🌊", "\u2028", '"\\', "x" * 60, "河" * 40, "lorem ipsum " * 20, "y" * 500)
HOSTILE = ("U#bob#G#x", "#", "~META", "../H", "\x00", "H", "S#0000000000")


class Crash(Exception):
    """The execution environment is gone, in the middle of whatever it did."""


def atoms(entries: Sequence[Any]) -> list[Atom]:
    """A log, position by position."""
    flat: list[Atom] = []
    for entry in entries:
        if isinstance(entry, Citation):
            flat.append(("c", entry))
        else:
            kind = "t" if isinstance(entry, Chunk) else "r"
            flat += [(kind, character) for character in entry.content]
    return flat


@dataclass
class KnownGeneration:
    """One generation as it truly is: what was said, and what may happen to it."""

    user: str
    gid: str
    conversation: str
    place: int
    entries: list[Entry]
    held: float = 0.0  # true time until which its owner has been promised that nobody else ends it
    begun: int = 0  # how long the log was at the start
    replaced: Item | None = None  # the answer that was moved aside for it
    calls: int = 0  # of the model
    told: bool = False  # a flush has brought the cancel back

    @property
    def where(self) -> Where:
        """Its user and its id."""
        return self.user, self.gid


@dataclass
class RunningGeneration:
    """An environment's turn: the keeper's state."""

    spoken: KnownGeneration
    writer: TableWriter
    flushed: int
    ending: tuple[Message, End] | None = None
    tries: int = 0


@dataclass
class Environment:
    """One execution environment with a clock of its own."""

    number: int
    skew: float
    generations: Generations
    conversations: Conversations
    erasure: Erasure
    usages: UsageStore
    frozen: bool = False
    busy: bool = False
    turn: RunningGeneration | None = None


@dataclass
class Send:
    """What a client sends, and sends again."""

    user: str
    key: str
    payload: str
    conversation: str
    action: str
    text: str


@dataclass
class Client:
    """One that follows from the table, and comes back with its cursor."""

    spoken: KnownGeneration
    name: str
    seen: list[Atom]
    fresh: bool
    busy: bool = False
    following: Follower | None = None
    environment: Environment | None = None  # which serves it
    cursor: int = 0
    over: bool = False


@dataclass(frozen=True)
class Profile:
    """How wild a walk is."""

    faults: float = 0.06
    nested: float = 0.10
    crashes: float = 0.004


WILD = Profile()
