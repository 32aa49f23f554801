"""Retrieve: a knowledge base with the Markdown files of a folder. Passages are ranked by their words.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_Retrieve.html
"""

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_stack.bedrock import validation
from local_stack.bedrock.directives import strip
from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.events import Json

# Two knowledge bases with the same files: a vector one and a managed one. The ids have the format of Bedrock's ids.
KNOWLEDGE_BASE = "LOCALFILES"
MANAGED_KNOWLEDGE_BASE = "LOCALMANAG"
PASSAGE_LENGTH = 1_000  # UTF-16 code units; about 300 tokens, as in Bedrock
DEFAULT_RESULTS = 5
_SEARCH = {
    KNOWLEDGE_BASE: ("vector", "vectorSearchConfiguration"),
    MANAGED_KNOWLEDGE_BASE: ("managed", "managedSearchConfiguration"),
}
_HEADINGS = re.compile(r"(?:#{1,6} .*(?:\n\s*|$))+")


class UnreadableDocument(Exception):
    """A file is not UTF-8 text. The message names the file."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a file. `file` is the path in the folder. `words` are those of the file's name and of the text."""

    file: str
    text: str
    words: frozenset[str]


class Documents:
    """The passages of all `*.md` files below `folder`, read once. Without a folder there are none.

    Raises UnreadableDocument.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._passages = list(_read(folder)) if folder else []

    def retrieve(self, knowledge_base: str, body: Any) -> Json:
        """Return the body of the response to Retrieve. Raises BedrockError."""
        validation.check_retrieve(knowledge_base, body)
        if knowledge_base not in _SEARCH:
            raise BedrockError("ResourceNotFoundException", f"Knowledge base with id {knowledge_base} does not exist.")
        config = _search(knowledge_base, body.get("retrievalConfiguration", {}))
        query = set(_words(strip(body["retrievalQuery"].get("text", ""))))
        best = self._ranked(query)[: config.get("numberOfResults", DEFAULT_RESULTS)]
        return {"retrievalResults": [_result(passage, score) for score, passage in best]}

    def _ranked(self, query: set[str]) -> list[tuple[float, Passage]]:
        """Return scores and passages, best first. Passages without a word of the query are left out.

        A rare word counts more than a frequent one.
        """
        total = len(self._passages)
        weights = {word: math.log(1 + total / (1 + self._count(word))) for word in query}
        scored = [
            (sum(weights[word] for word in sorted(query & passage.words)) / math.sqrt(1 + len(passage.words)), passage)
            for passage in self._passages
        ]
        return sorted((each for each in scored if each[0] > 0), key=lambda each: -each[0])

    def _count(self, word: str) -> int:
        return sum(word in passage.words for passage in self._passages)


def _search(knowledge_base: str, configuration: Json) -> Json:
    """Return the search configuration. Raises BedrockError if it is for the other kind of knowledge base.

    The message is that of mezmo/aura issue 499 and awslabs/mcp pull request 4574. For a vector knowledge base no
    message is reported; we use the same one.
    """
    kind, expected = _SEARCH[knowledge_base]
    other = next((name for name in configuration if name != expected), None)
    if other is not None:
        raise BedrockError(
            "ValidationException",
            f"Incompatible configuration: {other} is not supported for {kind} knowledge bases. Use {expected} instead.",
        )
    search: Json = configuration.get(expected, {})
    return search


def _read(folder: Path) -> Iterator[Passage]:
    for path in sorted(folder.rglob("*.md")):
        file = path.relative_to(folder).as_posix()
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UnreadableDocument(f"{path} cannot be read as UTF-8 text: {error}") from None
        for passage in map(_from_units, _passages(_units(text))):
            yield Passage(file, passage, frozenset(_words(f"{file} {passage}")))


# Passages are split by UTF-16 code units, so a passage may start or end with half a surrogate pair, as from Bedrock.


def _units(text: str) -> str:
    """Return the text with one character for each UTF-16 code unit."""
    return "".join(chr(unit) for (unit,) in struct.iter_unpack("<H", text.encode("utf-16-le")))


def _from_units(units: str) -> str:
    """Reverse `_units`. A surrogate without its other half is kept."""
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _passages(text: str) -> Iterator[str]:
    """Split a file into passages: its sections, and pieces of long sections.

    A section that is only a heading is joined with the next one.
    """
    above = ""
    for section in re.split(r"^(?=#{1,6} )", text, flags=re.MULTILINE):
        passage = f"{above}{section}".strip()
        above = f"{passage}\n\n" if _HEADINGS.fullmatch(passage) else ""
        if not above:
            yield from _pieces(passage)


def _pieces(text: str) -> Iterator[str]:
    """Split a text into pieces of at most PASSAGE_LENGTH characters.

    Splits between paragraphs if possible, otherwise between lines or words. Does not split directly after a heading.
    """
    while len(text) > PASSAGE_LENGTH:
        headings = _HEADINGS.match(text)
        low = headings.end() + 1 if headings else 0
        ends = (text.rfind(gap, low, PASSAGE_LENGTH) for gap in ("\n\n", "\n", " "))
        end = next((end for end in ends if end > low), PASSAGE_LENGTH)
        yield text[:end].rstrip()
        text = text[end:].lstrip()
    if text:
        yield text


def _words(text: str) -> list[str]:
    return re.findall(r"\w{3,}", text.lower())


def _result(passage: Passage, score: float) -> Json:
    uri = f"s3://documents/{passage.file}"
    return {
        "content": {"type": "TEXT", "text": passage.text},
        "location": {"type": "S3", "s3Location": {"uri": uri}},
        "metadata": {"x-amz-bedrock-kb-source-uri": uri},
        "score": round(score, 6),
    }
