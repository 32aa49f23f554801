"""From the model's marks to citations, pure.

The model writes the label of what it uses behind its words: `You like tea [fact 1].` A reader gets the words without
the mark, and a citation at its place. A mark may come in pieces: what could be the begin of one is held back until the
next piece comes.
"""

import re
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

from converse_stream.memory.sources import Source, citation, labelled
from converse_stream.protocol.events import Chunk, Citation, Part

MAX_LENGTH = 400  # characters of a mark; a begin that is longer is none

# A word and a number, because a number alone is an index in somebody's code. Models write many of them into one mark,
# and some repeat the source's name.
_KIND = r"(?:(fact|document)s? )"
_NUMBER = r"(\d{1,4})(?::[^\[\],;\n]*+)?+"
_BETWEEN = r"(?:[,;] ?(?:and )?| and | ?& ?)"
_MARK = re.compile(rf" ?\[ ?{_KIND}{_NUMBER}(?:{_BETWEEN}{_KIND}?{_NUMBER})* ?\]", re.IGNORECASE)
_LABEL = re.compile(rf"{_KIND}?{_NUMBER}", re.IGNORECASE)

# Whatever is the begin of a mark becomes one by the end of one of these.
_WHOLE = (" [fact 1 and document 1]", " [document 1 and fact 1]")
_ENDS = {whole[at:] for whole in _WHOLE for at in range(1, len(whole))}

E = TypeVar("E")


def cited(
    events: Generator[E, None, None], sources: Sequence[Source], before: Collection[Part] = ()
) -> Generator[E | Chunk | Citation, None, None]:
    """The same events with marks made citations: one for each source that is used, and not cited `before`.

    Nothing that was said is lost when the events fail or end early.
    """
    unused = {label: source for label, source in labelled(sources) if citation(source) not in before}
    held = ""
    with closing(events):
        try:
            for event in events:
                if isinstance(event, Chunk) and sources:
                    text = held + event.content
                    end = _begun(text)
                    held = text[end:]
                    at = 0
                    for mark in _MARK.finditer(text, 0, end):
                        if len(mark[0]) > MAX_LENGTH:
                            continue
                        if mark.start() > at:
                            yield Chunk(text[at : mark.start()])
                        yield from (citation(unused.pop(label)) for label in _labels(mark[0]) if label in unused)
                        at = mark.end()
                    if end > at:
                        yield Chunk(text[at:end])
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


def _begun(text: str) -> int:
    """Where at its end the text may begin a mark; its length if it does not."""
    bracket = text.rfind("[")
    for start in (bracket - 1, bracket, len(text) - 1):
        begin = text[start:] if start >= max(0, len(text) - MAX_LENGTH) else ""
        if begin[:1] in {" ", "["} and any(_MARK.fullmatch(begin + end) for end in _ENDS):
            return start
    return len(text)


def _labels(mark: str) -> Iterator[str]:
    """`fact 1, 2, document 3` names three; a kind holds until the next one."""
    kind = ""
    for named, number in _LABEL.findall(mark):
        kind = named.lower() or kind
        yield f"{kind} {int(number)}"
