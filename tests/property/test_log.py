"""The log: its positions are the same, however it is cut, joined, stored or sent."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from converse_stream.dialects.ai_sdk.frames import AiSdk
from converse_stream.dialects.native import Native
from converse_stream.dialects.openai.frames import OpenAI
from converse_stream.dialects.plain import Plain
from converse_stream.protocol import log
from converse_stream.protocol.events import (
    HIDDEN,
    Chunk,
    Citation,
    Event,
    Message,
    Progress,
    Reasoning,
    ReasoningSignature,
    RedactedReasoning,
    Rollback,
    Start,
    Tool,
    Unknown,
    fold,
)
from converse_stream.protocol.log import Entry, PositionedEvent

TEXT = st.text(min_size=1, max_size=8)
OPTIONAL_TEXT = st.none() | st.text(max_size=4)
OPTIONAL_JSON = st.none() | TEXT.map(json.dumps)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(TEXT, values, max_size=3),
    max_leaves=4,
)


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# Entries of a later version: of a kind that this one does not know, or of a known kind in another form.
LATER = st.one_of(
    JSON.filter(lambda value: not isinstance(value, list)),
    st.tuples(st.sampled_from(("z", "later", "", "T")), JSON),
    st.tuples(st.sampled_from(("t", "r")), JSON.filter(lambda value: not isinstance(value, str))),
    st.tuples(st.sampled_from(("t", "c")), st.just("text") | st.just({}), JSON),
    st.tuples(st.sampled_from(("c", "x", "s", "e")), JSON.filter(lambda value: not isinstance(value, dict))),
    st.sampled_from(
        (
            ["x", {"id": "a", "name": "n", "state": "paused"}],
            ["x", {"id": "a", "state": "call"}],
            ["c", {"title": {"en": "a"}}],
            ["s", {"model": "m"}],
            ["e", {"data": 1, "model": "m"}],
            [],
        )
    ),
)
ENTRY = st.one_of(
    st.builds(Chunk, TEXT),
    st.builds(Chunk, TEXT),
    st.builds(Reasoning, TEXT),
    st.builds(Citation, title=OPTIONAL_TEXT, url=OPTIONAL_TEXT, document=OPTIONAL_TEXT, quote=OPTIONAL_TEXT),
    st.builds(
        Tool, TEXT, TEXT, st.sampled_from(("call", "result", "error")), OPTIONAL_JSON, OPTIONAL_JSON, OPTIONAL_TEXT
    ),
    st.builds(ReasoningSignature, TEXT, TEXT),
    st.builds(RedactedReasoning, TEXT, TEXT),
    st.builds(Unknown, LATER.map(compact)),
)
LOG = st.lists(ENTRY, max_size=12)


def atoms(entries: list[Any]) -> list[Any]:
    """Returns the log as one atom per position."""
    flat: list[Any] = []
    for entry in entries:
        if isinstance(entry, (Chunk, Reasoning)):
            flat += [type(entry)(character) for character in entry.content]
        else:
            flat.append(entry)
    return flat


def batches(data: st.DataObject, entries: list[Entry]) -> list[list[Entry]]:
    """Returns the same log, cut at random positions, also within an entry."""
    flat = atoms(entries)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(flat)), max_size=6)))
    return [flat[begin:end] for begin, end in pairwise([0, *cuts, len(flat)])]


@given(LOG)
def test_the_length_of_a_log_is_its_number_of_positions(entries: list[Entry]) -> None:
    assert log.end_of(entries) == len(atoms(entries)) == log.end_of(log.joined(entries))
    assert log.end_of(entries, 7) == log.end_of(entries) + 7


@given(LOG, st.data())
def test_received_and_resumed_parts_make_the_complete_log_at_every_position(
    entries: list[Entry], data: st.DataObject
) -> None:
    complete = atoms(entries)
    start = data.draw(st.integers(0, 5))
    batched = [entry for batch in batches(data, entries) for entry in log.joined(batch)]
    for position in range(len(complete) + 2):
        assert complete[:position] + atoms(log.after(entries, start + position, start)) == complete
        assert atoms(log.after(batched, start + position, start)) == complete[position:]


@given(LOG, st.data())
def test_a_position_before_the_start_returns_all_entries(entries: list[Entry], data: st.DataObject) -> None:
    start = data.draw(st.integers(1, 9))
    assert log.after(entries, data.draw(st.integers(0, start)), start) == list(entries)


@given(LOG, st.data())
def test_joined_batches_are_the_joined_log(entries: list[Entry], data: st.DataObject) -> None:
    joined = log.joined(entries)
    assert log.joined([entry for batch in batches(data, entries) for entry in log.joined(batch)]) == joined
    assert log.joined(joined) == joined
    texts = (Chunk, Reasoning)
    assert all(type(one) is not type(other) or not isinstance(one, texts) for one, other in pairwise(joined))


@given(LOG, st.data())
def test_a_decoded_log_is_the_encoded_one(entries: list[Entry], data: st.DataObject) -> None:
    entries = entries * data.draw(st.sampled_from((1, 1, 20)))
    assert log.decode(log.encode(entries)) == log.joined(entries)
    stored = [entry for batch in batches(data, entries) for entry in log.decode(log.encode(batch))]
    assert log.joined(stored) == log.joined(entries)


@given(LOG, st.integers(1, 20))
def test_runs_are_bounded_and_contain_all_entries(entries: list[Entry], size: int) -> None:
    runs = list(log.cut(entries, size))
    assert atoms([entry for run in runs for entry in run]) == atoms(entries)
    assert all(0 < log.end_of(run) <= size for run in runs)
    assert all(len(run) == 1 or sum(map(characters_of, run)) <= size for run in runs)


def characters_of(entry: Entry) -> int:
    """The characters of an entry, as an item stores it: without its kind if it is text."""
    return len(entry.content) if isinstance(entry, (Chunk, Reasoning)) else len(log.to_bytes([entry]).decode()) - 2


@given(st.lists(LATER, min_size=1, max_size=5), LOG)
def test_entries_of_a_later_version_are_kept_unchanged_and_have_one_position(
    later: list[Any], known: list[Entry]
) -> None:
    stored = compact([*later, *json.loads(log.to_bytes(known))]).encode()
    entries = log.decode(stored)
    assert entries[: len(later)] == [Unknown(compact(each)) for each in later]
    assert entries[len(later) :] == log.joined(known)
    assert log.end_of(entries[: len(later)]) == len(later)
    assert json.loads(log.to_bytes(entries)) == json.loads(stored)
    assert log.decode(log.encode(entries)) == entries


@given(st.dictionaries(TEXT.filter(lambda name: not hasattr(Citation, name)), JSON, max_size=3))
def test_unknown_fields_of_a_known_entry_are_ignored(more: dict[str, Any]) -> None:
    assert log.decode(compact([["c", {"title": "a", **more}]]).encode()) == [Citation("a")]


@given(LOG, st.data())
def test_hidden_entries_have_positions_but_no_frames(entries: list[Entry], data: st.DataObject) -> None:
    """A client that resumes from the id of any frame gets each visible part once, whatever is hidden between."""
    stored = Message("m", "assistant", tuple(entries), "t")
    visible = atoms(list(stored.visible_parts))
    assert visible == [atom for atom in atoms(entries) if not isinstance(atom, HIDDEN)]
    batched = [entry for batch in batches(data, entries) for entry in log.joined(batch)]
    first, cursors = received(batched, 0)
    assert first == visible
    for frames, cursor in [(0, 0), *cursors]:
        rest, _ = received(log.after(entries, cursor), cursor)
        assert first[:frames] + rest == visible
    for entry in entries:
        if isinstance(entry, HIDDEN):
            for dialect in (Native("generation"), Plain(), AiSdk(), OpenAI(0)):
                assert dialect.encode(PositionedEvent(entry, 1)) == ""


def received(entries: list[Entry], start: int) -> tuple[list[Any], list[tuple[int, int]]]:
    """What a native client receives: the visible atoms, and their number with the position in the id of each frame."""
    dialect, flat, cursors, position = Native("generation"), list[Any](), list[tuple[int, int]](), start
    for entry in entries:
        position += log.length(entry)
        if frame := dialect.encode(PositionedEvent(entry, position)):
            flat += atoms([entry])
            cursors.append((len(flat), int(frame.partition("\n")[0].rpartition(":")[2])))
    return flat, cursors


@given(LOG, st.data())
def test_a_rollback_keeps_the_log_before_its_position(entries: list[Entry], data: st.DataObject) -> None:
    complete = atoms(entries)
    position = data.draw(st.integers(0, len(complete)))
    events: list[Event] = [*entries, Rollback(position)]
    assert atoms(list(fold(events).parts)) == complete[:position]
    resumed = fold([*events, *log.after(entries, position)])
    assert resumed.parts == tuple(log.joined(entries))


def test_events_outside_the_log_have_no_length() -> None:
    for event in (Start("c", "m", "g", "a"), Progress("memory"), Rollback(3)):
        assert log.length(event) == 0
