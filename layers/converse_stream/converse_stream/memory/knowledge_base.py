"""Documents: searches a Bedrock knowledge base for passages that are relevant to a question.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_Retrieve.html
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from converse_stream.memory.question import Question
from converse_stream.memory.sources import Document, tokens_of
from converse_stream.protocol.text import well_formed

if TYPE_CHECKING:
    from mypy_boto3_bedrock_agent_runtime import AgentsforBedrockRuntimeClient
    from mypy_boto3_bedrock_agent_runtime.type_defs import (
        KnowledgeBaseRetrievalConfigurationTypeDef,
        RetrieveResponseTypeDef,
    )

PASSAGES = 5  # of one search
MAX_CHARS = 1_000  # of a question: a quota of Bedrock


# The search configuration, by the kind of knowledge base.
VECTORS: "KnowledgeBaseRetrievalConfigurationTypeDef" = {"vectorSearchConfiguration": {"numberOfResults": PASSAGES}}
MANAGED: "KnowledgeBaseRetrievalConfigurationTypeDef" = {"managedSearchConfiguration": {"numberOfResults": PASSAGES}}


class KnowledgeBase:
    """A `MemoryStore` with the same documents for all users. It returns at most `tokens`, with labels and names.

    Passages with a score below `min_score` are left out.
    """

    def __init__(
        self, client: "AgentsforBedrockRuntimeClient", identity: str, *, tokens: int, min_score: float = 0
    ) -> None:
        self._client = client
        self._id = identity
        self._tokens = tokens
        self._min_score = min_score
        self._search = VECTORS  # until a refusal shows that it is a managed one

    def search(self, user: str, question: Question, deadline: float) -> Sequence[Document]:  # noqa: ARG002  # see MemoryStore
        """The passages, best first. Raises BotoCoreError, ClientError, and TimeoutError if `deadline` has passed."""
        found, remaining = [], self._tokens
        for result in self._retrieve(question, deadline)["retrievalResults"]:
            if result.get("score", 1) < self._min_score:
                continue
            text = _without_blank_ends(well_formed(result["content"].get("text", "")))  # an image has no text
            passage = _truncated(_document(text, result.get("location", {})), remaining)
            if passage.text:
                remaining -= tokens_of(passage)
                found.append(passage)
        return found

    def _retrieve(self, question: Question, deadline: float) -> "RetrieveResponseTypeDef":
        """The response of a knowledge base of either kind: a managed one refuses the configuration of the other."""
        if time.monotonic() >= deadline:
            raise TimeoutError
        search = self._search
        try:
            return self._client.retrieve(
                knowledgeBaseId=self._id,
                retrievalQuery={"text": question.joined(MAX_CHARS)},
                retrievalConfiguration=search,
            )
        except ClientError as error:
            # "vectorSearchConfiguration is not supported for managed knowledge bases. Use managedSearchConfiguration
            # instead."
            message = error.response["Error"].get("Message", "")
            if search is MANAGED or "managedSearchConfiguration" not in message:
                raise
        self._search = MANAGED
        return self._retrieve(question, deadline)


def _without_blank_ends(text: str) -> str:
    """The text without blank lines at its ends. The first line keeps its indentation."""
    blank = text[: len(text) - len(text.lstrip())]
    return text[blank.rfind("\n") + 1 :].rstrip()


def _truncated(passage: Document, tokens: int) -> Document:
    """The passage with at most `tokens`, cut between words if it has spaces. Its text may be empty."""
    while passage.text and (cost := tokens_of(passage)) > tokens:
        shorter = passage.text[: len(passage.text) * tokens // cost]
        space = shorter.rfind(" ", len(shorter) // 2)
        passage = replace(passage, text=shorter[:space] if space > 0 else shorter)
    return passage


def _document(text: str, location: Mapping[str, Any]) -> Document:
    """The document. `location` has one member, named after its source: an object in S3, a web page, or a custom id."""
    source = next((each for each in location.values() if isinstance(each, dict)), {})
    address = well_formed(source.get("url") or source.get("uri") or source.get("id") or "document")
    if address.startswith("s3://"):
        return Document(text, address.removeprefix("s3://").partition("/")[2] or address)
    with suppress(ValueError):  # not a URL
        url = urlsplit(address)
        if url.scheme in {"http", "https"}:
            return Document(text, url.path.strip("/") or url.netloc, address)
    return Document(text, address)
