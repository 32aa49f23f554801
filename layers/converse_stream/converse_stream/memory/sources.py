"""The sources of an answer besides the conversation: facts and passages of documents, and their labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from converse_stream.protocol.events import Citation
from converse_stream.protocol.tokens import estimate_tokens
from converse_stream.store.facts import SearchableFact

MAX_QUOTE = 200  # code points; each answer is stored with its citations


@dataclass(frozen=True, slots=True)
class Document:
    """A passage of a document. `name` identifies the document in its collection; `url` is its web address."""

    text: str
    name: str
    url: str | None = None


Source: TypeAlias = SearchableFact | Document


def labelled(sources: Sequence[Source]) -> Iterator[tuple[str, Source]]:
    """Each source with its label in the prompt and in the answer: `fact 1`, `document 2`."""
    for name, kind in (("fact", SearchableFact), ("document", Document)):
        for number, source in enumerate((each for each in sources if isinstance(each, kind)), 1):
            yield f"{name} {number}", source


def origin(source: Source) -> str:
    """What a prompt has between the label and the text: the month of a fact, or nothing; the name of a document."""
    if isinstance(source, Document):
        return source.name
    return f"({source.created_at[:7]})" if source.created_at else ""


def tokens_of(source: Source) -> int:
    """The estimated tokens of the source in a prompt, with its label, its origin and the tags of a document."""
    if isinstance(source, Document):
        return estimate_tokens(
            f"<document-1a2b3c4d>\n[document 1] {origin(source)}\n{source.text}\n</document-1a2b3c4d>\n"
        )
    return estimate_tokens(f"[fact 100] {origin(source)} {source.text}\n")


def citation(source: Source) -> Citation:
    """The citation of the source, for the client."""
    text = " ".join(source.text.split())
    quote = text if len(text) <= MAX_QUOTE else text[: MAX_QUOTE - 1].rsplit(" ", 1)[0] + "…"
    if isinstance(source, SearchableFact):
        return Citation(fact=source.id, quote=quote)
    return Citation(url=source.url, document=source.name, quote=quote)
