"""Conversations and their messages.

    wait 1   read     META and the last messages, in one descending query
    start    transact META: seq + 2, if nobody else came first      | put the user's message at seq + 1
    ...      the model speaks
    finish   transact META: touch, if it still exists                | put the answer at seq + 2, if absent

The user's message and the answer's place are stored before the model is asked, so a partial answer always has
where to go, and two messages sent at once cannot take the same place.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

from chat.errors import Conflict, NotFound, StorageError
from chat.events import Chunk, Citation, Message, Part, Reasoning, Usage
from chat.ids import now
from chat.store import keys
from chat.store.table import ConditionFailed, Item, Table

# An item holds 400 KB (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html);
# a message's parts leave room in it for the rest.
PIECE_BYTES = 300 * 1024

PAGE_BYTES = 4 * 1024 * 1024  # Lambda answers with 6 MB at the most

# Named conditions of the transactions above.
_IS_NEW = "attribute_not_exists(pk)"
_UNCHANGED = "seq = :seen AND attribute_not_exists(deleted)"
_EXISTS = "attribute_exists(pk) AND attribute_not_exists(deleted)"

_KINDS: dict[str, type[Part]] = {"text": Chunk, "reasoning": Reasoning, "citation": Citation}
_COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_NAMES = {kind: name for name, kind in _KINDS.items()}


@dataclass(frozen=True, slots=True)
class Conversation:
    """`seq` is the place of the newest message, 0 for a conversation that does not exist yet."""

    id: str
    seq: int = 0
    title: str | None = None
    updated_at: str | None = None


class Conversations:
    """One user's conversations in the table. `user` is a `User.key` everywhere."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def recent(self, user: str, conversation_id: str, limit: int) -> tuple[Conversation, list[Message]]:
        """The conversation and its last `limit` messages, oldest first; an empty one if there is none."""
        pk = keys.conversation(user, conversation_id)
        items = self._table.query(pk, "M#", keys.META, descending=True, limit=limit + 1)
        if not items or items[0]["sk"] != keys.META:
            return Conversation(conversation_id), []
        return _conversation(items[0]), [self._message(item) for item in reversed(items[1:])]

    def get(self, user: str, conversation_id: str) -> Conversation:
        """The conversation; one that does not exist has `seq` 0."""
        item = self._table.get(keys.conversation(user, conversation_id), keys.META)
        return _conversation(item) if item else Conversation(conversation_id)

    def start(self, user: str, conversation: Conversation, message: Message) -> int:
        """Stores the user's message and returns the answer's place. Raises Conflict when another message came first."""
        pk = keys.conversation(user, conversation.id)
        seq, time = conversation.seq + 1, now()
        values: Item = {":next": seq + 1, ":now": time, ":user": keys.user(user), ":id": conversation.id}
        if conversation.seq:
            values[":seen"] = conversation.seq
        touch = self._table.update(
            pk,
            keys.META,
            "SET seq = :next, gsi1pk = :user, gsi1sk = :now, id = :id",
            condition=_UNCHANGED if conversation.seq else _IS_NEW,
            values=values,
        )
        try:
            self._table.transact([touch, *self._puts(pk, seq, message)])
        except ConditionFailed:
            raise Conflict from None
        return seq + 1

    def finish(self, user: str, conversation_id: str, seq: int, answer: Message) -> None:
        """Stores the answer at its place. Raises StorageError when the conversation is gone or the place taken."""
        pk = keys.conversation(user, conversation_id)
        touch = self._table.update(pk, keys.META, "SET gsi1sk = :now", condition=_EXISTS, values={":now": now()})
        try:
            self._table.transact([touch, *self._puts(pk, seq, answer)])
        except ConditionFailed as error:
            raise StorageError from error

    def messages(
        self, user: str, conversation_id: str, *, limit: int, before: int | None = None
    ) -> tuple[list[Message], int | None]:
        """The newest messages before place `before`, oldest first, and where an older page ends.

        A page has at most `limit` of them, and fewer when they are large.

        Raises NotFound when there is no such conversation, or it is not the user's.
        """
        pk = keys.conversation(user, conversation_id)
        if self._table.get(pk, keys.META) is None:
            raise NotFound
        high = keys.message(before - 1) if before else "M#~"
        items = self._table.query(pk, keys.message(0), high, descending=True, limit=limit + 1)
        sizes = accumulate(int(item["pieces"]) * PIECE_BYTES + len(bytes(item["parts"])) for item in items)
        page = items[: max(1, min(limit, sum(size <= PAGE_BYTES for size in sizes)))]
        older = int(page[-1]["sk"].removeprefix("M#")) if len(items) > len(page) else None
        return [self._message(item) for item in reversed(page)], older

    def page(self, user: str, *, limit: int, before: tuple[str, str] | None = None) -> tuple[list[Conversation], Any]:
        """A page of conversations, newest change first, and the (time, id) where the next page begins."""
        start = None
        if before:
            time, conversation_id = before
            start = {
                "pk": keys.conversation(user, conversation_id),
                "sk": keys.META,
                "gsi1pk": keys.user(user),
                "gsi1sk": time,
            }
        items, last = self._table.query_index(keys.INDEX, keys.user(user), limit=limit, start=start)
        more = (last["gsi1sk"], last["pk"].rpartition("#")[2]) if last else None
        return [_conversation(item) for item in items], more

    def _puts(self, pk: str, seq: int, message: Message) -> Iterator[Any]:
        text = json.dumps([_part(part) for part in message.parts], ensure_ascii=False, separators=(",", ":"))
        first, *others = _pieces(text.encode(), PIECE_BYTES)
        yield self._table.absent(
            {"pk": pk, "sk": keys.message(seq), **_fields(message), "parts": first, "pieces": len(others)}
        )
        for number, piece in enumerate(others, 1):
            yield self._table.absent({"pk": pk, "sk": keys.rest(seq, number), "parts": piece})

    def _message(self, item: Item) -> Message:
        data = bytes(item["parts"])
        if pieces := int(item["pieces"]):
            seq = int(item["sk"].removeprefix("M#"))
            rest = self._table.query(item["pk"], keys.rest(seq, 1), keys.rest(seq, pieces))
            data += b"".join(bytes(piece["parts"]) for piece in rest)
        usage = item.get("usage")
        return Message(
            id=item["id"],
            role=item["role"],
            parts=tuple(_KINDS[part.pop("type")](**part) for part in json.loads(data)),
            created_at=item["at"],
            status=item["st"],
            generation_id=item.get("gid"),
            model=item.get("model"),
            finish_reason=item.get("reason"),
            usage=Usage(**{name: int(usage[name]) for name in _COUNTS}, basis=usage["basis"]) if usage else None,
        )


def _conversation(item: Item) -> Conversation:
    return Conversation(item["id"], int(item["seq"]), item.get("title"), item["gsi1sk"])


def _part(part: Part) -> dict[str, Any]:
    return {"type": _NAMES[type(part)], **{name: value for name, value in asdict(part).items() if value is not None}}


def _fields(message: Message) -> Item:
    fields = {
        "id": message.id,
        "role": message.role,
        "at": message.created_at,
        "st": message.status,
        "gid": message.generation_id,
        "model": message.model,
        "reason": message.finish_reason,
        "usage": asdict(message.usage) if message.usage else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _pieces(data: bytes, size: int) -> Sequence[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]
