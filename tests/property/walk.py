"""A seeded random walk over the store of generations, and the invariants I1 to I9 and I11 to I14 of its design.

Users send, repeat, cancel, delete and follow; execution environments speak, flush and finish; they crash, freeze in the
middle of a call and come back as zombies; clocks differ and jump; the table fails, before or after it has written, and
delivers late. Any call to the table may let others work first: that is where the races are.

The walk knows what was said and what was promised (`Spoken`), and looks at the table itself after every write.
I10 is not here: it is about the rate limiter.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, TypeAlias
from unittest import mock

from chat import following, log
from chat.errors import (
    BeingErased,
    ChatError,
    ConversationBusy,
    Exists,
    KeyReused,
    NotFound,
    StorageError,
    TooManyFollowers,
)
from chat.events import TERMINAL, Chunk, Citation, Complete, Message, Reasoning, Rollback, Usage
from chat.following import Following
from chat.limits import Budget, Rate, Rules
from chat.log import Entry
from chat.memory.lookup import Memory
from chat.prompts.prompt import estimate_tokens
from chat.store import conversations, erasing, erasure, generations, heads, keys, limits, messages, table, writer
from chat.store.conversations import Conversation, Conversations
from chat.store.erasure import INDEX_LAG, Erasure
from chat.store.generations import Generations
from chat.store.head import LEASE, PATIENCE, End, Estimate, Head, Status, conversation_id, generation_id
from chat.store.limits import Usages
from chat.store.writer import Fenced, Writer
from tests.property.fake_table import Change, FakeDynamo, Fault, Item, Key, LaggingIndex, Violation
from tests.property.in_turn import InTurn

Atom: TypeAlias = tuple[str, Any]
Where: TypeAlias = tuple[str, str]  # a user and the id of something of theirs

BEGIN = 1_800_000_000.0
SKEW = 4.5  # seconds that a clock may be wrong: two of them differ by less than the patience
RUN = 400  # code points in one write, so that a flush takes several
SHORTEST_LIFE, LONGEST_LIFE = 40, 300  # seconds until a function's deadline
DEPTH = 2  # how deep others may work inside a call
LEASE_SECONDS, PATIENCE_SECONDS = LEASE / 1000, PATIENCE / 1000
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
class Spoken:
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
class Speaking:
    """An environment's turn: the keeper's state."""

    spoken: Spoken
    writer: Writer
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
    usages: Usages
    frozen: bool = False
    busy: bool = False
    turn: Speaking | None = None


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

    spoken: Spoken
    name: str
    seen: list[Atom]
    fresh: bool
    busy: bool = False
    following: Following | None = None
    cursor: int = 0
    over: bool = False


@dataclass(frozen=True)
class Profile:
    """How wild a walk is."""

    faults: float = 0.06
    nested: float = 0.10
    crashes: float = 0.004


WILD = Profile()


@dataclass
class World:
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
        self.spoken: dict[Where, Spoken] = {}
        self.places: dict[tuple[str, str, int], list[Spoken]] = {}  # all that there ever were
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
        self._focus: Where | None = None  # the conversation that a send is at
        self._began: dict[Where, int] = {}  # the call before which each generation was there
        self._last_call: list[int] = []

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

    def indexed(self, items: Mapping[Key, Item]) -> Mapping[Key, Item]:
        """See Steering: late."""
        return self.index.items()

    def _lateness(self) -> float:
        return self.random.choice((0.0, 0.2, self.random.uniform(0, INDEX_LATE)))

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

    def committed(self, changes: Sequence[Change]) -> None:
        """See Steering: every invariant that a single write can break."""
        self.index.note(changes)
        for change in changes:
            self.counts["sealed"] += change.key[1].startswith("S#") and change.new is not None
            (pk, sk), old, new = change.key, change.old, change.new
            if sk == keys.HEAD:
                self._check_head(pk, old, new, changes)
            elif sk == keys.META:
                self._check_meta(pk, old, new)
            elif sk == keys.PROFILE:
                self._check_erased(pk, old or {}, new or {})
            elif sk.startswith("D#") and new is None and pk.startswith("U#"):
                self.uncounted.add(pk.removeprefix("U#").removesuffix("#R"))
            elif sk.startswith("M#") and new is not None and self._meta_deleted(pk):
                raise Violation("I14: a message in a deleted conversation")
        for pk in {change.key[0] for change in changes}:
            user, _, rest = pk.removeprefix("U#").partition("#")
            if rest.startswith("G#"):
                self._check_log(user, rest[2:])
                self._check_active(user, rest[2:])
            elif rest.startswith("C#"):
                self._check_conversation(user, rest[2:])
            elif rest.startswith("R"):
                self._check_usage(user)

    def _storage_error(self) -> None:
        """A storage error is told to clients only when the table has failed."""
        if self._acting and self._acting[-1][3] == self._faults:
            raise Violation("I8: a storage error, and the table did not fail")

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

    # Invariants

    def _check_head(self, pk: str, old: Item | None, new: Item | None, changes: Sequence[Change]) -> None:
        user, gid = self._generation(pk)
        if old is not None and "closed" in old:  # a key, and no generation
            self.counts["a closed key is used"] += new is not None and "closed" not in new
            old = None
        elif old is not None and new is not None and ("closed" in new or old["own"] != new["own"]):
            if int(old["ttl"]) > self.at + SKEW:
                raise Violation("I5: a generation has changed hands")
            self.counts["a head is replaced before it is swept"] += 1
            self.gone.add((user, gid))
            self.uncounted.add(user)
            old = None
        if new is not None and "closed" in new:
            self.counts["a key is closed"] += 1
            return
        if new is None:
            if old is None:  # a delete, done again
                return
            removed = old["st"] != "run" and (user, old["conv"]) in self.deleted
            if int(old["ttl"]) >= self.at and not removed:
                raise Violation("I2: a head is gone before its time")
            self.gone.add((user, gid))
            self.uncounted.add(user)
            return
        spoken = self.spoken.get((user, gid))
        if old is None:
            if spoken is not None and (user, gid) not in self.gone:
                raise Violation("I6: a second generation for one key")
            self.gone.discard((user, gid))
            self._began[user, gid] = self._calls
            if new["own"] in self.refused:
                raise Violation("I6: a start that its sender was told had failed begins an answer")
            begun = log.decode(bytes(new["tail"]))
            moved = [each.old for each in changes if each.key[1].startswith("M#") and each.new is None]
            self.spoken[user, gid] = Spoken(
                user,
                gid,
                new["conv"],
                int(new["seq"]),
                begun,
                begun=log.end_of(begun),
                replaced=moved[0] if moved else None,
            )
            self.places.setdefault((user, new["conv"], int(new["seq"])), []).append(self.spoken[user, gid])
            return
        if new["n"] < old["n"]:
            raise Violation("I2: n falls")
        fixed = ("own", "fp", "conv", "seq", "mid", "dl")
        if any(old[name] != new[name] for name in fixed):
            raise Violation("I5: a generation has changed hands")
        if old["st"] != "run":
            if old != new:
                raise Violation("I2: a generation that has ended changes")
            return
        if new["st"] == "lost":
            self.counts["reaped"] += 1
            deadline = int(old["dl"]) / 1000 + SKEW
            held = max(spoken.held if spoken else 0.0, int(old["lease"]) / 1000 + SKEW)
            if self.at <= min(held, deadline):
                raise Violation("I5: a live lease is reaped")
        elif spoken and new["lease"] < old["lease"]:  # a late write, or a clock that went back
            spoken.held = min(spoken.held, int(new["lease"]) / 1000 - SKEW)
        if old.get("cx") and not new.get("cx"):
            raise Violation("I7: a cancel is forgotten")
        if spoken and new["st"] != "run":
            self._check_end(spoken, new)

    def _check_end(self, spoken: Spoken, head: Item) -> None:
        """What must hold when a generation has just ended."""
        pk = keys.conversation(spoken.user, spoken.conversation)
        if head["st"] == "lost":
            new = self.durable(*spoken.where)[spoken.begun :]
            said = estimate_tokens("".join(character for kind, character in new if kind in "tr"))
            usage = head["usage"]
            if (usage["input_tokens"], usage["output_tokens"]) != (self.estimates[head["own"]], said):
                raise Violation("I13: a lost answer is not charged for what it read and said")
        if spoken.replaced is None or head["n"] > spoken.begun or self._meta_deleted(pk):
            return
        self.counts["put back"] += 1
        if self.dynamo.items.get((pk, keys.message(spoken.place))) != spoken.replaced:
            raise Violation("I9: an answer that nothing took the place of is gone")

    def _check_meta(self, pk: str, old: Item | None, new: Item | None) -> None:
        user, conversation = self._conversation(pk)
        if new is None:
            if old is None:  # a delete, done again
                return
            if int(old.get("ttl", self.at)) >= self.at and not self._is_erased(user):
                raise Violation("I14: the mark of a deleted conversation is gone before its time")
            if any(sk != keys.META for at, sk in self.dynamo.items if at == pk):
                raise Violation("I14: the mark is gone, and the messages of the deleted conversation are not")
            self.deleted.discard((user, conversation))
            self.deleting.discard((user, conversation))
            return
        asked = (user, conversation) in self.deleting or self._is_erased(user) or self._delivering
        if "deleted" in new and "deleted" not in (old or {}) and not asked:
            raise Violation("I14: a conversation is deleted, and nobody asked for it")
        back = "deleted" not in new or (old is not None and new["seq"] != old["seq"])
        back = back or new["gsi1pk"] == keys.user(user)
        if old is not None and "deleted" in old and back:
            raise Violation("I14: a deleted conversation comes back")
        if "deleted" in new:
            self.deleted.add((user, conversation))
        if old is None and not new.get("id"):
            raise Violation("I14: a conversation out of nothing")
        if old is not None and new["seq"] < old["seq"]:
            raise Violation("I9: seq falls")

    def _check_erased(self, pk: str, old: Item, new: Item) -> None:
        """I14: an erasure that ends has left nothing."""
        user = pk.removeprefix("U#").removesuffix("#F")
        if old.get("erasing") == new.get("erasing"):
            return
        self.erasures[user] += 1
        if "erasing" in new:
            return
        self.counts["erased"] += 1
        left = [key for key in self.dynamo.items if key[0].startswith(f"{keys.user(user)}#C#")]
        if left:
            raise Violation(f"I14: all of {user} is erased, and still there: {left}")

    def _is_erased(self, user: str) -> bool:
        return "erasing" in self.dynamo.items.get((keys.facts(user), keys.PROFILE), {})

    def _check_log(self, user: str, gid: str) -> None:
        """I1: what the table holds is contiguous, and how the answer begins."""
        head = self.raw_head(user, gid)
        spoken = self.spoken.get((user, gid))
        if head is None or spoken is None or int(head["ttl"]) <= self.at:  # its segments may be swept before it
            return
        flat = self.durable(user, gid)
        if len(flat) != head["n"]:
            raise Violation(f"I1: the log has {len(flat)} positions, n is {head['n']}")
        if flat != atoms(spoken.entries)[: len(flat)]:
            raise Violation("I1: the durable log is not how the answer begins")

    def _check_active(self, user: str, gid: str) -> None:
        head = self.raw_head(user, gid)
        if head is None or self.lapsed(self.spoken[user, gid]):
            return
        meta = self.dynamo.items.get((keys.conversation(user, head["conv"]), keys.META))
        active = meta is not None and "deleted" not in meta and meta.get("active") == gid
        runs = head["st"] == "run"
        if meta is not None and "deleted" not in meta and active != runs:
            raise Violation(f"I8: {head['st']}, and active is {meta.get('active')}")

    def _check_conversation(self, user: str, conversation: str) -> None:
        pk = keys.conversation(user, conversation)
        meta = self.dynamo.items.get((pk, keys.META))
        if meta is None or "deleted" in meta:
            return
        active = meta.get("active")
        head = self.raw_head(user, active) if active else None
        if active and head is None and (user, active) not in self.gone:
            raise Violation("I8: active names nothing")
        if active and head and head["st"] != "run" and not self.lapsed(self.spoken[user, active]):
            raise Violation(f"I8: active names a generation that is {head['st']}")
        seq = int(meta["seq"])
        if seq % 2:
            raise Violation("I9: seq is odd")
        found = {messages.place(item): item for item in self.dynamo.partition(pk, "M#")}
        for place in range(1, seq + 1):
            item = found.pop(place, None)
            if item is None:
                forgotten = any(map(self.lapsed, self.places.get((user, conversation, place), ())))
                if not (place == seq and active) and not forgotten:
                    raise Violation(f"I9: no message at {place} of {seq}")
                if place == seq and not active and self.dynamo.partition(pk, keys.earlier(seq, "")):
                    raise Violation("I9: an answer that nothing took the place of stays aside")
                continue
            if item["role"] != ("user" if place % 2 else "assistant"):
                raise Violation(f"I9: {item['role']} at {place}")
            if place == seq and active:
                raise Violation("I9: an answer where one is being made")
            if not place % 2:
                self._check_answer(user, item)
        if found:
            raise Violation(f"I9: messages at {sorted(found)}, seq is {seq}")
        for item in self.dynamo.partition(pk, "E#"):
            self._check_answer(user, item)

    def _check_answer(self, user: str, item: Item) -> None:
        gid = item["gid"]
        head = self.raw_head(user, gid)
        # Its log is forgotten, or swept in part, and the key may have been used again.
        if head is None or head["mid"] != item["id"] or int(head["ttl"]) <= self.at:
            return
        if head["st"] == "run":
            raise Violation("I9: the answer is stored, and its generation runs")
        data = bytes(item["parts"])
        for number in range(1, int(item["pieces"]) + 1):
            rest = keys.rest(messages.place(item), item["id"], number)
            data += bytes(self.dynamo.items[item["pk"], rest]["parts"])
        if atoms(log.decode(data)) != self.durable(user, gid):
            raise Violation("I9: the message is not what the log says")

    def _check_usage(self, user: str) -> None:
        """I13, for as long as the table remembers both sides."""
        if user in self.uncounted:
            return
        heads = [item for (pk, sk), item in self.dynamo.items.items()
                 if sk == keys.HEAD and pk.startswith(f"U#{user}#")
                 and item["st"] != "run" and "closed" not in item]  # fmt: skip
        days = self.dynamo.partition(keys.limits(user), "D#")
        for name, expected in (
            ("requests", len(heads)),
            ("tokens_in", sum(int(head["usage"]["input_tokens"]) for head in heads)),
            ("tokens_out", sum(int(head["usage"]["output_tokens"]) for head in heads)),
        ):
            counted = sum(int(day[name]) for day in days)
            if counted != expected:
                raise Violation(f"I13: {name} is {counted}, and should be {expected}")

    # The table, looked at from outside

    def raw_head(self, user: str, gid: str) -> Item | None:
        """H as it is; a closed key has none."""
        head = self.dynamo.items.get((keys.generation(user, gid), keys.HEAD))
        return head if head is None or "closed" not in head else None

    def durable(self, user: str, gid: str) -> list[Atom]:
        """The durable log: its owner's segments before the tail, as far as they are contiguous, and the tail."""
        head = self.raw_head(user, gid)
        if head is None:
            return []
        flat: list[Atom] = []
        for item in self.dynamo.partition(keys.generation(user, gid), "S#"):
            if item["n0"] >= head["t0"]:
                break
            if item["own"] != head["own"]:  # of an earlier generation with the same key, not swept yet
                self.counts["a segment of another owner"] += 1
                continue
            if item["n0"] != len(flat):
                raise Violation(f"I1: a segment begins at {item['n0']}, the one before ended at {len(flat)}")
            flat += atoms(log.decode(bytes(item["ev"])))
            if item["n1"] != len(flat):
                raise Violation("I1: a segment that is not as long as it says")
        if len(flat) != head["t0"]:
            raise Violation(f"I1: the tail begins at {head['t0']}, the segments end at {len(flat)}")
        return flat + atoms(log.decode(bytes(head["tail"])))

    def _meta_deleted(self, pk: str) -> bool:
        return "deleted" in self.dynamo.items.get((pk, keys.META), {})

    def _generation(self, pk: str) -> Where:
        user, _, gid = pk.removeprefix("U#").partition("#G#")
        return user, gid

    def _conversation(self, pk: str) -> Where:
        user, _, conversation = pk.removeprefix("U#").partition("#C#")
        return user, conversation

    # Rules

    def step(self) -> None:
        """One thing happens."""
        name = self.random.choices(tuple(RULES), tuple(RULES.values()))[0]
        rule: Callable[[], bool] = getattr(self, name)
        if rule():
            self.counts[name] += 1

    def _say(self, what: str) -> None:
        self.trace.append(f"{'  ' * len(self._acting)}{self.at - BEGIN:.2f} {what}")

    def _environment(self, number: int) -> Environment:
        shelf = self.dynamo.table()
        archive = Conversations(shelf)
        made = Environment(number, 0.0, None, archive, None, None)  # type: ignore[arg-type]  # they need its clock
        made.generations = Generations(shelf, archive, lambda: self.at + made.skew)
        made.erasure = Erasure(shelf, archive, made.generations)
        made.usages = Usages(shelf, RULES_OF_USE, lambda: self.at + made.skew)
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

    # Sending

    def send(self) -> bool:
        """A new message, in a conversation that there is or in a new one."""
        user = self.random.choice(self.users)
        mine = [conversation for name, conversation in self.known if name == user]
        key = self._new("key")
        if mine and self.random.random() < 0.85:
            conversation = self.random.choice(mine[-4:])
        else:
            conversation = "" if self.random.random() < 0.5 else self._new("conversation")
        action = self.random.choice(("send", "send", "regenerate", "continue")) if conversation in mine else "send"
        send = Send(user, key, "payload", conversation, action, self.random.choice(TEXTS))
        self.sends.append(send)
        return self._send(send)

    def send_again(self) -> bool:
        """The same, once more: a retry, perhaps while the first is under way."""
        return bool(self.sends) and self._send(self.random.choice(self.sends[-6:]))

    def send_otherwise(self) -> bool:
        """An earlier key with another payload."""
        if not self.sends:
            return False
        return self._send(replace(self.random.choice(self.sends[-6:]), payload="other"))

    def send_anew(self) -> bool:
        """An old send, at any time."""
        return bool(self.sends) and self._send(self.random.choice(self.sends))

    def _send(self, send: Send, environment: Environment | None = None) -> bool:
        environment = environment or self._idle()
        if environment is None:
            return False
        user = send.user
        gid = generation_id(user, send.key)
        conversation = send.conversation or conversation_id(gid)
        where = (user, gid)
        before, nested = self._lives(where, environment), self.counts["nested"]
        erased = self._is_erased(user), self.erasures[user]
        with self._act(environment, user, f"{send.action} {send.key} {send.payload} in {conversation}"):
            outer, self._focus = self._focus, (user, conversation)
            try:
                result = self._start(environment, send, gid, conversation)
            except StorageError:
                self._storage_error()
                self._say("storage error")
            except KeyReused:
                head = self.raw_head(*where)
                if head is None or head["fp"] == send.payload:
                    raise Violation("I6: refused as another payload") from None
                self.counts["key reused"] += 1
            except BeingErased:
                if erased == (False, self.erasures[user]):
                    raise Violation("I14: refused, and nothing is erased") from None
                if before and self._lives(where, environment):
                    raise Violation("I6: a retry is told that all is erased") from None
                self.counts["being erased"] += 1
            except (ConversationBusy, NotFound) as refused:
                known = where in self._began and self._began[where] < self._last_call[-1]
                gone = isinstance(refused, NotFound) and (user, conversation) in self.deleted
                if not gone and (
                    before or (known and self._lives(where, environment) and isinstance(refused, ConversationBusy))
                ):
                    raise Violation(f"I6: a retry is told {refused.code}") from refused
                meta = self.dynamo.items.get((keys.conversation(user, conversation), keys.META), {})
                if isinstance(refused, ConversationBusy) and nested == self.counts["nested"] and "active" not in meta:
                    raise Violation("I8: a conversation in which nothing is being made is busy") from refused
                self.counts[refused.code] += 1
            else:
                if isinstance(result, Head):
                    self.counts["attached"] += 1
                    if result.gid != gid or result.fingerprint != send.payload:
                        raise Violation("I6: attached to something else")
                elif before and (result is not None or (user, conversation) not in self.deleted):
                    raise Violation("I6: the model is asked again, or a retry is told that there is no answer")
            finally:
                self._focus = outer
        return True

    def _lives(self, where: Where, environment: Environment) -> bool:
        head = self.raw_head(*where)
        return head is not None and int(head["ttl"]) > self.at + 2 * SKEW

    def _start(self, environment: Environment, send: Send, gid: str, conversation: str) -> Writer | Head | None:
        user = send.user
        known: Conversation | None = None
        history: list[Message] = []
        looks = ["earlier", "history"]
        self.random.shuffle(looks)  # they are read side by side
        earlier, came = None, False
        for look in looks:
            try:
                if look == "earlier":
                    earlier, came = environment.generations.head(user, gid), True
                else:
                    known, history = environment.conversations.recent(user, conversation, 6)
            except StorageError:
                continue
        if earlier is None and Memory(known, tuple(history), earlier_came=came).may_have_begun(gid):
            earlier = environment.generations.head(user, gid)
        if earlier:
            return environment.generations.attach(earlier, send.payload)
        asked: Message | None = None
        begun: tuple[Entry, ...] = ()
        if send.action == "send":
            asked = Message(self._new("m"), "user", (Chunk(send.text),), "t", generation_id=gid)
        else:
            if known is None:
                raise StorageError
            if known.active or known.deleted:
                return None
            match history:
                case [*_, Message(role="user"), Message(role="assistant") as asked]:
                    begun = asked.parts if send.action == "continue" else ()
                case _:
                    return None
        life = self.random.uniform(SHORTEST_LIFE, LONGEST_LIFE)
        at = environment.generations.now()
        head = Head(
            gid=gid,
            status="run",
            owner=self._new("owner"),
            fingerprint=send.payload,
            conversation=conversation,
            place=0,
            message_id=self._new("m"),
            model="nova-lite",
            n=log.end_of(begun),
            t0=0,
            tail=begun,
            lease=at + LEASE,
            deadline=at + int(life * 1000),
            estimate=Estimate(self.random.randrange(5000)),
        )
        self.estimates[head.owner] = head.estimate.input_tokens
        faults = self._own_faults[-1]
        try:
            result = environment.generations.start(user, head, known, asked, instead=send.action != "send")
        except StorageError:
            if self._own_faults[-1] == faults + 1:  # and the table was well when the key was closed
                self.refused.add(head.owner)
            raise
        if isinstance(result, Head):
            return result
        self.counts[f"started: {send.action}"] += 1
        spoken = self.spoken[user, gid]
        spoken.calls += 1
        if spoken.calls > 1:
            raise Violation("I6: the model is asked again")
        if (user, conversation) not in self.known:
            self.known.append((user, conversation))
        environment.turn = Speaking(spoken, result, len(begun))
        return result

    # Answering

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
        """A question and its whole answer, in the conversation that somebody else is busy with."""
        environment = self._idle()
        if environment is None or self._focus is None:
            return False
        user, conversation = self._focus
        send = Send(user, self._new("key"), "payload", conversation, "send", "quick")
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

    def _lease(self, spoken: Spoken) -> float:
        head = self.raw_head(*spoken.where)
        return int(head["lease"]) / 1000 if head is not None and head["st"] == "run" else float("inf")

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

    def _flush(self, environment: Environment, turn: Speaking) -> bool:
        """Whether everything that was said is durable now."""
        spoken, upto, asked_at = turn.spoken, len(turn.spoken.entries), self.at
        asked = bool((self.raw_head(*spoken.where) or {}).get("cx"))
        try:
            signals = turn.writer.flush(spoken.entries[turn.flushed : upto])
        except StorageError:
            self._storage_error()
            return False
        except Fenced:
            head = self.raw_head(*spoken.where)
            if head is not None and head["st"] == "run":
                raise Violation("I5: the owner is fenced from a generation that is its own") from None
            self.counts["fenced"] += 1
            environment.turn = None
            return False
        head = self.raw_head(*spoken.where)
        if head is None or head["n"] < log.end_of(spoken.entries[:upto]):
            raise Violation("I1: a flush succeeded, and its text is not durable")
        if asked and not signals.cancelled:
            raise Violation("I7: a flush does not bring the cancel back")
        if signals.cancelled and not head.get("cx"):
            raise Violation("I7: a cancel that nobody asked for")
        turn.flushed = upto
        spoken.held = max(spoken.held, asked_at + LEASE_SECONDS)
        if signals.cancelled:
            self.counts["told of a cancel"] += 1
            spoken.told = True
        return True

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

    def _end(self, turn: Speaking) -> tuple[Message, End]:
        spoken = turn.spoken
        status: Status
        status, reason = self.random.choice((("done", "stop"), ("done", "stop"), ("error", "model_error")))
        if spoken.told:
            status, reason = "cancel", "cancelled"
        usage = Usage(self.random.randrange(50), self.random.randrange(50), basis="estimated")
        answer = Message(
            id=turn.writer.head.message_id,
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

    def _finish(self, environment: Environment, turn: Speaking, answer: Message, end: End) -> None:
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
            head = self.raw_head(*spoken.where)
            if head is not None and head["st"] == "run":
                raise Violation("I5: the owner cannot end what is its own") from None
            self.counts["fenced at the end"] += 1
            environment.turn = None
            return
        head = self.raw_head(*spoken.where)
        if head is not None and (head["st"], head["own"]) != (end.status, turn.writer.head.owner):
            raise Violation(f"I2: the end was {end.status}, and is {head['st']}")
        if head is not None and head["n"] != log.end_of(spoken.entries):
            raise Violation("I9: an end before everything was durable")
        self.counts[f"ended: {end.status}"] += 1
        environment.turn = None

    def _give_up(self, environment: Environment, turn: Speaking) -> None:
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
        """So long that logs are forgotten."""
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

    # Stopping, deleting, naming

    def cancel(self) -> bool:
        """Somebody stops an answer."""
        environment = self._idle()
        if environment is None or not self.known:
            return False
        user, conversation = self.random.choice(self.known[-6:])
        with self._act(environment, user, f"cancel {conversation}"):
            try:
                active = environment.conversations.get(user, conversation).active
                head = environment.generations.alive(user, active) if active else None
                if head is None:
                    return False
                environment.generations.cancel(user, head)
            except StorageError:
                self._storage_error()
                return True
            there = self.raw_head(user, head.gid)
            if there is not None and there["st"] == "run" and not there.get("cx"):
                raise Violation("I7: a cancel was acknowledged, and is not there")
            self.counts["cancel acknowledged"] += there is not None and there["st"] == "run"
        return True

    def delete(self) -> bool:
        """Somebody deletes a conversation, or goes on deleting one."""
        environment = self._idle()
        if environment is None or not self.known:
            return False
        user, conversation = self.random.choice(sorted(self.deleting) or self.known[-6:])
        if (user, conversation) in self.deleted and (user, conversation) not in self.deleting:
            return False
        with self._act(environment, user, f"delete {conversation}"):
            self.deleting.add((user, conversation))
            self._delete(environment, user, conversation)
        return True

    def _delete(self, environment: Environment, user: str, conversation: str) -> None:
        pk, runs = keys.conversation(user, conversation), False
        if active := self.dynamo.items.get((pk, keys.META), {}).get("active"):
            runs = (self.raw_head(user, active) or {}).get("st") == "run"
        deadline = self.at + (self.random.uniform(0, 3) if not self.calm else 1e9)
        try:
            done = environment.erasure.conversation(user, conversation, deadline)
        except StorageError:
            return
        except NotFound:
            self.deleting.discard((user, conversation))
            return
        if not done:
            self.counts["deletion broken off"] += 1
            return
        self.counts["deleted mid-answer"] += runs
        self.deleting.discard((user, conversation))
        left = [item["sk"] for item in self.dynamo.partition(pk)]
        if left not in ([], [keys.META]) and self._meta_deleted(pk):
            raise Violation(f"I14: deleted, and still there: {left}")

    def erase(self) -> bool:
        """Somebody takes everything away, also what they began a moment ago, or a task goes on with that."""
        environment, user = self._idle(), self.users[-1]
        if environment is None or (not self._is_erased(user) and self.random.random() < 0.6):
            return False
        with self._act(environment, user, "erase all"):
            with suppress(StorageError, BeingErased):
                environment.conversations.create(user, self._new("conversation"), None)
            self._erase(environment, user)
        return True

    def _erase(self, environment: Environment, user: str) -> None:
        deadline = self.at + (self.random.uniform(1, 40) if not self.calm else 1e9)
        calls = [environment.erasure.everything, environment.erasure.resume]
        call = self.random.choice(calls) if self._is_erased(user) else calls[0]
        erasures = self.erasures[user]
        try:
            done = call(user, deadline)
        except StorageError:
            self._storage_error()
            return
        if not done:
            self.counts["erasure broken off"] += 1
        elif self._is_erased(user) and self.erasures[user] == erasures:
            raise Violation("I14: all is erased, and the mark is there")

    def add_up(self) -> bool:
        """Somebody asks what was used so far; perhaps the table reads no batch to its end."""
        environment = self._idle()
        if environment is None:
            return False
        user = self.random.choice(self.users)
        day, least = self._everybody(environment)
        with self._act(environment, user, "add up"):
            self._batches, self._throttled = 0, self.random.random() < 0.1
            try:
                used = environment.usages.look(user, "here")
            except StorageError:
                self._storage_error()
                return True
            finally:
                self._throttled = False
            same, most = self._everybody(environment)
            if day == same and not least <= used.everybody.tokens <= most:
                raise Violation(f"I13: {used.everybody.tokens} tokens are read, and {least} to {most} were counted")
        return True

    def _everybody(self, environment: Environment) -> tuple[str, int]:
        """The day by the environment's clock, and the tokens that are counted in it."""
        day = datetime.fromtimestamp(self.at + environment.skew, UTC).date().isoformat()
        shards = (self.dynamo.items.get(keys.everybodys_day(day, shard), {}) for shard in range(limits.SHARDS))
        return day, sum(int(item[name]) for item in shards if item for name in ("tokens_in", "tokens_out"))

    def rename(self) -> bool:
        """Somebody names a conversation, perhaps a deleted one."""
        environment = self._idle()
        if environment is None or not self.known:
            return False
        user, conversation = self.random.choice(self.known[-6:])
        gone = (user, conversation) in self.deleted
        with self._act(environment, user, f"rename {conversation}"):
            try:
                environment.conversations.rename(user, conversation, "title")
            except (StorageError, NotFound):
                return True
            if gone and (user, conversation) in self.deleted:
                raise Violation("I14: a deleted conversation has a new name")
        return True

    def create(self) -> bool:
        """Somebody creates a conversation, perhaps under an id that was deleted."""
        environment = self._idle()
        if environment is None:
            return False
        user = self.random.choice(self.users)
        mine = [conversation for name, conversation in self.known if name == user]
        conversation = self.random.choice(mine) if mine and self.random.random() < 0.5 else self._new("conversation")
        with self._act(environment, user, f"create {conversation}"):
            try:
                environment.conversations.create(user, conversation, None)
                if (user, conversation) not in self.known:
                    self.known.append((user, conversation))
            except (StorageError, Exists, BeingErased):
                return True
        return True

    # Reading

    def look(self) -> bool:
        """Any reader looks at a generation, and reaps it if its owner is dead."""
        environment = self._idle()
        if environment is None or not self.spoken:
            return False
        spoken = self.random.choice(list(self.spoken.values())[-8:])
        with self._act(environment, spoken.user, f"look at {spoken.gid[:6]}"):
            try:
                head = environment.generations.alive(spoken.user, spoken.gid)
                since = 0
                if head is not None:
                    read = atoms(environment.generations.read(spoken.user, head, since))
                    same = self.spoken[spoken.where] is spoken
                    if same and (read != atoms(spoken.entries)[: head.n] or len(read) != head.n):
                        raise Violation("I3: what is read is not the log")
            except StorageError:
                self._storage_error()
            except NotFound:  # deleted between the two reads
                if self.raw_head(*spoken.where) is not None:
                    raise Violation("I3: the log is there, and was not found") from None
        return True

    def pry(self) -> bool:
        """Somebody asks for what is not theirs, or is nothing at all."""
        environment = self._idle()
        if environment is None or not self.spoken:
            return False
        spoken = self.random.choice(list(self.spoken.values()))
        stranger = next(user for user in self.users if user != spoken.user)
        gid = self.random.choice((spoken.gid, *HOSTILE))
        with self._act(environment, stranger, f"pry {gid[:6]}"):
            try:
                found = environment.generations.head(stranger, gid)
                if found is not None:
                    raise Violation("I12: a stranger's generation")
                if environment.conversations.recent(stranger, spoken.conversation, 5)[1]:
                    raise Violation("I12: a stranger's messages")
                environment.conversations.rename(stranger, spoken.conversation, "mine")
            except (StorageError, NotFound):
                return True
            raise Violation("I12: a stranger's conversation has a new name")

    def join(self) -> bool:
        """Somebody follows: from the begin, or having seen a part of it live."""
        if not self.spoken or len(self.clients) > 12:
            return False
        spoken = self.random.choice(list(self.spoken.values())[-8:])
        head = self.raw_head(*spoken.where)
        if head is None:
            return False
        fresh = self.random.random() < 0.3
        most = log.end_of(spoken.entries)
        if head["st"] in ("done", "cancel", "error"):
            most = int(head["n"])
        seen = [] if fresh else atoms(spoken.entries)[: self.random.choice((0, most, self.random.randint(0, most)))]
        name = self.random.choice(("tab", self._new("tab"), *HOSTILE))
        self.clients.append(Client(spoken, name, seen, fresh))
        return True

    def follow(self) -> bool:
        """A client reads what there is, and attaches again if it must."""
        environment = self._idle()
        waiting = [client for client in self.clients if not client.over and not client.busy]
        if environment is None or not waiting:
            return False
        client = self.random.choice(waiting)
        with self._act(
            environment, client.spoken.user, f"{client.name!r} follows {client.spoken.gid[:6]} from {len(client.seen)}"
        ):
            client.busy = True
            try:
                self._follow(environment, client)
            finally:
                client.busy = False
        return True

    def _follow(self, environment: Environment, client: Client) -> None:
        spoken = client.spoken
        try:
            if client.following is None and not self._attach(environment, client):
                return
            view = client.following
            if view is None:
                return
            placed = view.wait(client.cursor, following.INTERVAL)
        except StorageError:
            self._storage_error()
            client.following, client.fresh = None, False  # it comes back with its cursor
            return
        except NotFound:
            if (client.spoken.user, client.spoken.conversation) not in self.deleted and not self.lapsed(spoken):
                raise Violation("I3: a follower is told that there is nothing") from None
            client.over = True
            return
        client.cursor += len(placed)
        if self.spoken[spoken.where] is not spoken:  # a day later, and its key was used anew
            client.over = True
            return
        for each in placed:
            self._show(client, spoken, each)
        if view.over and not client.over:
            client.following, client.fresh = None, False

    def _attach(self, environment: Environment, client: Client) -> bool:
        head = environment.generations.alive(client.spoken.user, client.spoken.gid)
        if head is None:
            if not self.lapsed(client.spoken):
                raise Violation("I8: a generation is gone before its time")
            client.over = True
            return False
        view = Following(
            environment.generations,
            environment.conversations,
            client.spoken.user,
            head,
            after=None if client.fresh else len(client.seen),
            client=client.name,
            request_id="request",
            deadline=self.at + 120,
        )
        try:
            view.attach()
        except TooManyFollowers:
            client.over = True
            return False
        client.seen = client.seen if not client.fresh else []
        client.following, client.cursor = view, 0
        self.counts["attached from the table"] += 1
        return True

    def _show(self, client: Client, spoken: Spoken, placed: log.Placed) -> None:
        event = placed.event
        if isinstance(event, (Chunk, Reasoning, Citation)):
            client.seen += atoms([event])
            self.counts["followed"] += 1
        elif isinstance(event, Rollback):
            self.counts["rollback"] += 1
            del client.seen[event.position :]
        if isinstance(event, (Chunk, Reasoning, Citation, Rollback)) and placed.position != len(client.seen):
            raise Violation(f"I3: {len(client.seen)} positions were seen, and the cursor is {placed.position}")
        if client.seen != atoms(spoken.entries)[: len(client.seen)]:
            raise Violation("I3: what a client has seen is not how the answer begins")
        if not isinstance(event, TERMINAL):
            return
        client.over = True
        self.counts["followed to the end"] += 1
        head = self.raw_head(*spoken.where)
        if head is None:
            return
        if head["st"] == "run":
            raise Violation("I2: a terminal event for a generation that runs")
        if int(head["ttl"]) > self.at and client.seen != self.durable(*spoken.where):
            raise Violation(f"I4: the client has {len(client.seen)} positions, the log {head['n']}")
        if not isinstance(event, Complete):
            return
        if spoken.replaced is not None and head["n"] <= spoken.begun:
            if event.ai_message.id != spoken.replaced["id"]:
                raise Violation("I4: the end shows another answer than the one that was put back")
        elif atoms(event.ai_message.parts) != client.seen:
            raise Violation("I4: the end shows another answer than the log")

    def lapsed(self, spoken: Spoken) -> bool:
        """Whether the table may have forgotten it."""
        head = self.raw_head(*spoken.where)
        again = self.spoken[spoken.where] is not spoken  # its key was used anew
        return head is None or again or int(head["ttl"]) <= self.at + 2 * SKEW

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
            head
            for (_, sk), head in self.dynamo.items.items()
            if sk == keys.HEAD and head["st"] == "run" and "closed" not in head
        ]  # fmt: skip
        ends = [min(int(head["lease"]), int(head["dl"])) / 1000 for head in running]
        self.at = max([self.at, *ends]) + PATIENCE_SECONDS + 0.01
        reader = self.environments[0]
        for spoken in self.spoken.values():
            head = reader.generations.alive(spoken.user, spoken.gid)
            if head is not None and head.status == "run":
                raise Violation("I8: it has not ended")
        self._drain_clients(reader)
        for user, conversation in sorted(self.deleting):
            self._delete(reader, user, conversation)
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
        if not isinstance(result, Writer) or reader.turn is None:
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
    "day": 1,
    "skew": 12,
    "race_ahead": 3,
    "deliver": 12,
    "expire": 3,
    "cancel": 22,
    "delete": 8,
    "erase": 10,
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
        mock.patch.object(erasing, "now", iso),
        mock.patch.object(erasure, "time", clock),
        mock.patch.object(limits, "ThreadPoolExecutor", InTurn),
        mock.patch.object(limits, "random", world.random),
        mock.patch.object(table, "random", world.random),
        mock.patch.object(heads, "now", iso),
        mock.patch.object(conversations, "now", iso),
        mock.patch.object(conversations, "time", clock),
        mock.patch.object(following, "time", clock),
        mock.patch.object(following, "new_id", attach),
        mock.patch.object(table, "time", clock),
        mock.patch.object(table, "logger", mock.NonCallableMock()),
        mock.patch.object(generations, "logger", mock.NonCallableMock()),
        mock.patch.object(generations, "count_lost"),
        mock.patch.object(writer, "RUN", RUN),
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
