"""Replaces the marks in the model's text by citations. Pure.

The model writes the label of each source after the text that uses it: `You like tea [fact 1].` The client gets the text
without the mark, and a citation at its position. A mark may be split over chunks, so text that may be the start of a
mark is held back until the next chunk.
"""

import re
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

from converse_stream.memory.sources import Source, citation, labelled
from converse_stream.protocol.events import Chunk, Citation, Part

MAX_LENGTH = 400  # characters of a mark; longer text is not a mark

# A word and a number: a number alone may be an index in program code. Models write several labels in one mark, and some
# models repeat the name of the source.
_KIND = r"(?:(fact|document)s? )"
_NUMBER = r"(\d{1,4})(?::[^\[\],;\n]*+)?+"
_BETWEEN = r"(?:[,;] ?(?:and )?| and | ?& ?)"
_MARK = re.compile(rf" ?\[ ?{_KIND}{_NUMBER}(?:{_BETWEEN}{_KIND}?{_NUMBER})* ?\]", re.IGNORECASE)
_LABEL = re.compile(rf"{_KIND}?{_NUMBER}", re.IGNORECASE)

# Each start of a mark becomes a complete mark with one of the endings of these.
_COMPLETE = (" [fact 1 and document 1]", " [document 1 and fact 1]")
_ENDINGS = {mark[start:] for mark in _COMPLETE for start in range(1, len(mark))}

E = TypeVar("E")


def extract_citations(
    events: Generator[E, None, None], sources: Sequence[Source], before: Collection[Part] = ()
) -> Generator[E | Chunk | Citation, None, None]:
    """The same events with citations instead of marks: one for each used source that is not cited in `before`.

    No text is lost if the events end early or raise an exception.
    """
    unused = {label: source for label, source in labelled(sources) if citation(source) not in before}
    held = ""
    with closing(events):
        try:
            for event in events:
                if isinstance(event, Chunk) and sources:
                    text = held + event.content
                    end = _mark_start(text)
                    held = text[end:]
                    position = 0
                    for mark in _MARK.finditer(text, 0, end):
                        if len(mark[0]) > MAX_LENGTH:
                            continue
                        if mark.start() > position:
                            yield Chunk(text[position : mark.start()])
                        yield from (citation(unused.pop(label)) for label in _labels(mark[0]) if label in unused)
                        position = mark.end()
                    if end > position:
                        yield Chunk(text[position:end])
                    continue
                if held:
                    yield Chunk(held)
                    held = ""
                yield event
        except Exception:
            if held:
                yield Chunk(held)
            raise
        if held:
            yield Chunk(held)


def _mark_start(text: str) -> int:
    """The index of an incomplete mark at the end of the text; the text's length if there is none."""
    bracket = text.rfind("[")
    for start in (bracket - 1, bracket, len(text) - 1):
        tail = text[start:] if start >= max(0, len(text) - MAX_LENGTH) else ""
        if tail[:1] in {" ", "["} and any(_MARK.fullmatch(tail + ending) for ending in _ENDINGS):
            return start
    return len(text)


def _labels(mark: str) -> Iterator[str]:
    """The labels in a mark. `fact 1, 2, document 3` has three: a number without a kind has the kind before it."""
    kind = ""
    for own_kind, number in _LABEL.findall(mark):
        kind = own_kind.lower() or kind
        yield f"{kind} {int(number)}"
