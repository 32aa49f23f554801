"""From the model's marks to citations, pure.

The model writes the label of what it uses behind its words: `You like tea [fact 1].` A reader gets the words without
the mark, and a citation at its place. A mark may come in pieces: what could be the begin of one is held back until the
next piece comes.
"""

import re
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

from chat.events import Chunk, Citation, Part
from chat.memory.sources import Source, citation, labelled

# A word and a number, because a number alone is an index in somebody's code.
_MARK = re.compile(r" ?\[((?:fact|document) \d+(?:, ?(?:(?:fact|document) )?\d+)*)\]", re.IGNORECASE)
_BEGUN = re.compile(r"(?: | ?\[(?:[fd][a-z]{0,7}(?: [a-z\d, ]{0,80})?)?)$", re.IGNORECASE)
_LABEL = re.compile(r"(?:(fact|document) )?(\d+)", re.IGNORECASE)

E = TypeVar("E")


def cited(
    events: Generator[E, None, None], sources: Sequence[Source], before: Collection[Part] = ()
) -> Generator[E | Chunk | Citation, None, None]:
    """The same events with marks made citations: one for each source that is used, and not cited `before`."""
    unused = {label: source for label, source in labelled(sources) if citation(source) not in before}
    held = ""
    with closing(events):
        for event in events:
            if isinstance(event, Chunk) and sources:
                text = held + event.content
                begun = _BEGUN.search(text)
                end = begun.start() if begun else len(text)
                held = text[end:]
                at = 0
                for mark in _MARK.finditer(text, 0, end):
                    if mark.start() > at:
                        yield Chunk(text[at : mark.start()])
                    yield from (citation(unused.pop(label)) for label in _labels(mark[1]) if label in unused)
                    at = mark.end()
                if end > at:
                    yield Chunk(text[at:end])
                continue
            if held:
                yield Chunk(held)
                held = ""
            yield event


def _labels(mark: str) -> Iterator[str]:
    """`fact 1, 2, document 3` names three; a kind holds until the next one."""
    kind = ""
    for named, number in _LABEL.findall(mark):
        kind = named.lower() or kind
        yield f"{kind} {int(number)}"
