"""Retrieve from a folder, as boto3 sees it."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from converse_stream.memory.knowledge_base import KnowledgeBase
from local_stack.__main__ import options, run
from local_stack.bedrock import serve
from local_stack.bedrock.documents import KNOWLEDGE_BASE, MANAGED_KNOWLEDGE_BASE, PASSAGE_LENGTH, Documents
from tests.wire.bedrock_standin import event_loop

if TYPE_CHECKING:
    from mypy_boto3_bedrock_agent_runtime import AgentsforBedrockRuntimeClient


@pytest.fixture
def client(tmp_path: Path) -> Iterator["AgentsforBedrockRuntimeClient"]:
    (tmp_path / "guides").mkdir()
    (tmp_path / "guides" / "rivers.md").write_text("# Rivers\n\nThey flow.\n\n" + "Water is wet.\n\n" * 100)
    (tmp_path / "tides.md").write_text("# Tides\n\nThey turn twice a day.\n\n## Spring\n\nThe highest.\n")
    (tmp_path / "sea.md").write_text(f"# Sea\n\n## Salt\n\n{'Brine is salty. ' * 200}\n\n# Nothing\n")
    (tmp_path / "notes.txt").write_text("They turn too.")
    with event_loop() as loop:
        start = serve("127.0.0.1", 0, documents=Documents(tmp_path))
        server = asyncio.run_coroutine_threadsafe(start, loop).result()
        made = boto3.client("bedrock-agent-runtime", endpoint_url=server.url)
        yield made
        made.close()
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()


def found(client: "AgentsforBedrockRuntimeClient", question: str, **config: Any) -> list[tuple[str, str]]:
    answer = client.retrieve(
        knowledgeBaseId=KNOWLEDGE_BASE,
        retrievalQuery={"text": question},
        retrievalConfiguration={"vectorSearchConfiguration": config},  # type: ignore[typeddict-item]  # a test's own
    )
    results = answer["retrievalResults"]
    assert [each["score"] for each in results] == sorted((each["score"] for each in results), reverse=True)
    return [(each["location"]["s3Location"]["uri"], each["content"]["text"]) for each in results]


def test_the_section_that_shares_words_comes_first(client: "AgentsforBedrockRuntimeClient") -> None:
    [(file, text), *_] = found(client, "How often do tides turn? [[tokens=3]]")
    assert (file, text) == ("s3://documents/tides.md", "# Tides\n\nThey turn twice a day.")


def test_there_are_as_many_as_wanted_and_each_is_short(client: "AgentsforBedrockRuntimeClient") -> None:
    passages = found(client, "water", numberOfResults=2)
    assert len(passages) == 2
    assert all(len(text) <= PASSAGE_LENGTH for _, text in passages)


def test_a_long_paragraph_is_cut_and_no_heading_stands_alone(client: "AgentsforBedrockRuntimeClient") -> None:
    passages = [text for _, text in found(client, "brine sea salt nothing", numberOfResults=100)]
    assert all(len(text) <= PASSAGE_LENGTH for text in passages)
    [begin] = [text for text in passages if text.startswith("#")]
    assert begin.startswith("# Sea\n\n## Salt\n\nBrine is salty. Brine")
    assert sum(text.count("Brine") for text in passages) == 200


@pytest.mark.parametrize(("identity", "own"), [(KNOWLEDGE_BASE, "vector"), (MANAGED_KNOWLEDGE_BASE, "managed")])
def test_each_kind_of_knowledge_base_has_its_own_search(
    client: "AgentsforBedrockRuntimeClient", identity: str, own: str
) -> None:
    def asked(kind: str) -> int:
        config: Any = {f"{kind}SearchConfiguration": {"numberOfResults": 1}}
        query: Any = {"text": "tides"}
        answer = client.retrieve(knowledgeBaseId=identity, retrievalQuery=query, retrievalConfiguration=config)
        return len(answer["retrievalResults"])

    other = {"vector": "managed", "managed": "vector"}[own]
    assert asked(own) == 1
    with pytest.raises(ClientError, match=f"{other}SearchConfiguration is not supported.* Use {own}Search") as refused:
        asked(other)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_a_managed_knowledge_base_is_asked_its_own_way_and_remembered(tmp_path: Path) -> None:
    (tmp_path / "tides.md").write_text("They turn twice a day.")
    with event_loop() as loop:
        start = serve("127.0.0.1", 0, documents=Documents(tmp_path))
        server = asyncio.run_coroutine_threadsafe(start, loop).result()
        agent = boto3.client("bedrock-agent-runtime", endpoint_url=server.url)
        managed = KnowledgeBase(agent, MANAGED_KNOWLEDGE_BASE, tokens=100)
        for _ in range(2):
            assert [found.name for found in managed.search("user", "tides", float("inf"))] == ["tides.md"]
        agent.close()
        asked = [next(iter(request.body["retrievalConfiguration"])) for request in server.requests]
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()
    assert asked == ["vectorSearchConfiguration", "managedSearchConfiguration", "managedSearchConfiguration"]


def test_the_usual_delays_are_those_that_users_measured() -> None:
    with event_loop() as loop:
        server = asyncio.run_coroutine_threadsafe(serve("127.0.0.1", 0, usual_delays=True), loop).result()
        agent = boto3.client("bedrock-agent-runtime", endpoint_url=server.url)
        runtime = boto3.client("bedrock-runtime", endpoint_url=server.url)
        started = time.monotonic()
        agent.retrieve(knowledgeBaseId=KNOWLEDGE_BASE, retrievalQuery={"text": "tides"})
        found_at = time.monotonic()
        runtime.invoke_model(modelId="amazon.titan-embed-text-v2:0", body='{"inputText": "tides"}')
        embedded = time.monotonic()
        for made in (agent, runtime):
            made.close()
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()
    assert found_at - started >= 0.34
    assert embedded - found_at >= 0.08


def test_a_file_that_is_no_text_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "latin.md").write_bytes("# Flüsse\n".encode("latin-1"))
    assert asyncio.run(run(options(["--port", "0", "--documents", str(tmp_path)]))) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"local_stack: {tmp_path}/latin.md cannot be read as UTF-8 text: ")
    assert told.count("\n") == 1


def test_nothing_is_found_where_no_word_is_shared(client: "AgentsforBedrockRuntimeClient") -> None:
    assert found(client, "bread") == []


@pytest.mark.parametrize(
    ("identity", "config", "code"),
    [
        ("ABCDEFGHIJ", {}, "ResourceNotFoundException"),
        (KNOWLEDGE_BASE, {"numberOfResults": 101}, "ValidationException"),
    ],
)
def test_what_bedrock_refuses(
    client: "AgentsforBedrockRuntimeClient", identity: str, config: dict[str, int], code: str
) -> None:
    with pytest.raises(ClientError) as refused:
        client.retrieve(
            knowledgeBaseId=identity,
            retrievalQuery={"text": "x"},
            retrievalConfiguration={"vectorSearchConfiguration": config},  # type: ignore[typeddict-item]  # the same
        )
    assert refused.value.response["Error"]["Code"] == code
