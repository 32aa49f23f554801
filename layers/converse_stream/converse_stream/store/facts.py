"""A user's facts and profile, in one partition."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from converse_stream.aws.embedder import Embedder
from converse_stream.protocol.errors import BadRequest, NotFound
from converse_stream.protocol.ids import new_id, now
from converse_stream.store import erasure_marker, keys, search_terms
from converse_stream.store.table import Table
from converse_stream.store.values import Item

SHOWN = (
    "sk",
    "text",
    "kind",
    "source",
    "ts",
    "confidence",
    "message",
)  # all but the embedding and the terms, which are large
SEARCHED = ("sk", "text", "ts", "embedding", search_terms.ATTRIBUTE)


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact about a user. `source` is `user` if the user wrote it, else the conversation that it was learned from.

    `created_at` is the time at which the user said it. `confidence` is from 0 to 1; None if the user wrote the fact.
    `message` is the number (from 1) of the message in the conversation; None if the user wrote the fact, or if an
    earlier version learned it.
    """

    id: str
    text: str
    kind: str
    source: str
    created_at: str
    confidence: float | None = None
    message: int | None = None


@dataclass(frozen=True, slots=True)
class SearchableFact:
    """A fact with what a search and a prompt need.

    For `embedding` see `converse_stream.aws.embedder`, for `terms` `pack` of `converse_stream.store.search_terms`.
    Older facts have no terms.
    """

    id: str
    text: str
    embedding: bytes | None = None
    created_at: str = ""
    terms: bytes | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """How the assistant addresses the user, and the name that the user has given it."""

    name: str | None = None
    assistant_name: str | None = None
    about: str | None = None
    learning: bool = True  # whether the assistant may learn from the user's messages


EMPTY_PROFILE = Profile()

_STORED_NAMES = {"assistant_name": "assistant"}  # of the profile's fields that are stored under another name

# Named condition on the profile.
_LEARNING_ALLOWED = f"attribute_not_exists(learning) AND {erasure_marker.NOT_ERASING}"

# Named condition on a fact.
_IS_UNCHANGED = "attribute_not_exists(pk) OR ts = :ts"  # or is deleted already


class Facts:
    """The facts and profiles in the table. `user` is a `User.key` in all methods.

    `embedder` computes the embeddings of new facts; without it they have none.
    """

    def __init__(self, table: Table, embedder: Embedder | None = None) -> None:
        self._table = table
        self._embedder = embedder

    def all(self, user: str) -> list[Fact]:
        """All facts, oldest first."""
        items = self._table.query(keys.facts(user), "F#", "F#~", only=SHOWN)
        return [_fact(item) for item in sorted(items, key=_created_at)]

    def searchable(self, user: str) -> list[SearchableFact]:
        """All facts, oldest first, with only the attributes that a search needs."""
        items = self._table.query(keys.facts(user), "F#", "F#~", only=SEARCHED)
        return [_searchable(item) for item in sorted(items, key=_created_at)]

    def profile(self, user: str) -> Profile:
        """The profile; an empty one if none is stored."""
        return _profile(self._table.get(keys.facts(user), keys.PROFILE) or {})

    def add(self, user: str, text: str, kind: str, *, limit: int) -> Fact:
        """Stores a fact that the user wrote. Raises BadRequest if the user already has `limit` facts."""
        if len(self._table.query(keys.facts(user), "F#", "F#~", only=("sk",))) >= limit:
            raise BadRequest(f"There are {limit} facts already; forget one first.", field="text")
        fact = Fact(new_id(), text, kind, "user", now())
        self._table.put(self._item(user, fact))
        return fact

    def learned_parts(self, user: str, facts: Iterable[Fact]) -> list[Any]:
        """For `transact`: stores learned facts. A fact with the same id is overwritten."""
        return [self._table.put_part(self._item(user, fact)) for fact in facts]

    def removal_parts(self, user: str, facts: Iterable[Fact]) -> list[Any]:
        """For `transact`: deletes learned facts, if none of them was learned again since it was read."""
        pk = keys.facts(user)
        return [
            self._table.delete_part(pk, keys.fact(fact.id), condition=_IS_UNCHANGED, values={":ts": fact.created_at})
            for fact in facts
        ]

    def assistant_name_part(self, user: str, assistant: str) -> Any:
        """For `transact`: sets the assistant's name, if learning is allowed."""
        key, update = (keys.facts(user), keys.PROFILE), "SET assistant = :name"
        return self._table.update_part(*key, update, condition=_LEARNING_ALLOWED, values={":name": assistant})

    def learning_allowed_part(self, user: str) -> Any:
        """For `transact`: a check that the user allows learning and is not being erased.

        `assistant_name_part` has the same condition.
        """
        return self._table.check_part(keys.facts(user), keys.PROFILE, condition=_LEARNING_ALLOWED)

    def delete(self, user: str, fact_id: str) -> None:
        """Deletes a fact. Raises NotFound if the user has no such fact.

        The fact is read first, instead of a condition on the write: the client may send the write twice, and the second
        one would find no item.
        """
        if self._table.get(keys.facts(user), keys.fact(fact_id)) is None:
            raise NotFound
        self._table.delete(keys.facts(user), keys.fact(fact_id))

    def set_profile(
        self, user: str, name: str | None, assistant: str | None, about: str | None, *, learning: bool | None = None
    ) -> Profile:
        """Replaces the profile and returns it. With `learning` None, that field stays unchanged.

        It is one write, so a concurrent change of another field is not lost.
        """
        return self.change_profile(user, name=name, assistant_name=assistant, about=about, learning=learning)

    def change_profile(self, user: str, *, learning: bool | None = None, **texts: str | None) -> Profile:
        """Changes the fields in `texts` and returns the profile; None removes a field.

        It is one write, as in `set_profile`. With `learning` None, that field stays unchanged.
        """
        fields: dict[str, str | bool | None] = {_STORED_NAMES.get(name, name): text for name, text in texts.items()}
        if learning is not None:
            fields["learning"] = None if learning else False
        if not fields:
            return self.profile(user)
        present = {name: value for name, value in fields.items() if value is not None}
        updates = {
            "SET": [f"#{name} = :{name}" for name in present],
            "REMOVE": [f"#{name}" for name in fields.keys() - present.keys()],
        }
        item = self._table.update(
            keys.facts(user),
            keys.PROFILE,
            " ".join(f"{verb} {', '.join(parts)}" for verb, parts in updates.items() if parts),
            values={f":{name}": value for name, value in present.items()},
            names={f"#{name}": name for name in fields},
        )
        return _profile(item)

    def _item(self, user: str, fact: Fact) -> Item:
        embedding = self._embedder.embed(fact.text) if self._embedder else None
        optional = {
            "confidence": None if fact.confidence is None else Decimal(str(fact.confidence)),
            "embedding": embedding,
            "message": fact.message,
            search_terms.ATTRIBUTE: search_terms.pack(search_terms.terms_of(fact.text)) or None,
        }
        return {
            "pk": keys.facts(user),
            "sk": keys.fact(fact.id),
            "text": fact.text,
            "kind": fact.kind,
            "source": fact.source,
            "ts": fact.created_at,
            **{name: value for name, value in optional.items() if value is not None},
        }


def _profile(item: Item) -> Profile:
    return Profile(item.get("name"), item.get("assistant"), item.get("about"), item.get("learning", True))


def _created_at(item: Item) -> str:
    created_at: str = item["ts"]
    return created_at


def _fact(item: Item) -> Fact:
    confidence = float(item["confidence"]) if "confidence" in item else None
    message = int(item["message"]) if "message" in item else None
    return Fact(_id(item), item["text"], item["kind"], item["source"], item["ts"], confidence, message)


def _searchable(item: Item) -> SearchableFact:
    embedding, terms = _bytes(item.get("embedding")), _bytes(item.get(search_terms.ATTRIBUTE))
    return SearchableFact(_id(item), item["text"], embedding, item["ts"], terms)


def _bytes(value: Any) -> bytes | None:
    return bytes(value) if value else None


def _id(item: Item) -> str:
    fact_id: str = item["sk"].removeprefix("F#")
    return fact_id
