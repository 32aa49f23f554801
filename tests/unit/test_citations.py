"""Marks become citations wherever the model's pieces are cut, and what is no mark stays."""

from collections.abc import Generator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.events import Chunk, Citation, Event, Progress, merge
from chat.memory.citations import cited
from chat.memory.sources import MAX_QUOTE, Document, citation
from chat.store.facts import Remembered

TEA = Remembered("tea-id", "likes tea")
DOG = Remembered("dog-id", "has a dog")
RIVERS = Document("Rivers flow.", "guides/rivers.md")
SITE = Document("Tides turn.", "tides", "https://example.com/tides")
SOURCES = (TEA, DOG, RIVERS, SITE)


def read(*events: Event, sources: tuple[Remembered | Document, ...] = SOURCES) -> list[Event]:
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
]


@pytest.mark.parametrize(("mark", "sources"), MARKS)
def test_marks(mark: str, sources: list[Remembered | Document]) -> None:
    assert read(Chunk(f"so {mark}")) == [Chunk("so"), *map(citation, sources)]


@pytest.mark.parametrize("text", ["a[1] = [document]", "[fact one]", "[^1] [2]", "[factory 1]", "x [fact 1", " ", "a "])
def test_other_brackets_stay(text: str) -> None:
    assert read(Chunk(text), Progress("retry")) == [Chunk(text), Progress("retry")]


@given(st.data())
def test_it_does_not_matter_where_the_pieces_are_cut(data: st.DataObject) -> None:
    words = st.sampled_from(
        ["tea", " ", "[", "]", "[fact 1]", " [document 2, fact 2]", "a[1]", "[fact", " 2]", "🌊", "."]
    )
    text = "".join(data.draw(st.lists(words, max_size=12)))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=12)) | {0, len(text)})
    pieces = [Chunk(text[start:end]) for start, end in pairwise(cuts) if end > start]
    end = Progress("retry")
    assert read(*pieces, end) == read(Chunk(text), end)


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
