"""The log: positions do not move, however it is cut, joined, stored or sent."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from converse_stream.protocol import log
from converse_stream.protocol.events import (
    Chunk,
    Citation,
    Event,
    Progress,
    Reasoning,
    Rollback,
    Start,
    Tool,
    fold,
)
from converse_stream.protocol.log import Entry

TEXT = st.text(min_size=1, max_size=8)
MAYBE = st.none() | st.text(max_size=4)
ENTRY = st.one_of(
    st.builds(Chunk, TEXT),
    st.builds(Chunk, TEXT),
    st.builds(Reasoning, TEXT),
    st.builds(Citation, title=MAYBE, url=MAYBE, document=MAYBE, quote=MAYBE),
    st.builds(Tool, TEXT, TEXT, st.sampled_from(("call", "result", "error")), MAYBE, MAYBE, MAYBE),
)
LOG = st.lists(ENTRY, max_size=12)


def atoms(entries: list[Any]) -> list[Any]:
    """The log, position by position."""
    flat: list[Any] = []
    for entry in entries:
        if isinstance(entry, (Citation, Tool)):
            flat.append(entry)
        else:
            flat += [type(entry)(character) for character in entry.content]
    return flat


def batches(data: st.DataObject, entries: list[Entry]) -> list[list[Entry]]:
    """The same log, cut anywhere, also within a piece."""
    flat = atoms(entries)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(flat)), max_size=6)))
    return [flat[begin:end] for begin, end in pairwise([0, *cuts, len(flat)])]


@given(LOG)
def test_its_length_is_its_positions(entries: list[Entry]) -> None:
    assert log.end_of(entries) == len(atoms(entries)) == log.end_of(log.joined(entries))
    assert log.end_of(entries, 7) == log.end_of(entries) + 7


@given(LOG, st.data())
def test_seen_and_resumed_are_the_whole_at_every_cut(entries: list[Entry], data: st.DataObject) -> None:
    whole = atoms(entries)
    start = data.draw(st.integers(0, 5))
    batched = [entry for batch in batches(data, entries) for entry in log.joined(batch)]
    for position in range(len(whole) + 2):
        assert whole[:position] + atoms(log.after(entries, start + position, start)) == whole
        assert atoms(log.after(batched, start + position, start)) == whole[position:]


@given(LOG, st.data())
def test_what_is_before_the_start_cannot_be_given_back(entries: list[Entry], data: st.DataObject) -> None:
    start = data.draw(st.integers(1, 9))
    assert log.after(entries, data.draw(st.integers(0, start)), start) == list(entries)


@given(LOG, st.data())
def test_batches_join_to_one_log(entries: list[Entry], data: st.DataObject) -> None:
    joined = log.joined(entries)
    assert log.joined([entry for batch in batches(data, entries) for entry in log.joined(batch)]) == joined
    assert log.joined(joined) == joined
    assert all(type(one) is not type(other) or isinstance(one, (Citation, Tool)) for one, other in pairwise(joined))


@given(LOG, st.data())
def test_what_is_stored_comes_back(entries: list[Entry], data: st.DataObject) -> None:
    entries = entries * data.draw(st.sampled_from((1, 1, 20)))
    assert log.decode(log.encode(entries)) == log.joined(entries)
    stored = [entry for batch in batches(data, entries) for entry in log.decode(log.encode(batch))]
    assert log.joined(stored) == log.joined(entries)


@given(LOG, st.integers(1, 20))
def test_runs_are_bounded_and_nothing_is_lost(entries: list[Entry], size: int) -> None:
    runs = list(log.cut(entries, size))
    assert atoms([entry for run in runs for entry in run]) == atoms(entries)
    assert all(0 < log.end_of(run) <= size for run in runs)


@given(LOG, st.data())
def test_a_rollback_leaves_what_the_log_has_before_it(entries: list[Entry], data: st.DataObject) -> None:
    whole = atoms(entries)
    position = data.draw(st.integers(0, len(whole)))
    events: list[Event] = [*entries, Rollback(position)]
    assert atoms(list(fold(events).parts)) == whole[:position]
    resumed = fold([*events, *log.after(entries, position)])
    assert resumed.parts == tuple(log.joined(entries))


def test_what_is_not_logged_moves_nothing() -> None:
    for event in (Start("c", "m", "g", "a"), Progress("memory"), Rollback(3)):
        assert log.length(event) == 0
