"""Retrieve calls of boto3 to a knowledge base made from a folder."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from converse_stream.memory.knowledge_base import KnowledgeBase
from converse_stream.memory.question import Question
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
        agent = boto3.client("bedrock-agent-runtime", endpoint_url=server.url)
        yield agent
        agent.close()
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()


def passages_for(client: "AgentsforBedrockRuntimeClient", question: str, **config: Any) -> list[tuple[str, str]]:
    answer = client.retrieve(
        knowledgeBaseId=KNOWLEDGE_BASE,
        retrievalQuery={"text": question},
        retrievalConfiguration={"vectorSearchConfiguration": config},  # type: ignore[typeddict-item]  # any options
    )
    results = answer["retrievalResults"]
    assert [result["score"] for result in results] == sorted((result["score"] for result in results), reverse=True)
    return [(result["location"]["s3Location"]["uri"], result["content"]["text"]) for result in results]


def test_the_section_with_common_words_is_first(client: "AgentsforBedrockRuntimeClient") -> None:
    [(file, text), *_] = passages_for(client, "How often do tides turn? [[tokens=3]]")
    assert (file, text) == ("s3://documents/tides.md", "# Tides\n\nThey turn twice a day.")


def test_the_number_and_length_of_passages_are_limited(client: "AgentsforBedrockRuntimeClient") -> None:
    passages = passages_for(client, "water", numberOfResults=2)
    assert len(passages) == 2
    assert all(len(text) <= PASSAGE_LENGTH for _, text in passages)


def test_a_long_paragraph_is_split_and_no_passage_is_only_a_heading(client: "AgentsforBedrockRuntimeClient") -> None:
    passages = [text for _, text in passages_for(client, "brine sea salt nothing", numberOfResults=100)]
    assert all(len(text) <= PASSAGE_LENGTH for text in passages)
    [begin] = [text for text in passages if text.startswith("#")]
    assert begin.startswith("# Sea\n\n## Salt\n\nBrine is salty. Brine")
    assert sum(text.count("Brine") for text in passages) == 200


@pytest.mark.parametrize(("identity", "kind"), [(KNOWLEDGE_BASE, "vector"), (MANAGED_KNOWLEDGE_BASE, "managed")])
def test_each_kind_of_knowledge_base_accepts_only_its_search_configuration(
    client: "AgentsforBedrockRuntimeClient", identity: str, kind: str
) -> None:
    def retrieve(configuration: str) -> int:
        config: Any = {f"{configuration}SearchConfiguration": {"numberOfResults": 1}}
        query: Any = {"text": "tides"}
        answer = client.retrieve(knowledgeBaseId=identity, retrievalQuery=query, retrievalConfiguration=config)
        return len(answer["retrievalResults"])

    other = {"vector": "managed", "managed": "vector"}[kind]
    assert retrieve(kind) == 1
    with pytest.raises(ClientError, match=f"{other}SearchConfiguration is not supported.* Use {kind}Search") as refused:
        retrieve(other)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_the_search_configuration_of_a_managed_knowledge_base_is_remembered(tmp_path: Path) -> None:
    (tmp_path / "tides.md").write_text("They turn twice a day.")
    with event_loop() as loop:
        start = serve("127.0.0.1", 0, documents=Documents(tmp_path))
        server = asyncio.run_coroutine_threadsafe(start, loop).result()
        agent = boto3.client("bedrock-agent-runtime", endpoint_url=server.url)
        managed = KnowledgeBase(agent, MANAGED_KNOWLEDGE_BASE, tokens=100)
        for _ in range(2):
            assert [source.name for source in managed.search("user", Question("tides"), float("inf"))] == ["tides.md"]
        agent.close()
        configurations = [next(iter(request.body["retrievalConfiguration"])) for request in server.requests]
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()
    assert configurations == ["vectorSearchConfiguration", "managedSearchConfiguration", "managedSearchConfiguration"]


def test_usual_delays_are_the_measured_ones() -> None:
    with event_loop() as loop:
        server = asyncio.run_coroutine_threadsafe(serve("127.0.0.1", 0, usual_delays=True), loop).result()
        agent = boto3.client("bedrock-agent-runtime", endpoint_url=server.url)
        runtime = boto3.client("bedrock-runtime", endpoint_url=server.url)
        started = time.monotonic()
        agent.retrieve(knowledgeBaseId=KNOWLEDGE_BASE, retrievalQuery={"text": "tides"})
        retrieved_at = time.monotonic()
        runtime.invoke_model(modelId="amazon.titan-embed-text-v2:0", body='{"inputText": "tides"}')
        embedded_at = time.monotonic()
        for client in (agent, runtime):
            client.close()
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()
    assert retrieved_at - started >= 0.34
    assert embedded_at - retrieved_at >= 0.08


def test_a_file_that_is_not_utf8_text_is_named_in_the_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "latin.md").write_bytes("# Flüsse\n".encode("latin-1"))
    assert asyncio.run(run(options(["--port", "0", "--documents", str(tmp_path)]))) == 1
    error_output = capsys.readouterr().err
    assert error_output.startswith(f"local_stack: {tmp_path}/latin.md cannot be read as UTF-8 text: ")
    assert error_output.count("\n") == 1


def test_no_passage_is_found_without_common_words(client: "AgentsforBedrockRuntimeClient") -> None:
    assert passages_for(client, "bread") == []


@pytest.mark.parametrize(
    ("identity", "config", "code"),
    [
        ("ABCDEFGHIJ", {}, "ResourceNotFoundException"),
        (KNOWLEDGE_BASE, {"numberOfResults": 101}, "ValidationException"),
    ],
)
def test_an_unknown_knowledge_base_and_too_many_results_are_refused(
    client: "AgentsforBedrockRuntimeClient", identity: str, config: dict[str, int], code: str
) -> None:
    with pytest.raises(ClientError) as refused:
        client.retrieve(
            knowledgeBaseId=identity,
            retrievalQuery={"text": "x"},
            retrievalConfiguration={"vectorSearchConfiguration": config},  # type: ignore[typeddict-item]  # any options
        )
    assert refused.value.response["Error"]["Code"] == code
