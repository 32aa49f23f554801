"""Messages as items. A large message has more than one item; its continuations sort before the messages."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from converse_stream.protocol import log
from converse_stream.protocol.errors import NotFound
from converse_stream.protocol.events import Message, SentPrompt, Usage
from converse_stream.store import keys
from converse_stream.store.table import Table
from converse_stream.store.values import Item

# An item holds 400 KB (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html);
# the pieces of a message's parts are smaller, for the other attributes.
PIECE_BYTES = 300 * 1024

_COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")


def items(pk: str, seq: int, message: Message, ttl: int) -> Iterator[Item]:
    """The items of message number `seq`; `ttl` is in seconds since the epoch."""
    size = len(log.to_bytes(message.parts))
    first, *others = _pieces(log.encode(message.parts), PIECE_BYTES)
    key = {"pk": pk, "sk": keys.message(seq)}
    yield {**key, **_fields(message), "parts": first, "pieces": len(others), "size": size, "ttl": ttl}
    for number, piece in enumerate(others, 1):
        yield {"pk": pk, "sk": keys.continuation(seq, message.id, number), "parts": piece, "ttl": ttl}


def as_replaced(item: Item) -> Item:
    """The first item of an answer, with the key of a replaced answer."""
    return {**item, "sk": keys.replaced(seq_of(item), item["gid"])}


def as_current(item: Item) -> Item:
    """The first item of a replaced answer, with the key of a message again."""
    return {**item, "sk": keys.message(seq_of(item))}


def read(table: Table, item: Item) -> Message:
    """The message whose first item this is. Raises NotFound if its continuations are deleted at the same time."""
    data = bytes(item["parts"])
    if pieces := int(item["pieces"]):
        seq = seq_of(item)
        rest = table.query(
            item["pk"], keys.continuation(seq, item["id"], 1), keys.continuation(seq, item["id"], pieces)
        )
        if len(rest) < pieces:
            raise NotFound
        data += b"".join(bytes(piece["parts"]) for piece in rest)
    return Message(
        id=item["id"],
        role=item["role"],
        parts=tuple(log.decode(data)),
        created_at=item["at"],
        status=item["st"],
        generation_id=item.get("gid"),
        model=item.get("model"),
        finish_reason=item.get("reason"),
        usage=read_usage(item.get("usage")),
        sent=SentPrompt(int(item["hist"]), int(item["est"])) if "hist" in item else None,
    )


def seq_of(item: Item) -> int:
    """The number of the message in its conversation."""
    return int(item["sk"].split("#")[1])


def size(item: Item) -> int:
    """The approximate size of the whole message as JSON, in bytes, from its first item."""
    return int(item["size"])


def read_usage(stored: Item | None) -> Usage | None:
    """The usage that was stored as `asdict(usage)`."""
    if stored is None:
        return None
    cost = stored.get("cost")
    counts = {name: int(stored[name]) for name in _COUNTS}
    return Usage(**counts, basis=stored["basis"], cost=None if cost is None else int(cost))


def _fields(message: Message) -> Item:
    fields: dict[str, Any] = {
        "id": message.id,
        "role": message.role,
        "at": message.created_at,
        "st": message.status,
        "gid": message.generation_id,
        "model": message.model,
        "reason": message.finish_reason,
        "usage": asdict(message.usage) if message.usage else None,
        "hist": message.sent.first_message if message.sent else None,
        "est": message.sent.tokens if message.sent else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _pieces(data: bytes, size: int) -> Sequence[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]
