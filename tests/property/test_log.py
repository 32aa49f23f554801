"""The log: its positions are the same, however it is cut, joined, stored or sent."""

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from converse_stream.protocol import log
from converse_stream.protocol.events import Chunk, Citation, Event, Progress, Reasoning, Rollback, Start, Tool, fold
from converse_stream.protocol.log import Entry

TEXT = st.text(min_size=1, max_size=8)
OPTIONAL_TEXT = st.none() | st.text(max_size=4)
ENTRY = st.one_of(
    st.builds(Chunk, TEXT),
    st.builds(Chunk, TEXT),
    st.builds(Reasoning, TEXT),
    st.builds(Citation, title=OPTIONAL_TEXT, url=OPTIONAL_TEXT, document=OPTIONAL_TEXT, quote=OPTIONAL_TEXT),
    st.builds(
        Tool, TEXT, TEXT, st.sampled_from(("call", "result", "error")), OPTIONAL_TEXT, OPTIONAL_TEXT, OPTIONAL_TEXT
    ),
)
LOG = st.lists(ENTRY, max_size=12)


def atoms(entries: list[Any]) -> list[Any]:
    """Returns the log as one atom per position."""
    flat: list[Any] = []
    for entry in entries:
        if isinstance(entry, (Citation, Tool)):
            flat.append(entry)
        else:
            flat += [type(entry)(character) for character in entry.content]
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
    assert all(type(one) is not type(other) or isinstance(one, (Citation, Tool)) for one, other in pairwise(joined))


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
