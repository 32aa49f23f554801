"""What the assistant remembers of a user: facts, and a profile beside them in the same partition."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from converse_stream.aws.embedder import Embedder
from converse_stream.protocol.errors import BadRequest, NotFound
from converse_stream.protocol.ids import new_id, now
from converse_stream.store import erasure_mark, keys
from converse_stream.store.table import Item, Table

SHOWN = ("sk", "text", "kind", "source", "ts", "confidence")  # all but the embedding, which is the largest by far


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
class SearchableFact:
    """A fact as a search sees it; for `embedding` see `converse_stream.aws.embedder`."""

    id: str
    text: str
    embedding: bytes | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """How a user is addressed, and what the assistant is called for them."""

    name: str | None = None
    assistant_name: str | None = None
    about: str | None = None
    learning: bool = True  # whether the assistant may learn from what they say


EMPTY_PROFILE = Profile()

_STORED = {"assistant_name": "assistant"}  # the profile's attributes that are stored under another name

# Named condition on the profile.
_LEARNING_ALLOWED = f"attribute_not_exists(learning) AND {erasure_mark.NOT_ERASING}"


class Facts:
    """One user's facts and profile in the table. `user` is a `User.key` everywhere.

    `embedder` gives a new fact its embedding, if it can.
    """

    def __init__(self, table: Table, embedder: Embedder | None = None) -> None:
        self._table = table
        self._embedder = embedder

    def all(self, user: str) -> list[Fact]:
        """Every fact, oldest first."""
        items = self._table.query(keys.facts(user), "F#", "F#~", only=SHOWN)
        return [_fact(item) for item in sorted(items, key=_age)]

    def searchable(self, user: str) -> list[SearchableFact]:
        """The same for a search, which has no time to read what it does not need."""
        items = self._table.query(keys.facts(user), "F#", "F#~", only=("sk", "text", "ts", "embedding"))
        return [_remembered(item) for item in sorted(items, key=_age)]

    def profile(self, user: str) -> Profile:
        """The profile; an empty one if there is none."""
        return _profile(self._table.get(keys.facts(user), keys.PROFILE) or {})

    def add(self, user: str, text: str, kind: str, *, limit: int) -> Fact:
        """Stores a fact. Raises BadRequest when the user has `limit` of them already."""
        if len(self._table.query(keys.facts(user), "F#", "F#~", only=("sk",))) >= limit:
            raise BadRequest(f"There are {limit} facts already; forget one first.", field="text")
        fact = Fact(new_id(), text, kind, "user", now())
        self._table.put(self._item(user, fact))
        return fact

    def learned(self, user: str, facts: Iterable[Fact]) -> list[Any]:
        """For `transact`: stores what a task has learned; a fact of the same id is the same fact."""
        return [self._table.put_part(self._item(user, fact)) for fact in facts]

    def named(self, user: str, assistant: str) -> Any:
        """For `transact`: what the assistant is called from now on, if the user lets it learn."""
        key, update = (keys.facts(user), keys.PROFILE), "SET assistant = :name"
        return self._table.update_part(*key, update, condition=_LEARNING_ALLOWED, values={":name": assistant})

    def learning_allowed(self, user: str) -> Any:
        """For `transact`: holds while the user lets the assistant learn and is not erased; so does that of `named`."""
        return self._table.check_part(keys.facts(user), keys.PROFILE, condition=_LEARNING_ALLOWED)

    def delete(self, user: str, fact_id: str) -> None:
        """Raises NotFound when the user has no such fact.

        That is read before, because boto3 may delete twice, and the second time there is nothing to delete.
        """
        if self._table.get(keys.facts(user), keys.fact(fact_id)) is None:
            raise NotFound
        self._table.delete(keys.facts(user), keys.fact(fact_id))

    def set_profile(
        self, user: str, name: str | None, assistant: str | None, about: str | None, *, learning: bool | None = None
    ) -> Profile:
        """Replaces the profile, which comes back; `learning` stays as it is where it is None.

        In one write: whoever changes another part meanwhile does not lose it.
        """
        return self.change_profile(user, name=name, assistant_name=assistant, about=about, learning=learning)

    def change_profile(self, user: str, *, learning: bool | None = None, **texts: str | None) -> Profile:
        """Changes the named `texts` of the profile, which comes back; None takes one away.

        In one write, as `set_profile`; `learning` stays as it is where it is None.
        """
        fields: dict[str, str | bool | None] = {_STORED.get(name, name): text for name, text in texts.items()}
        if learning is not None:
            fields["learning"] = None if learning else False
        if not fields:
            return self.profile(user)
        given = {each: value for each, value in fields.items() if value is not None}
        updates = {
            "SET": [f"#{each} = :{each}" for each in given],
            "REMOVE": [f"#{each}" for each in fields.keys() - given.keys()],
        }
        item = self._table.update(
            keys.facts(user),
            keys.PROFILE,
            " ".join(f"{verb} {', '.join(parts)}" for verb, parts in updates.items() if parts),
            values={f":{each}": value for each, value in given.items()},
            names={f"#{each}": each for each in fields},
        )
        return _profile(item)

    def _item(self, user: str, fact: Fact) -> Item:
        embedding = self._embedder.embed(fact.text) if self._embedder else None
        known = {
            "confidence": None if fact.confidence is None else Decimal(str(fact.confidence)),
            "embedding": embedding,
        }
        return {
            "pk": keys.facts(user),
            "sk": keys.fact(fact.id),
            "text": fact.text,
            "kind": fact.kind,
            "source": fact.source,
            "ts": fact.created_at,
            **{name: value for name, value in known.items() if value is not None},
        }


def _profile(item: Item) -> Profile:
    return Profile(item.get("name"), item.get("assistant"), item.get("about"), item.get("learning", True))


def _age(item: Item) -> str:
    time: str = item["ts"]
    return time


def _fact(item: Item) -> Fact:
    confidence = float(item["confidence"]) if "confidence" in item else None
    return Fact(_id(item), item["text"], item["kind"], item["source"], item["ts"], confidence)


def _remembered(item: Item) -> SearchableFact:
    embedding = item.get("embedding")
    return SearchableFact(_id(item), item["text"], bytes(embedding) if embedding else None)


def _id(item: Item) -> str:
    fact_id: str = item["sk"].removeprefix("F#")
    return fact_id
