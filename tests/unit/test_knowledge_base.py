"""What a knowledge base answers, by botocore's own parsers and validators; and the passages that a prompt gets."""

from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from chat.memory.knowledge_base import MAX_CHARS, PASSAGES, KnowledgeBase
from chat.memory.sources import Document

LOCATIONS = [
    ({"type": "S3", "s3Location": {"uri": "s3://bucket/guides/rivers.md"}}, "guides/rivers.md", None),
    (
        {"type": "WEB", "webLocation": {"url": "https://example.com/tides?b=1"}},
        "tides",
        "https://example.com/tides?b=1",
    ),
    ({"type": "WEB", "webLocation": {"url": "https://example.com/"}}, "example.com", "https://example.com/"),
    ({"type": "CONFLUENCE", "confluenceLocation": {"url": "javascript:alert(1)"}}, "alert(1)", None),
    ({"type": "CUSTOM", "customDocumentLocation": {"id": "handbook"}}, "handbook", None),
    ({"type": "SQL", "sqlLocation": {"query": "select 1"}}, "document", None),
    (None, "document", None),
]


def search(*results: dict[str, Any], question: str = "?", tokens: int = 100) -> list[Document]:
    client = boto3.client("bedrock-agent-runtime", region_name="us-east-1")
    asked = {
        "knowledgeBaseId": "ABCDEFGHIJ",
        "retrievalQuery": {"text": question[:MAX_CHARS]},
        "retrievalConfiguration": {"vectorSearchConfiguration": {"numberOfResults": PASSAGES}},
    }
    with Stubber(client) as stubber:
        stubber.add_response("retrieve", {"retrievalResults": list(results)}, asked)
        return list(KnowledgeBase(client, "ABCDEFGHIJ", tokens=tokens).search("user", question, float("inf")))


@pytest.mark.parametrize(("location", "name", "url"), LOCATIONS)
def test_a_passage_has_a_place(location: Any, name: str, url: str | None) -> None:
    result = {"content": {"text": "Rivers flow."}} | ({"location": location} if location else {})
    assert search(result) == [Document("Rivers flow.", name, url)]


def test_what_does_not_fit_is_left_out_and_what_is_no_text_too() -> None:
    texts = ["a" * 40, "b" * 400, "c" * 40]
    found = search({"content": {"type": "IMAGE"}}, *({"content": {"text": text}} for text in texts), tokens=20)
    assert [document.text[0] for document in found] == ["a", "c"]


def test_a_long_question_is_cut_to_what_bedrock_takes() -> None:
    assert search(question="x" * 5_000) == []
