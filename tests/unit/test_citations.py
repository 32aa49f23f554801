"""Marks in the model's text become citations, however the text is split into chunks; other text stays the same."""

from collections.abc import Generator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converse_stream.memory.citations import extract_citations
from converse_stream.memory.sources import MAX_QUOTE, Document, citation
from converse_stream.protocol.errors import ModelError
from converse_stream.protocol.events import Chunk, Citation, Event, Progress, merge
from converse_stream.store.facts import SearchableFact

TEA = SearchableFact("tea-id", "likes tea")
DOG = SearchableFact("dog-id", "has a dog")
RIVERS = Document("Rivers flow.", "guides/rivers.md")
SITE = Document("Tides turn.", "tides", "https://example.com/tides")
SOURCES = (TEA, DOG, RIVERS, SITE)


def read(*events: Event, sources: tuple[SearchableFact | Document, ...] = SOURCES) -> list[Event]:
    def model_events() -> Generator[Event, None, None]:
        yield from events

    return list(merge(extract_citations(model_events(), sources)))


def test_mark_is_replaced_by_its_citation_in_place() -> None:
    assert read(Chunk("You like tea [fact 1]. Rivers flow [document 1].")) == [
        Chunk("You like tea"),
        Citation(fact="tea-id", quote="likes tea"),
        Chunk(". Rivers flow"),
        Citation(document="guides/rivers.md", quote="Rivers flow."),
        Chunk("."),
    ]


def test_source_cited_in_the_prefix_is_not_cited_again() -> None:
    def model_events() -> Generator[Event, None, None]:
        yield Chunk("You like tea [fact 1] and have a dog [fact 2].")

    assert list(merge(extract_citations(model_events(), SOURCES, before=(Chunk("Tea"), citation(TEA))))) == [
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
def test_mark_becomes_the_citations_of_its_sources(mark: str, sources: list[SearchableFact | Document]) -> None:
    text = f"so {mark}"
    assert read(Chunk(text)) == [Chunk("so"), *map(citation, sources)]
    assert read(*map(Chunk, text)) == [Chunk("so"), *map(citation, sources)]


NOT_MARKS = [
    "a[1] = [document]",
    "[fact one]",
    "[^1] [2]",
    "[factory 1]",
    "x [fact 1",
    " ",
    "a ",
    "[fact 12345]",
    f"[fact {'1' * 5000}]",
    f"[fact {', '.join('1' * 200)}]",  # longer than the text that is held back for a mark
    "[document 1: a [link]]",
]


@pytest.mark.parametrize("text", NOT_MARKS)
def test_brackets_that_are_not_a_mark_stay_in_the_text(text: str) -> None:
    assert read(Chunk(text), Progress("retry")) == [Chunk(text), Progress("retry")]


def draw_chunks(data: st.DataObject) -> list[Chunk]:
    """A text with short and long marks, split at arbitrary positions."""
    fragments = st.sampled_from(
        ["tea", " ", "[", "]", "[fact 1]", " [document 2, fact 2]", "a[1]", "[fact", " 2]", "🌊", ".", ": x", " and "]
    )
    numbers = st.lists(st.integers(0, 99), min_size=2, max_size=60)
    long = numbers.map(lambda drawn: f" [{', '.join(f'fact {number}' for number in drawn)}]")
    text = "".join(data.draw(st.lists(fragments | long, max_size=12)))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=12)) | {0, len(text)})
    return [Chunk(text[start:end]) for start, end in pairwise(cuts) if end > start]


@given(st.data())
def test_citations_do_not_depend_on_the_split_into_chunks(data: st.DataObject) -> None:
    chunks = draw_chunks(data)
    text, end = "".join(chunk.content for chunk in chunks), Progress("retry")
    assert read(*chunks, end) == read(Chunk(text), end)


@given(st.data())
def test_all_text_is_sent_when_the_model_fails_or_ends_early(data: st.DataObject) -> None:
    chunks, events = draw_chunks(data), list[Event]()

    def model_events() -> Generator[Event, None, None]:
        yield from chunks
        raise ModelError

    with pytest.raises(ModelError):
        events.extend(extract_citations(model_events(), SOURCES))
    assert list(merge(events)) == read(*chunks) == read(*chunks, Progress("retry"))[:-1]


HELD_BACK = [
    ("so [fact", "so"),
    ("so [fact 1, and d", "so"),
    ("so [document 1: a nam", "so"),
    ("so ", "so"),
    ("so [d [fac", "so [d"),
    ("so [for example", "so [for example"),
    ("so [fact 1x", "so [fact 1x"),
    ("so [fact 1] [fact 1 is", "so"),
]


@pytest.mark.parametrize(("text", "sent"), HELD_BACK)
def test_only_the_possible_beginning_of_a_mark_is_held_back(text: str, sent: str) -> None:
    assert next(extract_citations((Chunk(content) for content in (text, "!")), SOURCES)) == Chunk(sent)


def test_closed_reader_receives_no_held_back_text() -> None:
    reader = extract_citations((event for event in (Chunk("a ["), Chunk("b"))), SOURCES)
    assert next(reader) == Chunk("a")
    reader.close()


def test_without_sources_marks_stay_in_the_text() -> None:
    assert read(Chunk("see [fact 1]"), sources=()) == [Chunk("see [fact 1]")]


def test_closing_the_reader_closes_the_model_stream() -> None:
    closed = []

    def model_events() -> Generator[Event, None, None]:
        try:
            yield Chunk("a")
            yield Chunk("b")
        finally:
            closed.append(True)

    reader = extract_citations(model_events(), SOURCES)
    next(reader)
    reader.close()
    assert closed


def test_quote_is_short_and_on_one_line() -> None:
    quote = citation(Document("word\n\n" * 200, "long.md")).quote or ""
    assert len(quote) <= MAX_QUOTE
    assert quote.endswith("word…")
    assert "\n" not in quote
