"""The position-addressed log of one answer, pure.

A piece of text or of reasoning is as long as its code points, any other entry is 1 long. A position is a sum of such
lengths from the answer's begin, so it stays the same however the pieces are cut or joined: in memory, in the table and
on the wire. What a client has seen up to a position and what the log holds after it are the whole, for every position.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from converse_stream.protocol.events import (
    Chunk,
    Citation,
    Event,
    Part,
    Reasoning,
    Tool,
    merge,
)

Entry: TypeAlias = Part
ENTRIES = (Chunk, Reasoning, Citation, Tool)

WORTH_PACKING = 200  # bytes; less hardly shrinks

_NAMES: dict[type[Entry], str] = {Chunk: "t", Reasoning: "r", Citation: "c", Tool: "x"}
_KINDS: dict[str, Callable[..., Entry]] = {name: kind for kind, name in _NAMES.items()}


@dataclass(frozen=True, slots=True)
class PositionedEvent:
    """An event and the log's position behind it; what is not logged leaves the position where it was."""

    event: Event
    position: int


def length(event: Event) -> int:
    """How far the event moves the position."""
    if isinstance(event, (Chunk, Reasoning)):
        return len(event.content)
    return 1 if isinstance(event, ENTRIES) else 0


def end_of(entries: Iterable[Entry], start: int = 0) -> int:
    """The position behind the entries."""
    return start + sum(map(length, entries))


def after(entries: Iterable[Entry], position: int, start: int = 0) -> list[Entry]:
    """The entries behind `position`, the first of them cut where it must be; `entries` begin at `start`."""
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
    """The same log in as few entries as it has kinds in a row."""
    return [event for event in merge(entries) if isinstance(event, ENTRIES)]


def encode(entries: Iterable[Entry]) -> bytes:
    """The entries as they are stored: compact JSON, deflated where that is shorter. Each kilobyte is paid for."""
    plain = to_bytes(entries)
    packed = zlib.compress(plain) if len(plain) > WORTH_PACKING else plain
    return min(plain, packed, key=len)


def decode(stored: bytes) -> list[Entry]:
    """What `encode` made."""
    plain = stored if stored.startswith(b"[") else zlib.decompress(stored)
    return [_entry(name, value) for name, value in json.loads(plain)]


def to_bytes(entries: Iterable[Entry]) -> bytes:
    """The entries as compact JSON, joined."""
    return json.dumps([_pair(entry) for entry in joined(entries)], ensure_ascii=False, separators=(",", ":")).encode()


def cut(entries: Iterable[Entry], size: int) -> Iterator[list[Entry]]:
    """The log in runs of at most about `size` code points each."""
    run: list[Entry] = []
    room = size
    for entry in joined(entries):
        pieces: Sequence[Entry] = [entry]
        if isinstance(entry, (Chunk, Reasoning)):
            text, kind = entry.content, type(entry)
            pieces = [kind(text[at : at + size]) for at in range(0, len(text), size)]
        for piece in pieces:
            if run and length(piece) > room:
                yield run
                run, room = [], size
            run.append(piece)
            room -= length(piece)
    if run:
        yield run


def _pair(entry: Entry) -> list[Any]:
    name = _NAMES[type(entry)]
    if isinstance(entry, (Chunk, Reasoning)):
        return [name, entry.content]
    return [name, {field: value for field, value in asdict(entry).items() if value is not None}]


def _entry(name: str, value: Any) -> Entry:
    kind = _KINDS[name]
    return kind(**value) if isinstance(value, dict) else kind(value)
