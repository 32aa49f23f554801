"""What the assistant remembers of a user: facts, and a profile beside them in the same partition."""

from dataclasses import dataclass, field
from typing import Literal

from chat.errors import BadRequest, NotFound
from chat.ids import new_id, now
from chat.memory.embedder import Embedder
from chat.store import keys
from chat.store.table import Item, Table


@dataclass(frozen=True, slots=True)
class Fact:
    """`source` says who wrote it: the user, or a task that learned it."""

    id: str
    text: str
    kind: str
    source: Literal["user"]
    created_at: str
    embedding: bytes | None = field(default=None, repr=False)  # see chat.memory.embedder


@dataclass(frozen=True, slots=True)
class Profile:
    """How a user is addressed, and what the assistant is called for them."""

    name: str | None = None
    assistant_name: str | None = None
    about: str | None = None


NOBODY = Profile()


class Facts:
    """One user's facts and profile in the table. `user` is a `User.key` everywhere.

    `embedder` gives a new fact its embedding, if it can.
    """

    def __init__(self, table: Table, embedder: Embedder | None = None) -> None:
        self._table = table
        self._embedder = embedder

    def all(self, user: str) -> list[Fact]:
        """Every fact, oldest first."""
        items = self._table.query(keys.facts(user), "F#", "F#~")
        return sorted(map(_fact, items), key=lambda fact: fact.created_at)

    def profile(self, user: str) -> Profile:
        """The profile; an empty one if there is none."""
        item = self._table.get(keys.facts(user), keys.PROFILE) or {}
        return Profile(item.get("name"), item.get("assistant"), item.get("about"))

    def add(self, user: str, text: str, kind: str, *, limit: int) -> Fact:
        """Stores a fact. Raises BadRequest when the user has `limit` of them already."""
        if len(self.all(user)) >= limit:
            raise BadRequest(f"There are {limit} facts already; forget one first.", field="text")
        embedding = self._embedder.embed(text) if self._embedder else None
        fact = Fact(new_id(), text, kind, "user", now(), embedding=embedding)
        item = {
            "pk": keys.facts(user),
            "sk": keys.fact(fact.id),
            "text": text,
            "kind": kind,
            "source": fact.source,
            "ts": fact.created_at,
        }
        self._table.put(item | ({"embedding": embedding} if embedding else {}))
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


def _fact(item: Item) -> Fact:
    embedding = item.get("embedding")
    return Fact(
        item["sk"].removeprefix("F#"),
        item["text"],
        item["kind"],
        item["source"],
        item["ts"],
        embedding=bytes(embedding) if embedding else None,
    )
