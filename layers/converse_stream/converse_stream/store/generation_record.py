"""The item H of a generation, as a value: what it is, how it is stored, and the conditions that guard it."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from converse_stream.protocol import log
from converse_stream.protocol.events import Chunk, Reasoning, Usage
from converse_stream.protocol.log import Entry
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.store import keys, messages
from converse_stream.store.table import Item

Status: TypeAlias = Literal["run", "done", "cancel", "error", "lost"]

LEASE_MS = 15_000  # ms; renewed by every flush
LEASE_GRACE_MS = 10_000  # ms past the lease before anybody else ends it: clocks differ
LOG_LIFETIME = 24 * 3600  # seconds that a log is kept after its start

# Named conditions on H.
IS_OWNER = "st = :run AND own = :me AND n = :n"
IS_UNCHANGED = "st = :run AND lease = :lease AND n = :n"
IS_RUNNING = "st = :run"
# A head may be replaced when its time is over, or when its start was given up (`closed`), but not by that start.
IS_REPLACEABLE = "attribute_not_exists(pk) OR #ttl <= :now OR (attribute_exists(closed) AND NOT contains(closed, :me))"
IS_CLOSABLE = "attribute_not_exists(pk) OR #ttl <= :now OR attribute_exists(closed)"


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an answer is expected to use. Costs are in billionths of a US dollar, None where somebody else pays."""

    input_tokens: int = 0
    input_cost: int | None = None
    output_price: int = 0  # for a million tokens

    def usage(self, said: Iterable[Entry]) -> Usage:
        """The usage of an answer that said this, and that nobody has counted."""
        text = "".join(entry.content for entry in said if isinstance(entry, (Chunk, Reasoning)))
        tokens = estimate_tokens(text)
        cost = None if self.input_cost is None else self.input_cost + tokens * self.output_price // 1_000_000
        return Usage(self.input_tokens, tokens, basis="estimated", cost=cost)


NO_ESTIMATE = Estimate()  # of a head that an earlier version has stored


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """The item H. Times are in ms since the epoch; `n` is how long the durable log is, `t0` where its tail begins.

    `prefix_length` is how long the log was at the start, `replaces` the generation whose answer this one replaces.
    """

    gid: str
    status: Status
    owner: str
    fingerprint: str
    conversation: str
    seq: int
    message_id: str
    model: str
    length: int
    tail_start: int
    tail: tuple[Entry, ...]
    lease: int
    deadline: int
    cancelled: bool = False
    followed_until: int = 0  # until when somebody follows
    reason: str | None = None  # how it ended: the finish reason, or the error's code
    usage: Usage | None = None
    prefix_length: int = 0
    replaces: str | None = None
    estimate: Estimate = NO_ESTIMATE

    @property
    def restores_replaced(self) -> bool:
        """Whether its end puts the replaced answer back, because nothing new has come."""
        return self.replaces is not None and self.length <= self.prefix_length

    @property
    def answer_generations(self) -> Sequence[str]:
        """The generations of the answer that its end leaves in the conversation, the likelier one first."""
        return (self.gid, self.replaces) if self.replaces is not None and self.restores_replaced else (self.gid,)

    def is_dead(self, at: int) -> bool:
        """Its owner can no longer write: past its lease, or past the hard deadline of its function."""
        return self.status == "run" and at > min(self.lease, self.deadline) + LEASE_GRACE_MS


@dataclass(frozen=True, slots=True)
class End:
    """How a generation ends."""

    status: Status
    reason: str
    usage: Usage


def generation_id(user: str, key: str) -> str:
    """The same for every retry of one send, and for nobody else's."""
    return _hash("generation", user, key)


def conversation_id(gid: str) -> str:
    """For a first message without one, so that a retry finds it again."""
    return _hash("conversation", gid)


def _hash(*fields: str) -> str:
    digest = hashlib.sha256()
    for each in fields:
        encoded = each.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return base64.urlsafe_b64encode(digest.digest()[:18]).decode()


def key(user: str, gid: str) -> tuple[str, str]:
    """Where it is stored."""
    return keys.generation(user, gid), keys.RECORD


def to_item(user: str, record: GenerationRecord, ttl: int) -> Item:
    """As it is stored when it begins; `ttl` is in seconds since the epoch."""
    estimate = record.estimate
    costs = {} if estimate.input_cost is None else {"cin": estimate.input_cost, "cout": estimate.output_price}
    replaces = {} if record.replaces is None else {"prev": record.replaces}
    return {
        "pk": keys.generation(user, record.gid),
        "sk": keys.RECORD,
        "st": record.status,
        "own": record.owner,
        "fp": record.fingerprint,
        "conv": record.conversation,
        "seq": record.seq,
        "mid": record.message_id,
        "model": record.model,
        "n": record.length,
        "t0": record.tail_start,
        "tail": log.encode(record.tail),
        "lease": record.lease,
        "dl": record.deadline,
        "ttl": ttl,
        "b0": record.prefix_length,
        "tin": estimate.input_tokens,
        **costs,
        **replaces,
    }


def from_item(item: Item) -> GenerationRecord:
    """What is stored, as a value."""
    return GenerationRecord(
        gid=item["pk"].rpartition("#")[2],
        status=item["st"],
        owner=item["own"],
        fingerprint=item["fp"],
        conversation=item["conv"],
        seq=int(item["seq"]),
        message_id=item["mid"],
        model=item["model"],
        length=int(item["n"]),
        tail_start=int(item["t0"]),
        tail=tuple(log.decode(bytes(item["tail"]))),
        lease=int(item["lease"]),
        deadline=int(item["dl"]),
        cancelled=bool(item.get("cx", False)),
        followed_until=int(item.get("fw", 0)),
        reason=item.get("reason"),
        usage=messages.read_usage(item.get("usage")),
        prefix_length=int(item.get("b0", 0)),
        replaces=item.get("prev"),
        estimate=Estimate(
            int(item.get("tin", 0)), int(item["cin"]) if "cin" in item else None, int(item.get("cout", 0))
        ),
    )
