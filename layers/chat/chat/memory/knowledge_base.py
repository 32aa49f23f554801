"""Documents: the passages that a Bedrock knowledge base finds for a question.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_Retrieve.html
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from chat.memory.sources import Document
from chat.prompts.prompt import estimate_tokens

if TYPE_CHECKING:
    from mypy_boto3_bedrock_agent_runtime import AgentsforBedrockRuntimeClient

PASSAGES = 5
MAX_CHARS = 1_000  # of a question, Bedrock's quota


class KnowledgeBase:
    """A `MemoryStore` that is the same for all users, and gives at most `tokens` of text."""

    def __init__(self, client: "AgentsforBedrockRuntimeClient", identity: str, *, tokens: int) -> None:
        self._client = client
        self._id = identity
        self._tokens = tokens

    def search(self, user: str, question: str, deadline: float) -> Sequence[Document]:  # noqa: ARG002  # see MemoryStore
        """Best first. Raises BotoCoreError and ClientError."""
        answer = self._client.retrieve(
            knowledgeBaseId=self._id,
            retrievalQuery={"text": question[:MAX_CHARS]},
            retrievalConfiguration={"vectorSearchConfiguration": {"numberOfResults": PASSAGES}},
        )
        found, left = [], self._tokens
        for result in answer["retrievalResults"]:
            text = result["content"].get("text", "").strip()  # a picture has none
            cost = estimate_tokens(text)
            if text and cost <= left:
                left -= cost
                found.append(_document(text, result.get("location", {})))
        return found


def _document(text: str, location: Mapping[str, Any]) -> Document:
    """A location has one member, named after where the document lies: an object of S3, a page, an id of its own."""
    place = next((each for each in location.values() if isinstance(each, dict)), {})
    if url := place.get("url"):
        parts = urlsplit(url)
        return Document(text, parts.path.strip("/") or parts.netloc, url if parts.scheme in {"http", "https"} else None)
    uri = place.get("uri") or place.get("id") or "document"
    return Document(text, urlsplit(uri).path.strip("/") or uri)
