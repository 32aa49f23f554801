"""What the assistant remembers of a user: facts, and a profile beside them in the same partition."""

from dataclasses import dataclass
from typing import Literal

from chat.errors import BadRequest, NotFound
from chat.ids import new_id, now
from chat.store import keys
from chat.store.table import Table


@dataclass(frozen=True, slots=True)
class Fact:
    """`source` says who wrote it: the user, or a task that learned it."""

    id: str
    text: str
    kind: str
    source: Literal["user"]
    created_at: str


@dataclass(frozen=True, slots=True)
class Profile:
    """How a user is addressed, and what the assistant is called for them."""

    name: str | None = None
    assistant_name: str | None = None
    about: str | None = None


NOBODY = Profile()


class Facts:
    """One user's facts and profile in the table. `user` is a `User.key` everywhere."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def all(self, user: str) -> tuple[list[Fact], Profile]:
        """Every fact, oldest first, and the profile, in one query."""
        items = self._table.query(keys.facts(user), "F#", keys.PROFILE)
        facts = [
            Fact(item["sk"].removeprefix("F#"), item["text"], item["kind"], item["source"], item["ts"])
            for item in items
            if item["sk"] != keys.PROFILE
        ]
        profile = next((item for item in items if item["sk"] == keys.PROFILE), {})
        return sorted(facts, key=lambda fact: fact.created_at), Profile(
            profile.get("name"), profile.get("assistant"), profile.get("about")
        )

    def add(self, user: str, text: str, kind: str, *, limit: int) -> Fact:
        """Stores a fact. Raises BadRequest when the user has `limit` of them already."""
        if len(self.all(user)[0]) >= limit:
            raise BadRequest(f"There are {limit} facts already; forget one first.", field="text")
        fact = Fact(new_id(), text, kind, "user", now())
        self._table.put(
            {
                "pk": keys.facts(user),
                "sk": keys.fact(fact.id),
                "text": text,
                "kind": kind,
                "source": fact.source,
                "ts": fact.created_at,
            }
        )
        return fact

    def forget(self, user: str, fact_id: str) -> None:
        """Raises NotFound when the user has no such fact."""
        if not self._table.delete(keys.facts(user), keys.fact(fact_id)):
            raise NotFound

    def set_profile(self, user: str, profile: Profile) -> None:
        """Replaces the profile."""
        fields = {"name": profile.name, "assistant": profile.assistant_name, "about": profile.about}
        given = {name: value for name, value in fields.items() if value is not None}
        self._table.put({"pk": keys.facts(user), "sk": keys.PROFILE, **given})
