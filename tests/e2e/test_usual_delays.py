"""Documents with Bedrock's usual delays, from a managed knowledge base, which refuses a vector search."""

from collections.abc import Iterator
from typing import Any

import pytest

from local_stack.bedrock.documents import MANAGED_KNOWLEDGE_BASE
from tests.e2e.chat import Person
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = pytest.mark.xdist_group("usual-delays")  # one stack for all tests


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    documents = ("--usual-delays", "--documents", "tests/e2e/documents")
    knowledge_base = ("--parameter", f"KnowledgeBaseId={MANAGED_KNOWLEDGE_BASE}")
    running = start_stack(*documents, *knowledge_base, "--parameter", "DocumentsMilliseconds=3000")
    yield running
    stop_stack(running)


def test_a_managed_knowledge_base_returns_documents_in_time(person: Person) -> None:
    """The environment remembers the kind of the knowledge base."""
    for _ in range(2):
        answer = person.send("How deep is the harbour basin of Aveiro? [[pace=1 first=1]]")
        assert "guides/harbour.md" in {event.get("document") for event in answer.events if event["type"] == "citation"}
        assert answer.times_of("complete")[0] > 0.34
    bodies: list[dict[str, Any]] = [
        record["body"] for record in person.stack.requests() if "retrieve" in record["path"]
    ]
    configurations = [next(iter(body["retrievalConfiguration"])) for body in bodies]
    assert configurations == ["vectorSearchConfiguration", *["managedSearchConfiguration"] * 2]
