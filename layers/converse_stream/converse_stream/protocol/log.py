"""The log of one answer, and positions in it. Pure functions.

The length of text and reasoning is its number of Unicode code points. The length of any other entry is 1. A position is
the sum of the lengths before it. So positions do not depend on how the text is cut into entries, which differs between
memory, table and stream. For every position: what is before it and what `after` returns are together the whole log.

Old and new versions of this code read the same log during a deployment. An entry that this version does not know is
decoded as `Unknown`, has the length 1, and is encoded again unchanged. So the length of each new kind must be 1.
"""

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias

from converse_stream.protocol.events import (
    Chunk,
    Citation,
    Event,
    Part,
    Reasoning,
    ReasoningSignature,
    RedactedReasoning,
    Tool,
    Unknown,
    merge,
)

Entry: TypeAlias = Part
ENTRIES = (Chunk, Reasoning, Citation, Tool, ReasoningSignature, RedactedReasoning, Unknown)

MIN_COMPRESSED = 200  # bytes; shorter entries hardly become smaller

_TEXTS: dict[str, type[Chunk | Reasoning]] = {"t": Chunk, "r": Reasoning}
_OBJECTS: dict[str, type[Citation | Tool | ReasoningSignature | RedactedReasoning]] = {
    "c": Citation,
    "x": Tool,
    "s": ReasoningSignature,
    "e": RedactedReasoning,
}
_NAMES: dict[type[Entry], str] = {kind: name for name, kind in (*_TEXTS.items(), *_OBJECTS.items())}
_TOOL_STATES = ("call", "result", "error")


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
    """Decodes the result of `encode`, also of a later version."""
    plain = stored if stored.startswith(b"[") else zlib.decompress(stored)
    return list(map(_entry, json.loads(plain)))


def to_bytes(entries: Iterable[Entry]) -> bytes:
    """The entries as compact JSON, joined."""
    return f"[{','.join(map(_json, joined(entries)))}]".encode()


def cut(entries: Iterable[Entry], size: int) -> Iterator[list[Entry]]:
    """Splits the log into runs of at most `size` characters each: code points of text, and of the JSON of others.

    An entry that is not text is never cut, so a run with only this entry may be larger.
    """
    run: list[Entry] = []
    remaining = size
    for entry in joined(entries):
        pieces: Sequence[Entry] = [entry]
        if isinstance(entry, (Chunk, Reasoning)):
            text, kind = entry.content, type(entry)
            pieces = [kind(text[at : at + size]) for at in range(0, len(text), size)]
        for piece in pieces:
            characters = len(piece.content) if isinstance(piece, (Chunk, Reasoning)) else len(_json(piece))
            if run and characters > remaining:
                yield run
                run, remaining = [], size
            run.append(piece)
            remaining -= characters
    if run:
        yield run


def _json(entry: Entry) -> str:
    if isinstance(entry, Unknown):
        return entry.stored
    if isinstance(entry, (Chunk, Reasoning)):
        return _compact([_NAMES[type(entry)], entry.content])
    present = {name: value for name, value in asdict(entry).items() if value is not None}
    return _compact([_NAMES[type(entry)], present])


def _entry(stored: Any) -> Entry:
    """The stored entry. Fields that this version does not know are left out."""
    match stored:
        case [str(name), str(text)] if name in _TEXTS:
            return _TEXTS[name](text)
        case [str(name), dict(value)] if name in _OBJECTS:
            kind = _OBJECTS[name]
            known = {field.name: value[field.name] for field in fields(kind) if field.name in value}
            has_known_values = all(isinstance(each, str) for each in known.values())
            if has_known_values and (kind is not Tool or known.get("state") in _TOOL_STATES):
                try:
                    return kind(**known)
                except TypeError:  # a field is missing
                    pass
    return Unknown(_compact(stored))


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
