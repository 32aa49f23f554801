"""Documents: the passages that a Bedrock knowledge base finds for a question.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_Retrieve.html
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from converse_stream.memory.sources import Document, tokens_of
from converse_stream.protocol.text import well_formed

if TYPE_CHECKING:
    from mypy_boto3_bedrock_agent_runtime import AgentsforBedrockRuntimeClient
    from mypy_boto3_bedrock_agent_runtime.type_defs import (
        KnowledgeBaseRetrievalConfigurationTypeDef,
        RetrieveResponseTypeDef,
    )

PASSAGES = 5
MAX_CHARS = 1_000  # of a question, Bedrock's quota


# How to search, by the kind of knowledge base.
VECTORS: "KnowledgeBaseRetrievalConfigurationTypeDef" = {"vectorSearchConfiguration": {"numberOfResults": PASSAGES}}
MANAGED: "KnowledgeBaseRetrievalConfigurationTypeDef" = {"managedSearchConfiguration": {"numberOfResults": PASSAGES}}


class KnowledgeBase:
    """A `MemoryStore` that is the same for all users, and gives at most `tokens`, labels and names included."""

    def __init__(self, client: "AgentsforBedrockRuntimeClient", identity: str, *, tokens: int) -> None:
        self._client = client
        self._id = identity
        self._tokens = tokens
        self._search = VECTORS  # until it turns out to be a managed one

    def search(self, user: str, question: str, deadline: float) -> Sequence[Document]:  # noqa: ARG002  # see MemoryStore
        """Best first. Raises BotoCoreError, ClientError, and TimeoutError when it is too late to pay for a search."""
        found, left = [], self._tokens
        for result in self._retrieve(question, deadline)["retrievalResults"]:
            text = well_formed(result["content"].get("text", "")).strip()  # a picture has none
            passage = _fitted(_document(text, result.get("location", {})), left)
            if passage.text:
                left -= tokens_of(passage)
                found.append(passage)
        return found

    def _retrieve(self, question: str, deadline: float) -> "RetrieveResponseTypeDef":
        """The answer of a knowledge base of either kind: a managed one refuses the way of the other, and says so."""
        if time.monotonic() >= deadline:
            raise TimeoutError
        search = self._search
        try:
            return self._client.retrieve(
                knowledgeBaseId=self._id,
                retrievalQuery={"text": question[:MAX_CHARS]},
                retrievalConfiguration=search,
            )
        except ClientError as error:
            # "vectorSearchConfiguration is not supported for managed knowledge bases. Use managedSearchConfiguration
            # instead."
            told = error.response["Error"].get("Message", "")
            if search is MANAGED or "managedSearchConfiguration" not in told:
                raise
        self._search = MANAGED
        return self._retrieve(question, deadline)


def _fitted(passage: Document, tokens: int) -> Document:
    """The passage, cut to so many tokens, between words where there are spaces; without text if that leaves none."""
    while passage.text and (cost := tokens_of(passage)) > tokens:
        shorter = passage.text[: len(passage.text) * tokens // cost]
        space = shorter.rfind(" ", len(shorter) // 2)
        passage = replace(passage, text=shorter[:space] if space > 0 else shorter)
    return passage


def _document(text: str, location: Mapping[str, Any]) -> Document:
    """A location has one member, named after where the document lies: an object of S3, a page, an id of its own."""
    place = next((each for each in location.values() if isinstance(each, dict)), {})
    where = well_formed(place.get("url") or place.get("uri") or place.get("id") or "document")
    if where.startswith("s3://"):
        return Document(text, where.removeprefix("s3://").partition("/")[2] or where)
    with suppress(ValueError):  # it looks like no address at all
        page = urlsplit(where)
        if page.scheme in {"http", "https"}:
            return Document(text, page.path.strip("/") or page.netloc, where)
    return Document(text, where)
