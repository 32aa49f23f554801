"""What must hold after every write: I1, I2, I5, I6, I8, I9, I13 and I14 of the store's design."""

from collections.abc import Sequence

from converse_stream.protocol import log
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.store import keys, messages
from tests.property.fake_table import Change, Item, Violation
from tests.property.walk_actors import SKEW, KnownGeneration, atoms
from tests.property.walk_state import State


class Invariants(State):
    """The checks, made when a write is committed."""

    def committed(self, changes: Sequence[Change]) -> None:
        """See Steering: every invariant that a single write can break."""
        self.index.note(changes)
        for change in changes:
            self.counts["sealed"] += change.key[1].startswith("S#") and change.new is not None
            (pk, sk), old, new = change.key, change.old, change.new
            if sk == keys.RECORD:
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
            self.spoken[user, gid] = KnownGeneration(
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

    def _check_end(self, spoken: KnownGeneration, record: Item) -> None:
        """What must hold when a generation has just ended."""
        pk = keys.conversation(spoken.user, spoken.conversation)
        if record["st"] == "lost":
            new = self.durable(*spoken.where)[spoken.begun :]
            said = estimate_tokens("".join(character for kind, character in new if kind in "tr"))
            usage = record["usage"]
            if (usage["input_tokens"], usage["output_tokens"]) != (self.estimates[record["own"]], said):
                raise Violation("I13: a lost answer is not charged for what it read and said")
        if spoken.replaced is None or record["n"] > spoken.begun or self._meta_deleted(pk):
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
        record = self.raw_record(user, gid)
        spoken = self.spoken.get((user, gid))
        if record is None or spoken is None or int(record["ttl"]) <= self.at:  # its segments may be swept before it
            return
        flat = self.durable(user, gid)
        if len(flat) != record["n"]:
            raise Violation(f"I1: the log has {len(flat)} positions, n is {record['n']}")
        if flat != atoms(spoken.entries)[: len(flat)]:
            raise Violation("I1: the durable log is not how the answer begins")

    def _check_active(self, user: str, gid: str) -> None:
        record = self.raw_record(user, gid)
        if record is None or self.lapsed(self.spoken[user, gid]):
            return
        meta = self.dynamo.items.get((keys.conversation(user, record["conv"]), keys.META))
        active = meta is not None and "deleted" not in meta and meta.get("active") == gid
        runs = record["st"] == "run"
        if meta is not None and "deleted" not in meta and active != runs:
            raise Violation(f"I8: {record['st']}, and active is {meta.get('active')}")

    def _check_conversation(self, user: str, conversation: str) -> None:
        pk = keys.conversation(user, conversation)
        meta = self.dynamo.items.get((pk, keys.META))
        if meta is None or "deleted" in meta:
            return
        active = meta.get("active")
        record = self.raw_record(user, active) if active else None
        if active and record is None and (user, active) not in self.gone:
            raise Violation("I8: active names nothing")
        if active and record and record["st"] != "run" and not self.lapsed(self.spoken[user, active]):
            raise Violation(f"I8: active names a generation that is {record['st']}")
        seq = int(meta["seq"])
        if seq % 2:
            raise Violation("I9: seq is odd")
        found = {messages.seq_of(item): item for item in self.dynamo.partition(pk, "M#")}
        for place in range(1, seq + 1):
            item = found.pop(place, None)
            if item is None:
                forgotten = any(map(self.lapsed, self.places.get((user, conversation, place), ())))
                if not (place == seq and active) and not forgotten:
                    raise Violation(f"I9: no message at {place} of {seq}")
                if place == seq and not active and self.dynamo.partition(pk, keys.replaced(seq, "")):
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
        record = self.raw_record(user, gid)
        # Its log is forgotten, or swept in part, and the key may have been used again.
        if record is None or record["mid"] != item["id"] or int(record["ttl"]) <= self.at:
            return
        if record["st"] == "run":
            raise Violation("I9: the answer is stored, and its generation runs")
        data = bytes(item["parts"])
        for number in range(1, int(item["pieces"]) + 1):
            rest = keys.continuation(messages.seq_of(item), item["id"], number)
            data += bytes(self.dynamo.items[item["pk"], rest]["parts"])
        if atoms(log.decode(data)) != self.durable(user, gid):
            raise Violation("I9: the message is not what the log says")

    def _check_usage(self, user: str) -> None:
        """I13, for as long as the table remembers both sides."""
        if user in self.uncounted:
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
