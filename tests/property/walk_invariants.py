"""Invariants checked after every write: I1, I2, I5, I6, I8, I9, I13 and I14 of the store's design."""

from collections.abc import Sequence

from converse_stream.protocol import log
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.store import keys, messages
from tests.property.fake_table import Change, Item, Violation
from tests.property.walk_actors import SKEW, KnownGeneration, atoms
from tests.property.walk_state import State


class Invariants(State):
    """Checks of committed writes."""

    def committed(self, changes: Sequence[Change]) -> None:
        """See TableHooks. Checks every invariant that a single write can break."""
        self.index.note(changes)
        for change in changes:
            self.counts["sealed"] += change.key[1].startswith("S#") and change.new is not None
            (pk, sk), old, new = change.key, change.old, change.new
            if sk == keys.RECORD:
                self._check_record(pk, old, new, changes)
            elif sk == keys.META:
                self._check_meta(pk, old, new)
            elif sk == keys.PROFILE:
                self._check_erased(pk, old or {}, new or {})
            elif sk.startswith("D#") and new is None and pk.startswith("U#"):
                self.users_without_usage_check.add(pk.removeprefix("U#").removesuffix("#R"))
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
        """Checks that the table has failed during the current action: only then may it end with a storage error."""
        if self._actions and self._actions[-1][3] == self._faults:
            raise Violation("I8: a storage error although the table did not fail")

    def _check_record(self, pk: str, old: Item | None, new: Item | None, changes: Sequence[Change]) -> None:
        user, gid = self._generation(pk)
        if old is not None and "closed" in old:  # a closed key, not a generation
            self.counts["a closed key is reused"] += new is not None and "closed" not in new
            old = None
        elif old is not None and new is not None and ("closed" in new or old["own"] != new["own"]):
            if int(old["ttl"]) > self.now + SKEW:
                raise Violation("I5: the owner of a generation changed")
            self.counts["a record is replaced before it is removed"] += 1
            self.removed.add((user, gid))
            self.users_without_usage_check.add(user)
            old = None
        if new is not None and "closed" in new:
            self.counts["a key is closed"] += 1
            return
        if new is None:
            if old is None:  # a repeated delete
                return
            deleted = old["st"] != "run" and (user, old["conv"]) in self.deleted
            if int(old["ttl"]) >= self.now and not deleted:
                raise Violation("I2: a record is removed before its ttl")
            self.removed.add((user, gid))
            self.users_without_usage_check.add(user)
            return
        known = self.known_generations.get((user, gid))
        if old is None:
            if known is not None and (user, gid) not in self.removed:
                raise Violation("I6: a second generation for one key")
            self.removed.discard((user, gid))
            self._created_at_call[user, gid] = self._calls
            if new["own"] in self.failed_owners:
                raise Violation("I6: a start that failed for its sender begins a generation")
            prefix = log.decode(bytes(new["tail"]))
            replaced = [change.old for change in changes if change.key[1].startswith("M#") and change.new is None]
            self.known_generations[user, gid] = KnownGeneration(
                user,
                gid,
                new["conv"],
                int(new["seq"]),
                prefix,
                prefix_length=log.end_of(prefix),
                replaced=replaced[0] if replaced else None,
            )
            self.places.setdefault((user, new["conv"], int(new["seq"])), []).append(self.known_generations[user, gid])
            return
        if new["n"] < old["n"]:
            raise Violation("I2: n decreases")
        fixed = ("own", "fp", "conv", "seq", "mid", "dl")
        if any(old[name] != new[name] for name in fixed):
            raise Violation("I5: the owner of a generation changed")
        if old["st"] != "run":
            if old != new:
                raise Violation("I2: an ended generation changes")
            return
        if new["st"] == "lost":
            self.counts["reaped"] += 1
            deadline = int(old["dl"]) / 1000 + SKEW
            lease_until = max(known.lease_until if known else 0.0, int(old["lease"]) / 1000 + SKEW)
            if self.now <= min(lease_until, deadline):
                raise Violation("I5: a generation with a valid lease is reaped")
        elif known and new["lease"] < old["lease"]:  # a late write, or a clock that was set back
            known.lease_until = min(known.lease_until, int(new["lease"]) / 1000 - SKEW)
        if old.get("cx") and not new.get("cx"):
            raise Violation("I7: a cancel is lost")
        if known and new["st"] != "run":
            self._check_end(known, new)

    def _check_end(self, known: KnownGeneration, record: Item) -> None:
        """Checks a generation that has just ended."""
        pk = keys.conversation(known.user, known.conversation)
        if record["st"] == "lost":
            new = self.durable(*known.key)[known.prefix_length :]
            output_tokens = estimate_tokens("".join(character for kind, character in new if kind in "tr"))
            usage = record["usage"]
            if (usage["input_tokens"], usage["output_tokens"]) != (self.estimates[record["own"]], output_tokens):
                raise Violation("I13: a lost generation is not charged for its input and output tokens")
        if known.replaced is None or record["n"] > known.prefix_length or self._meta_deleted(pk):
            return
        self.counts["answer restored"] += 1
        if self.dynamo.items.get((pk, keys.message(known.place))) != known.replaced:
            raise Violation("I9: a replaced answer is not restored although the new one is empty")

    def _check_meta(self, pk: str, old: Item | None, new: Item | None) -> None:
        user, conversation = self._conversation(pk)
        if new is None:
            if old is None:  # a repeated delete
                return
            if int(old.get("ttl", self.now)) >= self.now and not self._is_erased(user):
                raise Violation("I14: the mark of a deleted conversation is removed before its ttl")
            if any(sk != keys.META for other_pk, sk in self.dynamo.items if other_pk == pk):
                raise Violation("I14: the mark is removed before the messages of the deleted conversation")
            self.deleted.discard((user, conversation))
            self.deleting.discard((user, conversation))
            return
        requested = (user, conversation) in self.deleting or self._is_erased(user) or self._delivering
        if "deleted" in new and "deleted" not in (old or {}) and not requested:
            raise Violation("I14: a conversation is deleted without a request")
        restored = "deleted" not in new or (old is not None and new["seq"] != old["seq"])
        restored = restored or new["gsi1pk"] == keys.user(user)
        if old is not None and "deleted" in old and restored:
            raise Violation("I14: a deleted conversation is restored")
        if "deleted" in new:
            self.deleted.add((user, conversation))
        if old is None and not new.get("id"):
            raise Violation("I14: a new conversation without an id")
        if old is not None and new["seq"] < old["seq"]:
            raise Violation("I9: seq decreases")

    def _check_erased(self, pk: str, old: Item, new: Item) -> None:
        """Checks I14: a completed erasure leaves no conversation."""
        user = pk.removeprefix("U#").removesuffix("#F")
        if old.get("erasing") == new.get("erasing"):
            return
        self.erasures[user] += 1
        if "erasing" in new:
            return
        self.counts["erased"] += 1
        remaining = [key for key in self.dynamo.items if key[0].startswith(f"{keys.user(user)}#C#")]
        if remaining:
            raise Violation(f"I14: {user} is erased, but these items remain: {remaining}")

    def _is_erased(self, user: str) -> bool:
        return "erasing" in self.dynamo.items.get((keys.facts(user), keys.PROFILE), {})

    def _check_log(self, user: str, gid: str) -> None:
        """Checks I1: the stored log is contiguous and a prefix of the answer."""
        record = self.raw_record(user, gid)
        known = self.known_generations.get((user, gid))
        if record is None or known is None or int(record["ttl"]) <= self.now:  # its segments may be removed before it
            return
        flat = self.durable(user, gid)
        if len(flat) != record["n"]:
            raise Violation(f"I1: the log has {len(flat)} positions, n is {record['n']}")
        if flat != atoms(known.entries)[: len(flat)]:
            raise Violation("I1: the stored log is not a prefix of the answer")

    def _check_active(self, user: str, gid: str) -> None:
        record = self.raw_record(user, gid)
        if record is None or self.expired(self.known_generations[user, gid]):
            return
        meta = self.dynamo.items.get((keys.conversation(user, record["conv"]), keys.META))
        active = meta is not None and "deleted" not in meta and meta.get("active") == gid
        is_running = record["st"] == "run"
        if meta is not None and "deleted" not in meta and active != is_running:
            raise Violation(f"I8: {record['st']}, and active is {meta.get('active')}")

    def _check_conversation(self, user: str, conversation: str) -> None:
        pk = keys.conversation(user, conversation)
        meta = self.dynamo.items.get((pk, keys.META))
        if meta is None or "deleted" in meta:
            return
        active = meta.get("active")
        record = self.raw_record(user, active) if active else None
        if active and record is None and (user, active) not in self.removed:
            raise Violation("I8: active names a generation that does not exist")
        if active and record and record["st"] != "run" and not self.expired(self.known_generations[user, active]):
            raise Violation(f"I8: active names a generation that is {record['st']}")
        seq = int(meta["seq"])
        if seq % 2:
            raise Violation("I9: seq is odd")
        stored = {messages.seq_of(item): item for item in self.dynamo.partition(pk, "M#")}
        for place in range(1, seq + 1):
            item = stored.pop(place, None)
            if item is None:
                may_be_expired = any(map(self.expired, self.places.get((user, conversation, place), ())))
                if not (place == seq and active) and not may_be_expired:
                    raise Violation(f"I9: no message at {place} of {seq}")
                if place == seq and not active and self.dynamo.partition(pk, keys.replaced(seq, "")):
                    raise Violation("I9: a replaced answer is not restored although the new one is empty")
                continue
            if item["role"] != ("user" if place % 2 else "assistant"):
                raise Violation(f"I9: {item['role']} at {place}")
            if place == seq and active:
                raise Violation("I9: an answer at the place of a running generation")
            if not place % 2:
                self._check_answer(user, item)
        if stored:
            raise Violation(f"I9: messages at {sorted(stored)}, seq is {seq}")
        for item in self.dynamo.partition(pk, "E#"):
            self._check_answer(user, item)

    def _check_answer(self, user: str, item: Item) -> None:
        gid = item["gid"]
        record = self.raw_record(user, gid)
        # Its log is expired or partly removed, or the key was reused.
        if record is None or record["mid"] != item["id"] or int(record["ttl"]) <= self.now:
            return
        if record["st"] == "run":
            raise Violation("I9: the answer is stored although its generation is running")
        data = bytes(item["parts"])
        for number in range(1, int(item["pieces"]) + 1):
            rest = keys.continuation(messages.seq_of(item), item["id"], number)
            data += bytes(self.dynamo.items[item["pk"], rest]["parts"])
        if atoms(log.decode(data)) != self.durable(user, gid):
            raise Violation("I9: the message differs from the log")

    def _check_usage(self, user: str) -> None:
        """Checks I13, as long as the table has both the records and the usage."""
        if user in self.users_without_usage_check:
            return
        records = [item for (pk, sk), item in self.dynamo.items.items()
                 if sk == keys.RECORD and pk.startswith(f"U#{user}#")
                 and item["st"] != "run" and "closed" not in item]  # fmt: skip
        days = self.dynamo.partition(keys.limits(user), "D#")
        for name, expected in (
            ("requests", len(records)),
            ("tokens_in", sum(int(record["usage"]["input_tokens"]) for record in records)),
            ("tokens_out", sum(int(record["usage"]["output_tokens"]) for record in records)),
        ):
            counted = sum(int(day[name]) for day in days)
            if counted != expected:
                raise Violation(f"I13: {name} is {counted}, and should be {expected}")
