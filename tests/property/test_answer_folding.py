"""An answer is the same, however it is cut into events."""

from functools import reduce
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from converse_stream.model.stream import events as from_converse
from converse_stream.protocol.events import (
    Answer,
    Chunk,
    Citation,
    Event,
    Progress,
    Reasoning,
    Tool,
    accumulate,
    fold,
    merge,
)

PIECES = st.one_of(
    st.builds(Chunk, st.text(min_size=1, max_size=5)),
    st.builds(Reasoning, st.text(min_size=1, max_size=5)),
    st.builds(Citation, title=st.text(max_size=3)),
    st.builds(Tool, st.text(max_size=3), st.text(max_size=3)),
    st.builds(Progress, st.just("retry")),
)


def text_of(events: list[Event], kind: type[Chunk] | type[Reasoning]) -> str:
    return "".join(event.content for event in events if isinstance(event, kind))


@given(st.lists(PIECES))
def test_merged_events_have_the_same_text_and_answer(events: list[Event]) -> None:
    merged = list(merge(events))
    assert text_of(merged, Chunk) == text_of(events, Chunk)
    assert text_of(merged, Reasoning) == text_of(events, Reasoning)
    assert fold(events) == reduce(accumulate, events, Answer())
    assert all(
        not (isinstance(one, (Chunk, Reasoning)) and type(one) is type(other)) for one, other in pairwise(merged)
    )


@given(st.text(min_size=1), st.data())
def test_utf16_text_cut_at_any_code_unit_is_decoded_completely(text: str, data: st.DataObject) -> None:
    """JSON may contain a character as two surrogates, and a delta may end between them."""
    units = text.encode("utf-16-le", "surrogatepass")
    cuts = sorted(data.draw(st.sets(st.integers(0, len(units) // 2), max_size=5)))
    edges = [0, *cuts, len(units) // 2]
    deltas = [units[2 * a : 2 * b].decode("utf-16-le", "surrogatepass") for a, b in pairwise(edges)]
    raw = [{"contentBlockDelta": {"delta": {"text": delta}, "contentBlockIndex": 0}} for delta in deltas]
    end: list[dict[str, Any]] = [
        {"contentBlockStop": {"contentBlockIndex": 0}},
        {"messageStop": {"stopReason": "end_turn"}},
    ]
    chunks = [event for event in from_converse([*raw, *end]) if isinstance(event, Chunk)]
    complete = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    assert "".join(chunk.content for chunk in chunks) == complete
    assert all(chunk.content.encode() for chunk in chunks)
