"""What the assistant remembers of a user: facts, and a profile beside them in the same partition."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from chat.errors import BadRequest, NotFound
from chat.ids import new_id, now
from chat.store import keys
from chat.store.table import Item, Table


@dataclass(frozen=True, slots=True)
class Fact:
    """`source` is `user` for what they wrote themselves, else the conversation that it was learned in.

    `confidence`, of a learned one, is from 0 to 1.
    """

    id: str
    text: str
    kind: str
    source: str
    created_at: str
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """How a user is addressed, and what the assistant is called for them."""

    name: str | None = None
    assistant_name: str | None = None
    about: str | None = None
    learning: bool = True  # whether the assistant may learn from what they say


NOBODY = Profile()


class Facts:
    """One user's facts and profile in the table. `user` is a `User.key` everywhere."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def all(self, user: str) -> tuple[list[Fact], Profile]:
        """Every fact, oldest first, and the profile, in one query."""
        items = self._table.query(keys.facts(user), "F#", keys.PROFILE)
        facts = [_fact(item) for item in items if item["sk"] != keys.PROFILE]
        profile = next((item for item in items if item["sk"] == keys.PROFILE), {})
        return sorted(facts, key=lambda fact: fact.created_at), Profile(
            profile.get("name"), profile.get("assistant"), profile.get("about"), profile.get("learning", True)
        )

    def add(self, user: str, text: str, kind: str, *, limit: int) -> Fact:
        """Stores a fact. Raises BadRequest when the user has `limit` of them already."""
        if len(self.all(user)[0]) >= limit:
            raise BadRequest(f"There are {limit} facts already; forget one first.", field="text")
        fact = Fact(new_id(), text, kind, "user", now())
        self._table.put(_item(user, fact))
        return fact

    def learned(self, user: str, facts: Iterable[Fact]) -> list[Any]:
        """For `transact`: stores what a task has learned."""
        return [self._table.absent(_item(user, fact)) for fact in facts]

    def named(self, user: str, assistant: str) -> Any:
        """For `transact`: what the assistant is called from now on."""
        update, values = "SET assistant = :name", {":name": assistant}
        return self._table.update(keys.facts(user), keys.PROFILE, update, values=values)

    def forget(self, user: str, fact_id: str) -> None:
        """Raises NotFound when the user has no such fact."""
        if not self._table.delete(keys.facts(user), keys.fact(fact_id)):
            raise NotFound

    def set_profile(self, user: str, profile: Profile) -> None:
        """Replaces the profile."""
        fields = {"name": profile.name, "assistant": profile.assistant_name, "about": profile.about}
        given: Item = {name: value for name, value in fields.items() if value is not None}
        if not profile.learning:
            given["learning"] = False
        self._table.put({"pk": keys.facts(user), "sk": keys.PROFILE, **given})


def _item(user: str, fact: Fact) -> Item:
    item = {
        "pk": keys.facts(user),
        "sk": keys.fact(fact.id),
        "text": fact.text,
        "kind": fact.kind,
        "source": fact.source,
        "ts": fact.created_at,
    }
    return item if fact.confidence is None else {**item, "confidence": Decimal(str(fact.confidence))}


def _fact(item: Item) -> Fact:
    confidence = float(item["confidence"]) if "confidence" in item else None
    fact_id = item["sk"].removeprefix("F#")
    return Fact(fact_id, item["text"], item["kind"], item["source"], item["ts"], confidence)
