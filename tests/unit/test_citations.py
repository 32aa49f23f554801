"""Marks become citations wherever the model's pieces are cut, and what is no mark stays."""

from collections.abc import Generator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converse_stream.memory.citations import cited
from converse_stream.memory.sources import MAX_QUOTE, Document, citation
from converse_stream.protocol.errors import ModelError
from converse_stream.protocol.events import (
    Chunk,
    Citation,
    Event,
    Progress,
    merge,
)
from converse_stream.store.facts import SearchableFact

TEA = SearchableFact("tea-id", "likes tea")
DOG = SearchableFact("dog-id", "has a dog")
RIVERS = Document("Rivers flow.", "guides/rivers.md")
SITE = Document("Tides turn.", "tides", "https://example.com/tides")
SOURCES = (TEA, DOG, RIVERS, SITE)


def read(*events: Event, sources: tuple[SearchableFact | Document, ...] = SOURCES) -> list[Event]:
    def said() -> Generator[Event, None, None]:
        yield from events

    return list(merge(cited(said(), sources)))


def test_a_citation_stands_where_its_mark_stood() -> None:
    assert read(Chunk("You like tea [fact 1]. Rivers flow [document 1].")) == [
        Chunk("You like tea"),
        Citation(fact="tea-id", quote="likes tea"),
        Chunk(". Rivers flow"),
        Citation(document="guides/rivers.md", quote="Rivers flow."),
        Chunk("."),
    ]


def test_what_is_cited_already_is_not_cited_again() -> None:
    def said() -> Generator[Event, None, None]:
        yield Chunk("You like tea [fact 1] and have a dog [fact 2].")

    assert list(merge(cited(said(), SOURCES, before=(Chunk("Tea"), citation(TEA))))) == [
        Chunk("You like tea and have a dog"),
        citation(DOG),
        Chunk("."),
    ]


MARKS = [
    ("[fact 1, fact 2]", [TEA, DOG]),
    ("[fact 1, 2]", [TEA, DOG]),
    ("[Document 2, Fact 1]", [SITE, TEA]),
    ("[fact 1] [fact 1]", [TEA]),
    ("[fact 9]", []),
    ("[fact 01]", [TEA]),
    ("[facts 1, 2]", [TEA, DOG]),
    ("[facts 1 and 2]", [TEA, DOG]),
    ("[fact 1 and fact 2]", [TEA, DOG]),
    ("[fact 1, document 2, and document 1]", [TEA, SITE, RIVERS]),
    ("[fact 1; documents 1 & 2]", [TEA, RIVERS, SITE]),
    ("[ fact 1 ]", [TEA]),
    ("[document 1: guides/rivers.md]", [RIVERS]),
    ("[document 1: one and two.md, document 2: tides; fact 2]", [RIVERS, SITE, DOG]),
    (f"[{', '.join(f'fact {number}' for number in range(1, 31))}]", [TEA, DOG]),
]


@pytest.mark.parametrize(("mark", "sources"), MARKS)
def test_marks(mark: str, sources: list[SearchableFact | Document]) -> None:
    said = f"so {mark}"
    assert read(Chunk(said)) == [Chunk("so"), *map(citation, sources)]
    assert read(*map(Chunk, said)) == [Chunk("so"), *map(citation, sources)]


NO_MARKS = [
    "a[1] = [document]",
    "[fact one]",
    "[^1] [2]",
    "[factory 1]",
    "x [fact 1",
    " ",
    "a ",
    "[fact 12345]",
    f"[fact {'1' * 5000}]",
    f"[fact {', '.join('1' * 200)}]",  # too long to be waited for
    "[document 1: a [link]]",
]


@pytest.mark.parametrize("text", NO_MARKS)
def test_other_brackets_stay(text: str) -> None:
    assert read(Chunk(text), Progress("retry")) == [Chunk(text), Progress("retry")]


def pieces(data: st.DataObject) -> list[Chunk]:
    """A text with marks, long ones too, cut anywhere."""
    bits = st.sampled_from(
        ["tea", " ", "[", "]", "[fact 1]", " [document 2, fact 2]", "a[1]", "[fact", " 2]", "🌊", ".", ": x", " and "]
    )
    numbers = st.lists(st.integers(0, 99), min_size=2, max_size=60)
    long = numbers.map(lambda chosen: f" [{', '.join(f'fact {number}' for number in chosen)}]")
    text = "".join(data.draw(st.lists(bits | long, max_size=12)))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=12)) | {0, len(text)})
    return [Chunk(text[start:end]) for start, end in pairwise(cuts) if end > start]


@given(st.data())
def test_it_does_not_matter_where_the_pieces_are_cut(data: st.DataObject) -> None:
    cut = pieces(data)
    text, end = "".join(piece.content for piece in cut), Progress("retry")
    assert read(*cut, end) == read(Chunk(text), end)


@given(st.data())
def test_nothing_is_lost_when_the_model_fails_or_ends_early(data: st.DataObject) -> None:
    cut, heard = pieces(data), list[Event]()

    def said() -> Generator[Event, None, None]:
        yield from cut
        raise ModelError

    with pytest.raises(ModelError):
        heard.extend(cited(said(), SOURCES))
    assert list(merge(heard)) == read(*cut) == read(*cut, Progress("retry"))[:-1]


SAID = [
    ("so [fact", "so"),
    ("so [fact 1, and d", "so"),
    ("so [document 1: a nam", "so"),
    ("so ", "so"),
    ("so [d [fac", "so [d"),
    ("so [for example", "so [for example"),
    ("so [fact 1x", "so [fact 1x"),
    ("so [fact 1] [fact 1 is", "so"),
]


@pytest.mark.parametrize(("text", "said"), SAID)
def test_only_what_may_become_a_mark_is_held_back(text: str, said: str) -> None:
    assert next(cited((Chunk(each) for each in (text, "!")), SOURCES)) == Chunk(said)


def test_a_reader_who_leaves_is_told_nothing_more() -> None:
    reader = cited((event for event in (Chunk("a ["), Chunk("b"))), SOURCES)
    assert next(reader) == Chunk("a")
    reader.close()


def test_without_sources_everything_is_the_model_s() -> None:
    assert read(Chunk("see [fact 1]"), sources=()) == [Chunk("see [fact 1]")]


def test_the_model_is_closed_with_its_reader() -> None:
    closed = []

    def said() -> Generator[Event, None, None]:
        try:
            yield Chunk("a")
            yield Chunk("b")
        finally:
            closed.append(True)

    reader = cited(said(), SOURCES)
    next(reader)
    reader.close()
    assert closed


def test_a_quote_is_short_and_on_one_line() -> None:
    quote = citation(Document("word\n\n" * 200, "long.md")).quote or ""
    assert len(quote) <= MAX_QUOTE
    assert quote.endswith("word…")
    assert "\n" not in quote
