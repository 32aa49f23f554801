"""The Bedrock stand-in, called by boto3 over real sockets: answers without faults."""

import http.client
import json
import time
from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest
from botocore.eventstream import EventStreamBuffer

from local_stack.bedrock import BedrockServer
from tests.wire.bedrock_standin import LITE, QUICK, boto3_client, converse_request, last, text_of, until

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


@pytest.fixture
def client(server: BedrockServer) -> Iterator["BedrockRuntimeClient"]:
    with boto3_client(server) as unmodified:
        yield unmodified


def stream(client: "BedrockRuntimeClient", text: str, **fields: Any) -> list[Any]:
    return list(client.converse_stream(**converse_request(text, **fields))["stream"])


def kinds(events: list[Any]) -> list[str]:
    """Returns the names of the events, without consecutive duplicates."""
    return [name for name, _ in groupby(next(iter(event)) for event in events)]


def test_events_have_bedrocks_order(client: "BedrockRuntimeClient") -> None:
    events = stream(client, f"Tell me about rivers [[{QUICK} tokens=30]]")
    assert kinds(events) == ["messageStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"]
    assert events[0] == {"messageStart": {"role": "assistant"}}
    assert events[-2] == {"messageStop": {"stopReason": "end_turn"}}
    assert len(text_of(events).split()) == 30
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 30
    assert events[-1]["metadata"]["usage"]["totalTokens"] == 30 + events[-1]["metadata"]["usage"]["inputTokens"]
    assert events[-1]["metadata"]["metrics"]["latencyMs"] >= 0


def test_an_answer_has_reasoning_then_text_then_a_tool_call(client: "BedrockRuntimeClient") -> None:
    tool: Any = {
        "toolSpec": {
            "name": "weather",
            "inputSchema": {"json": {"type": "object", "properties": {"city": {"type": "string"}}}},
        }
    }
    fields: dict[str, Any] = {
        "toolConfig": {"tools": [tool]},
        "additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        "model": HAIKU,
    }
    question = f"Tell me about Łódź 🌊 [[{QUICK} tokens=3 tool=weather cite]]"
    events = stream(client, question, **fields)
    block = ["contentBlockDelta", "contentBlockStop"]
    assert kinds(events) == ["messageStart", *block * 2, "contentBlockStart", *block, "messageStop", "metadata"]
    deltas = [event["contentBlockDelta"] for event in events if "contentBlockDelta" in event]
    assert [index for index, _ in groupby(deltas, key=lambda delta: delta["contentBlockIndex"])] == [0, 1, 2]
    start = next(event["contentBlockStart"] for event in events if "contentBlockStart" in event)
    source = "".join(delta["delta"]["toolUse"]["input"] for delta in deltas if "toolUse" in delta["delta"])
    assert (start["contentBlockIndex"], start["start"]["toolUse"]["name"]) == (2, "weather")
    assert json.loads(source) == {"city": "Łódź 🌊"}
    assert events[-2]["messageStop"]["stopReason"] == "tool_use"

    answer = client.converse(**converse_request(question, **fields))
    reasoning, cited, called = answer["output"]["message"]["content"]
    assert reasoning["reasoningContent"]["reasoningText"]["text"].startswith("The question is about Łódź 🌊.")
    assert reasoning["reasoningContent"]["reasoningText"]["signature"]
    assert cited["citationsContent"]["content"] == [{"text": text_of(events)}]
    assert cited["citationsContent"]["citations"][0]["location"]["web"]["domain"] == "example.com"
    assert called["toolUse"] == start["start"]["toolUse"] | {"input": {"city": "Łódź 🌊"}}
    assert answer["usage"]["outputTokens"] == events[-1]["metadata"]["usage"]["outputTokens"]
    assert answer["stopReason"] == "tool_use"


def test_converse_returns_the_same_text_as_the_stream(client: "BedrockRuntimeClient") -> None:
    question = f"Tell me about rivers [[{QUICK}]]"
    answer = client.converse(**converse_request(question))
    assert answer["output"]["message"] == {
        "role": "assistant",
        "content": [{"text": text_of(stream(client, question))}],
    }
    assert answer["stopReason"] == "end_turn"


def test_limits_have_their_stop_reasons(client: "BedrockRuntimeClient") -> None:
    cut = client.converse(**converse_request(f"Tell me about rivers [[{QUICK}]]", inferenceConfig={"maxTokens": 3}))
    assert (cut["stopReason"], cut["usage"]["outputTokens"]) == ("max_tokens", 3)
    stopped = stream(client, f"Tell me about rivers [[{QUICK}]]", inferenceConfig={"stopSequences": ["rivers"]})
    assert {"messageStop": {"stopReason": "stop_sequence"}} in stopped
    assert "rivers" not in text_of(stopped)


def test_tokens_are_paced_and_sent_one_by_one(client: "BedrockRuntimeClient") -> None:
    started = time.monotonic()
    events = client.converse_stream(**converse_request("Tell me about rivers [[tokens=6 pace=50 first=100]]"))["stream"]
    arrivals = [time.monotonic() - started for event in events if "contentBlockDelta" in event]
    assert len(arrivals) == 6
    assert arrivals[0] >= 0.1
    assert all(arrival >= 0.1 + 0.05 * number for number, arrival in enumerate(arrivals))


@pytest.mark.parametrize("operation", ["converse", "converse_stream"])
@pytest.mark.parametrize(
    ("options", "standard"),
    [
        ({"performanceConfig": {"latency": "optimized"}}, {"performanceConfig": {"latency": "standard"}}),
        ({"serviceTier": {"type": "priority"}}, {"serviceTier": {"type": "default"}}),
    ],
    ids=["latency", "tier"],
)
def test_the_metadata_has_the_latency_and_tier_of_the_request(
    client: "BedrockRuntimeClient", operation: str, options: dict[str, Any], standard: dict[str, Any]
) -> None:
    def served(directive: str) -> dict[str, Any]:
        question = converse_request(
            f"Tell me about rivers [[{QUICK} tokens=2 {directive}]]", "us.amazon.nova-pro-v1:0", **options
        )
        answer: Any = getattr(client, operation)(**question)
        answer = list(answer["stream"])[-1]["metadata"] if "stream" in answer else answer
        return {name: answer.get(name) for name in options}

    assert served("cite") == options
    assert served("standard") == standard


def test_a_truncated_tool_call_has_its_deltas_and_its_stop(client: "BedrockRuntimeClient") -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    config: Any = {"tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": schema}}}]}
    question = f"Tell me about Lisbon [[{QUICK} tokens=3 tool=weather]]"
    events = stream(client, question, toolConfig=config, inferenceConfig={"maxTokens": 4})
    assert kinds(events)[3:] == [
        "contentBlockStart",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert {"messageStop": {"stopReason": "max_tokens"}} in events
    truncated = client.converse(**converse_request(question, toolConfig=config, inferenceConfig={"maxTokens": 4}))
    assert truncated["output"]["message"]["content"][1]["toolUse"]["input"] == {}


def test_a_profile_of_another_region_is_refused(client: "BedrockRuntimeClient") -> None:
    with pytest.raises(client.exceptions.ValidationException, match="identifier is invalid"):
        client.converse(**converse_request("Hello", "eu.amazon.nova-lite-v1:0"))


def test_cache_points_are_written_and_then_read(client: "BedrockRuntimeClient") -> None:
    point = {"cachePoint": {"type": "default"}}
    system: Any = [{"text": "A prefix that this test alone uses. " * 200}, point]
    question = f"Tell me about rivers [[{QUICK} tokens=1]]"
    first, second = (client.converse(**converse_request(question, system=system))["usage"] for _ in range(2))
    assert (first["cacheWriteInputTokens"], first["cacheReadInputTokens"]) == (1_400, 0)
    assert (second["cacheWriteInputTokens"], second["cacheReadInputTokens"]) == (0, 1_400)


@pytest.mark.parametrize(
    "model",
    [
        LITE,
        "amazon.nova-lite-v1:0",
        "arn:aws:bedrock:us-east-1:000000000000:inference-profile/us.amazon.nova-lite-v1:0",
    ],
    ids=["profile", "model", "arn"],
)
def test_a_request_is_recorded(server: BedrockServer, client: "BedrockRuntimeClient", model: str) -> None:
    question = f"Tell me about rivers [[{QUICK} tokens=4]]"
    events = stream(client, question, model=model)
    assert events
    until(lambda: last(server).state != "open")  # the server updates the state after the last byte
    record = last(server).as_json()
    assert record["modelId"] == model
    assert record["body"]["messages"][0]["content"] == [{"text": question}]
    assert (record["state"], record["tokens"]) == ("done", 4)
    assert record["path"].endswith("/converse-stream")
    assert record["started"] <= record["ended"]
    assert json.dumps(record)


def test_embeddings_have_the_requested_dimensions(client: "BedrockRuntimeClient") -> None:
    body = json.dumps({"inputText": "my dog is called Rex", "dimensions": 256, "normalize": True})
    answer = json.loads(client.invoke_model(modelId="amazon.titan-embed-text-v2:0", body=body)["body"].read())
    assert len(answer["embedding"]) == 256


def test_a_blank_text_is_refused_as_by_bedrock(client: "BedrockRuntimeClient") -> None:
    with pytest.raises(client.exceptions.ValidationException, match=r"is blank\. Add text to the text field"):
        client.converse_stream(**converse_request(" "))


def post(server: BedrockServer, path: str, body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    connection.request("POST", path, body)
    response = connection.getresponse()
    answer = response.status, response.headers, response.read()
    connection.close()
    return answer


def test_errors_have_bedrocks_format(server: BedrockServer) -> None:
    status, headers, body = post(server, f"/model/{LITE}/converse-stream", b'{"messages": [], "stream": true}')
    assert status == 400
    assert headers["x-amzn-errortype"].startswith("ValidationException:")
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["message"].startswith('Unknown parameter in input: "stream"')
    assert post(server, f"/model/{LITE}/converse", b"no json")[0] == 400
    assert post(server, f"/model/{LITE}/count-tokens", b"{}")[0] == 404


def test_each_http_chunk_of_the_body_has_one_frame(server: BedrockServer) -> None:
    question = converse_request(f"Tell me about 🌊 [[{QUICK} tokens=8]]")
    body = json.dumps({"messages": question["messages"]}).encode()
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"))
    connection.request("POST", f"/model/{LITE}/converse-stream", body)
    response = connection.getresponse()
    assert response.headers["transfer-encoding"] == "chunked"
    assert response.headers["content-type"] == "application/vnd.amazon.eventstream"
    buffer, messages = EventStreamBuffer(), 0
    while chunk := response.read1():
        buffer.add_data(chunk)
        frames = list(buffer)
        assert len(frames) == 1
        messages += 1
    assert messages == 12
    connection.close()


def test_a_connection_is_reused(server: BedrockServer, client: "BedrockRuntimeClient") -> None:
    for _ in range(3):
        stream(client, f"Tell me about rivers [[{QUICK} tokens=2]]")
    manager: Any = client._endpoint.http_session  # type: ignore[attr-defined]  # a private attribute, for its pool
    pool = manager._manager.connection_from_url(server.url)
    assert pool.num_connections == 1
