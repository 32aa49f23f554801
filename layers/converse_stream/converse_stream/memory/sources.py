"""What an answer may be made of besides the conversation: facts and passages of documents, and their labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from converse_stream.protocol.events import Citation
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.store.facts import SearchableFact

MAX_QUOTE = 200  # code points; a citation is stored with each answer


@dataclass(frozen=True, slots=True)
class Document:
    """A passage of a document. `name` is its place in the collection, `url` where people can read it."""

    text: str
    name: str
    url: str | None = None


Source: TypeAlias = SearchableFact | Document


def labelled(sources: Sequence[Source]) -> Iterator[tuple[str, Source]]:
    """Each with the label by which prompt and answer name it: `fact 1`, `document 2`."""
    for name, kind in (("fact", SearchableFact), ("document", Document)):
        for number, source in enumerate((each for each in sources if isinstance(each, kind)), 1):
            yield f"{name} {number}", source


def tokens_of(source: Source) -> int:
    """Roughly what it costs in a prompt, with its label and name."""
    name = f"[document 1] {source.name}:" if isinstance(source, Document) else "[fact 100]"
    return estimate_tokens(f"{name} {source.text}\n")


def citation(source: Source) -> Citation:
    """What tells a reader that the answer used it."""
    text = " ".join(source.text.split())
    quote = text if len(text) <= MAX_QUOTE else text[: MAX_QUOTE - 1].rsplit(" ", 1)[0] + "…"
    if isinstance(source, SearchableFact):
        return Citation(fact=source.id, quote=quote)
    return Citation(url=source.url, document=source.name, quote=quote)
