"""Answers of a knowledge base, checked by botocore's parsers and validators, and the passages in the prompt."""

import time
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import boto3
import pytest
from botocore.stub import Stubber

from converse_stream.dialects import sse
from converse_stream.dialects.native import to_json
from converse_stream.memory.knowledge_base import MAX_CHARS, PASSAGES, KnowledgeBase
from converse_stream.memory.lookup import Memory
from converse_stream.memory.question import Question
from converse_stream.memory.sources import Document, citation, tokens_of
from converse_stream.prompts import builder
from converse_stream.prompts.templates import render
from converse_stream.protocol.tokens import estimate_tokens

LOCATIONS = [
    ({"type": "S3", "s3Location": {"uri": "s3://bucket/guides/rivers.md"}}, "guides/rivers.md", None),
    ({"type": "S3", "s3Location": {"uri": "s3://bucket/C# [1] what?.md"}}, "C# [1] what?.md", None),
    ({"type": "S3", "s3Location": {"uri": "s3://bucket"}}, "s3://bucket", None),
    (
        {"type": "WEB", "webLocation": {"url": "https://example.com/tides?b=1"}},
        "tides",
        "https://example.com/tides?b=1",
    ),
    ({"type": "WEB", "webLocation": {"url": "https://example.com/"}}, "example.com", "https://example.com/"),
    ({"type": "WEB", "webLocation": {"url": "https://[example/"}}, "https://[example/", None),
    ({"type": "CONFLUENCE", "confluenceLocation": {"url": "javascript:alert(1)"}}, "javascript:alert(1)", None),
    (
        {"type": "KENDRA", "kendraDocumentLocation": {"uri": "https://example.com/wiki/a?page=1"}},
        "wiki/a",
        "https://example.com/wiki/a?page=1",
    ),
    ({"type": "CUSTOM", "customDocumentLocation": {"id": "handbook"}}, "handbook", None),
    ({"type": "CUSTOM", "customDocumentLocation": {"id": "ticket:4711#2"}}, "ticket:4711#2", None),
    ({"type": "SQL", "sqlLocation": {"query": "select 1"}}, "document", None),
    (None, "document", None),
]


QUESTION = Question("?")


def search(
    *results: dict[str, Any],
    question: Question = QUESTION,
    query: str = "?",
    tokens: int = 100,
    min_score: float = 0,
) -> list[Document]:
    """The documents that are made from these results. Asserts that `query` is sent."""
    client = boto3.client("bedrock-agent-runtime", region_name="us-east-1")
    expected_request = {
        "knowledgeBaseId": "ABCDEFGHIJ",
        "retrievalQuery": {"text": query},
        "retrievalConfiguration": {"vectorSearchConfiguration": {"numberOfResults": PASSAGES}},
    }
    with Stubber(client) as stubber:
        stubber.add_response("retrieve", {"retrievalResults": list(results)}, expected_request)
        base = KnowledgeBase(client, "ABCDEFGHIJ", tokens=tokens, min_score=min_score)
        return list(base.search("user", question, float("inf")))


@pytest.mark.parametrize(("location", "name", "url"), LOCATIONS)
def test_passage_has_the_name_and_url_of_its_location(location: Any, name: str, url: str | None) -> None:
    result = {"content": {"text": "Rivers flow."}} | ({"location": location} if location else {})
    assert search(result) == [Document("Rivers flow.", name, url)]


def passage(text: str) -> dict[str, Any]:
    return {"content": {"text": text}, "location": {"type": "S3", "s3Location": {"uri": "s3://bucket/rivers.md"}}}


def test_lone_surrogate_in_a_passage_or_its_name_is_replaced() -> None:
    location = {"type": "WEB", "webLocation": {"url": "https://example.com/\ud83d"}}
    [document] = search({"content": {"text": "\ude00 Rivers \ud83c\udf0a"}, "location": location})
    assert document == Document("\ufffd Rivers 🌊", "\ufffd", "https://example.com/\ufffd")
    assert sse.data(to_json(citation(document))).encode()


def test_search_after_the_deadline_sends_no_request() -> None:
    client = Mock()
    with pytest.raises(TimeoutError):
        KnowledgeBase(client, "ABCDEFGHIJ", tokens=100).search("user", Question("?"), time.monotonic())
    client.retrieve.assert_not_called()


def test_images_and_blank_passages_are_omitted() -> None:
    assert [document.text for document in search({"content": {"type": "IMAGE"}}, passage(" "), passage("a"))] == ["a"]


@pytest.mark.parametrize("budget", [0, 1, 60, 100, 300, 10_000])
@pytest.mark.parametrize("word", ["rivers ", "реки ", "川"])
def test_passages_with_labels_and_names_are_within_the_token_budget(word: str, budget: int) -> None:
    documents = search(*[passage(word * 100)] * 3, tokens=budget)
    built = builder.build(
        Memory(None, sources=tuple(documents)),
        (),
        "?",
        assistant="Ada",
        budget=builder.PromptBudget(100_000, 1_000),
        context=builder.RequestContext("7f3a9c21", datetime.now(UTC)),
    )
    rule = estimate_tokens(render("documents"))
    assert estimate_tokens(built.documents) <= budget + (rule if documents else 0)
    assert documents or budget < 30


def test_passage_keeps_its_lines_and_the_indentation_of_the_first() -> None:
    [document] = search(passage("\n \n    if x:\n        y()\n\n"))
    assert document.text == "    if x:\n        y()"


def test_long_passage_is_truncated_between_words() -> None:
    """Also the only passage."""
    [document] = search(passage("rivers flow " * 1_000), tokens=50)
    assert document.text.startswith("rivers flow ")
    assert document.text.endswith(("rivers", "flow"))
    assert 40 <= tokens_of(document) <= 50
    first, second = search(passage("rivers flow " * 10), passage("tides turn " * 1_000), tokens=100)
    assert first.text == ("rivers flow " * 10).strip()
    assert second.text.startswith("tides turn tides")


def test_long_question_is_truncated_to_the_limit_of_bedrock() -> None:
    search(question=Question("x" * 5_000, "y"), query="x" * MAX_CHARS)


def test_query_has_the_message_and_then_as_much_of_the_previous_one_as_fits() -> None:
    search(
        question=Question("How old is it?", "Tell me about the bridge."),
        query="How old is it?\nTell me about the bridge.",
    )
    search(question=Question("x" * 990, "y" * 990), query="x" * 990 + "\n" + "y" * 9)


def test_passages_below_the_lowest_score_are_left_out() -> None:
    scored = [passage("high") | {"score": 0.5}, passage("low") | {"score": 0.49}, passage("without a score")]
    assert [document.text for document in search(*scored, min_score=0.5)] == ["high", "without a score"]
    assert len(search(*scored)) == 3
