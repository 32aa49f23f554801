"""The log of one answer, and positions in it. Pure functions.

The length of text and reasoning is its number of Unicode code points. The length of any other entry is 1. A position is
the sum of the lengths before it. So positions do not depend on how the text is cut into entries, which differs between
memory, table and stream. For every position: what is before it and what `after` returns are together the whole log.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from converse_stream.protocol.events import Chunk, Citation, Event, Part, Reasoning, Tool, merge

Entry: TypeAlias = Part
ENTRIES = (Chunk, Reasoning, Citation, Tool)

MIN_COMPRESSED = 200  # bytes; shorter entries hardly become smaller

_TYPE_NAMES: dict[type[Entry], str] = {Chunk: "t", Reasoning: "r", Citation: "c", Tool: "x"}
_TYPES: dict[str, Callable[..., Entry]] = {name: kind for kind, name in _TYPE_NAMES.items()}


@dataclass(frozen=True, slots=True)
class PositionedEvent:
    """An event and the position after it. Events that are not in the log do not change the position."""

    event: Event
    position: int


def length(event: Event) -> int:
    """The length of an event, 0 if it is not in the log."""
    if isinstance(event, (Chunk, Reasoning)):
        return len(event.content)
    return 1 if isinstance(event, ENTRIES) else 0


def end_of(entries: Iterable[Entry], start: int = 0) -> int:
    """The position after entries that begin at `start`."""
    return start + sum(map(length, entries))


def after(entries: Iterable[Entry], position: int, start: int = 0) -> list[Entry]:
    """The entries after `position`; the first one may be cut. `entries` begin at `start`."""
    rest: list[Entry] = []
    for entry in entries:
        end = start + length(entry)
        if start >= position:
            rest.append(entry)
        elif end > position and isinstance(entry, (Chunk, Reasoning)):
            rest.append(type(entry)(entry.content[position - start :]))
        start = end
    return rest


def joined(entries: Iterable[Entry]) -> list[Entry]:
    """The same log with consecutive text, and consecutive reasoning, joined."""
    return [event for event in merge(entries) if isinstance(event, ENTRIES)]


def encode(entries: Iterable[Entry]) -> bytes:
    """Encodes entries for the table: compact JSON, compressed with zlib if that is shorter."""
    plain = to_bytes(entries)
    compressed = zlib.compress(plain) if len(plain) > MIN_COMPRESSED else plain
    return min(plain, compressed, key=len)


def decode(stored: bytes) -> list[Entry]:
    """Decodes the result of `encode`."""
    plain = stored if stored.startswith(b"[") else zlib.decompress(stored)
    return [_entry(name, value) for name, value in json.loads(plain)]


def to_bytes(entries: Iterable[Entry]) -> bytes:
    """The entries as compact JSON, joined."""
    return json.dumps([_pair(entry) for entry in joined(entries)], ensure_ascii=False, separators=(",", ":")).encode()


def cut(entries: Iterable[Entry], size: int) -> Iterator[list[Entry]]:
    """Splits the log into runs with a length of at most `size` each."""
    run: list[Entry] = []
    remaining = size
    for entry in joined(entries):
        pieces: Sequence[Entry] = [entry]
        if isinstance(entry, (Chunk, Reasoning)):
            text, kind = entry.content, type(entry)
            pieces = [kind(text[at : at + size]) for at in range(0, len(text), size)]
        for piece in pieces:
            if run and length(piece) > remaining:
                yield run
                run, remaining = [], size
            run.append(piece)
            remaining -= length(piece)
    if run:
        yield run


def _pair(entry: Entry) -> list[Any]:
    name = _TYPE_NAMES[type(entry)]
    if isinstance(entry, (Chunk, Reasoning)):
        return [name, entry.content]
    return [name, {field: value for field, value in asdict(entry).items() if value is not None}]


def _entry(name: str, value: Any) -> Entry:
    kind = _TYPES[name]
    return kind(**value) if isinstance(value, dict) else kind(value)
