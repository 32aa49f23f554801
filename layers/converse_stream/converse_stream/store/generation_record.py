"""The generation record (item H) as a value, its stored form, and the conditions for writing it."""

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
from converse_stream.store.values import Item

Status: TypeAlias = Literal["run", "done", "cancel", "error", "lost"]

LEASE_MS = 15_000  # every flush renews the lease
LEASE_GRACE_MS = 10_000  # after the lease, before another function may end the generation: clocks differ
LOG_LIFETIME = 24 * 3600  # seconds after its start for which a log is stored

# Named conditions on H. `:n` is the log length that the writer knows.
IS_OWNER = "st = :run AND own = :me AND n = :n"
IS_UNCHANGED = "st = :run AND lease = :lease AND n = :n"
IS_RUNNING = "st = :run"
# A record may be replaced when its `ttl` has passed, or when its start was given up. `closed` has the owners that gave
# up. Their own late writes must not replace the record.
IS_REPLACEABLE = "attribute_not_exists(pk) OR #ttl <= :now OR (attribute_exists(closed) AND NOT contains(closed, :me))"
IS_CLOSABLE = "attribute_not_exists(pk) OR #ttl <= :now OR attribute_exists(closed)"


@dataclass(frozen=True, slots=True)
class Estimate:
    """The expected usage of an answer.

    `input_cost` is in billionths of a US dollar, and None if the request has its own Bedrock key.
    """

    input_tokens: int = 0
    input_cost: int | None = None
    output_price: int = 0  # of a million tokens

    def usage(self, entries: Iterable[Entry]) -> Usage:
        """The estimated usage of an answer with these log entries."""
        text = "".join(entry.content for entry in entries if isinstance(entry, (Chunk, Reasoning)))
        tokens = estimate_tokens(text)
        cost = None if self.input_cost is None else self.input_cost + tokens * self.output_price // 1_000_000
        return Usage(self.input_tokens, tokens, basis="estimated", cost=cost)


NO_ESTIMATE = Estimate()  # of a record that an earlier version of this code stored


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """The state of one generation, stored as item H. Times are in ms since the epoch.

    `seq` is the number of its answer in the conversation. `length` is the length of the durable log, `tail_start` the
    position where its tail begins. `prefix_length` is the length of the log at the start: not 0 if the generation
    continues an answer. `replaces` is the generation whose answer this one replaces.
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
    followed_until: int = 0
    reason: str | None = None  # after the end: the finish reason or the error code
    usage: Usage | None = None
    prefix_length: int = 0
    replaces: str | None = None
    estimate: Estimate = NO_ESTIMATE

    @property
    def restores_replaced(self) -> bool:
        """Whether the end of this generation restores the replaced answer: the log has nothing new."""
        return self.replaces is not None and self.length <= self.prefix_length

    @property
    def answer_generations(self) -> Sequence[str]:
        """The generations whose answer the conversation may have after the end, the more likely one first."""
        return (self.gid, self.replaces) if self.replaces is not None and self.restores_replaced else (self.gid,)

    def is_dead(self, at: int) -> bool:
        """Whether the owner cannot write any more at time `at`: its lease or its function's deadline has passed."""
        return self.status == "run" and at > min(self.lease, self.deadline) + LEASE_GRACE_MS


@dataclass(frozen=True, slots=True)
class End:
    """The final state of a generation. `reason` is the finish reason or the error code."""

    status: Status
    reason: str
    usage: Usage


def generation_id(user: str, key: str) -> str:
    """The generation id of a send: the same for each retry with this idempotency key, different for other users."""
    return _hash("generation", user, key)


def conversation_id(gid: str) -> str:
    """The conversation id for a first message without one; a retry gets the same id."""
    return _hash("conversation", gid)


def _hash(*fields: str) -> str:
    digest = hashlib.sha256()
    for field in fields:
        encoded = field.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return base64.urlsafe_b64encode(digest.digest()[:18]).decode()


def key(user: str, gid: str) -> tuple[str, str]:
    """The key of the record's item."""
    return keys.generation(user, gid), keys.RECORD


def to_item(user: str, record: GenerationRecord, ttl: int) -> Item:
    """The item of a new record; `ttl` is in seconds since the epoch."""
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
    """The record that an item holds."""
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
