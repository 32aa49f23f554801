"""Documents at the speed at which Bedrock finds them, from the kind of knowledge base that refuses our first way."""

from collections.abc import Iterator
from typing import Any

import pytest

from local_stack.bedrock.documents import MANAGED_KNOWLEDGE_BASE
from tests.e2e.chat import Person
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = pytest.mark.xdist_group("usual delays")  # one stack for all


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    documents = ("--usual-delays", "--documents", "tests/e2e/documents")
    knowledge_base = ("--parameter", f"KnowledgeBaseId={MANAGED_KNOWLEDGE_BASE}")
    running = start_stack(*documents, *knowledge_base, "--parameter", "DocumentsMilliseconds=3000")
    yield running
    stop_stack(running)


def test_documents_are_found_in_time_by_a_managed_knowledge_base(person: Person) -> None:
    """The environment remembers which kind it is."""
    for _ in range(2):
        answer = person.say("How deep is the harbour basin of Aveiro? [[pace=1 first=1]]")
        assert "guides/harbour.md" in {event.get("document") for event in answer.events if event["type"] == "citation"}
        assert answer.times_of("complete")[0] > 0.34
    asked: list[dict[str, Any]] = [each["body"] for each in person.stack.requests() if "retrieve" in each["path"]]
    ways = [next(iter(each["retrievalConfiguration"])) for each in asked]
    assert ways == ["vectorSearchConfiguration", *["managedSearchConfiguration"] * 2]
