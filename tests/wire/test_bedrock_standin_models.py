"""The models of the Bedrock stand-in, called by boto3 over real sockets: lists, reasoning, bills and refusals."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from local_stack.bedrock import BedrockServer
from local_stack.bedrock.billing import bill
from local_stack.bedrock.model_table import MODELS
from local_stack.bedrock.models import Lifecycle, ListedModel, Thinking
from tests.wire.bedrock_standin import QUICK, boto3_client, converse_request, last, standin, until

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

OPUS = "us.anthropic.claude-opus-5-5"
HAIKU = "global.anthropic.claude-haiku-5-5"
SONNET = "anthropic.claude-sonnet-5"
TOOLS: Any = {"tools": [{"toolSpec": {"name": "tides", "inputSchema": {"json": {"type": "object"}}}}]}


@pytest.fixture
def client(server: BedrockServer) -> Iterator["BedrockRuntimeClient"]:
    with boto3_client(server) as unmodified:
        yield unmodified


@contextmanager
def control_client(server: BedrockServer, region: str = "us-east-1") -> Iterator[Any]:
    """Yields a boto3 client of Bedrock's control plane, configured by environment variables only."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL_BEDROCK", server.url)
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
        once = Config(retries={"mode": "standard", "total_max_attempts": 1})
        client: Any = boto3.Session(region_name=region).client("bedrock", config=once)
    yield client
    client.close()


def block_deltas(events: list[Any], index: int) -> list[Any]:
    deltas = [event["contentBlockDelta"] for event in events if "contentBlockDelta" in event]
    return [delta["delta"] for delta in deltas if delta["contentBlockIndex"] == index]


@pytest.mark.parametrize("directive", ["", "redacted"])
def test_a_turn_with_tools_returns_the_streamed_reasoning_unchanged(
    client: "BedrockRuntimeClient", directive: str
) -> None:
    fields: Any = {"thinking": {"type": "adaptive", "display": "summarized"}}
    options: dict[str, Any] = {"toolConfig": TOOLS, "additionalModelRequestFields": fields}
    question = converse_request(f"Tell me about rivers [[{QUICK} tokens=2 tool=tides {directive}]]", OPUS, **options)
    events = list(client.converse_stream(**question)["stream"])
    *texts, last_delta = [delta["reasoningContent"] for delta in block_deltas(events, 0)]
    if directive:
        assert texts == []
        reasoning: Any = last_delta
        assert isinstance(last_delta["redactedContent"], bytes)
    else:
        assert all(set(delta) == {"text"} for delta in texts)
        assert set(last_delta) == {"signature"}
        reasoning = {"reasoningText": {"text": "".join(delta["text"] for delta in texts), **last_delta}}
    call = next(event["contentBlockStart"]["start"]["toolUse"] for event in events if "contentBlockStart" in event)
    answer = [
        {"reasoningContent": reasoning},
        {"text": "".join(delta["text"] for delta in block_deltas(events, 1))},
        {"toolUse": call | {"input": {}}},
    ]
    whole = client.converse(**question)
    assert whole["output"]["message"]["content"] == answer
    result: Any = {"toolResult": {"toolUseId": call["toolUseId"], "content": [{"text": "High at noon."}]}}

    def next_request(content: list[Any]) -> Any:
        messages = [
            *question["messages"],
            {"role": "assistant", "content": content},
            {"role": "user", "content": [result, {"text": f"[[{QUICK} tokens=2]]"}]},
        ]
        return question | {"messages": messages}

    again = client.converse(**next_request(answer))["output"]["message"]["content"]
    assert "reasoningContent" in again[0]
    without = client.converse(**next_request(answer[1:]))["output"]["message"]["content"]
    assert "reasoningContent" not in without[0]
    with pytest.raises(client.exceptions.ValidationException, match="bound to a different conversation"):
        client.converse(**next_request(answer), system=[{"text": "Be brief."}])
    with pytest.raises(client.exceptions.ValidationException, match="Invalid"):
        client.converse(**next_request(answer) | {"modelId": "us.anthropic.claude-opus-5"})


def test_omitted_reasoning_is_paid_for(server: BedrockServer, client: "BedrockRuntimeClient") -> None:
    answer = client.converse(**converse_request(f"Tell me about rivers [[{QUICK} tokens=2]]", OPUS))
    [reasoning, text] = answer["output"]["message"]["content"]
    assert reasoning["reasoningContent"]["reasoningText"]["text"] == ""
    assert reasoning["reasoningContent"]["reasoningText"]["signature"]
    assert len(text["text"].split()) == 2
    assert answer["usage"]["outputTokens"] > 30
    empty = client.converse(
        **converse_request(f"Tell me about rivers [[{QUICK}]]", OPUS, inferenceConfig={"maxTokens": 30})
    )
    assert (empty["output"]["message"]["content"], empty["stopReason"]) == ([], "max_tokens")
    assert empty["usage"]["outputTokens"] == 30


@pytest.mark.parametrize(("tokens", "factor"), [(100_000, 1), (100_001, 5)])
def test_a_request_is_recorded_with_its_bill(
    server: BedrockServer, client: "BedrockRuntimeClient", tokens: int, factor: int
) -> None:
    fields: Any = {"thinking": {"type": "disabled"}}
    question = converse_request(
        f"Tell me about rivers [[{QUICK} tokens=4 input={tokens}]]", HAIKU, additionalModelRequestFields=fields
    )
    usage = client.converse(**question)["usage"]
    until(lambda: last(server).state != "open")
    assert usage["inputTokens"] == tokens
    assert last(server).as_json()["dollars"] == pytest.approx(factor * (tokens * 0.1 + 4 * 0.5) / 1_000_000)
    list(client.converse_stream(**question)["stream"])
    until(lambda: last(server).state != "open")
    assert last(server).dollars == bill(HAIKU, dict(usage))


def test_the_bill_has_the_tier_that_served_the_request(server: BedrockServer, client: "BedrockRuntimeClient") -> None:
    def dollars(directive: str) -> float:
        question = f"Tell me about rivers [[{QUICK} tokens=4 input=1000 {directive}]]"
        client.converse(**converse_request(question, "us.amazon.nova-pro-v1:0", serviceTier={"type": "priority"}))
        until(lambda: last(server).state != "open")
        return last(server).dollars or 0.0

    assert dollars("cite") == pytest.approx(1.75 * dollars("standard"))


def test_cache_writes_are_reported_by_lifetime(client: "BedrockRuntimeClient") -> None:
    system: Any = [{"text": "A prefix of this test. " * 120}, {"cachePoint": {"type": "default", "ttl": "1h"}}]
    usage = client.converse(**converse_request(f"Hello [[{QUICK} tokens=1]]", OPUS, system=system))["usage"]
    assert usage["cacheDetails"] == [{"ttl": "1h", "inputTokens": 600}]
    short: Any = [{"text": "A short prefix of this test."}, {"cachePoint": {"type": "default"}}]
    usage = client.converse(**converse_request(f"Hello [[{QUICK} tokens=1]]", OPUS, system=short))["usage"]
    assert usage["cacheWriteInputTokens"] == 0


@pytest.mark.parametrize(
    ("directive", "code", "message"),
    [
        ("fault=end-of-life", "ResourceNotFoundException", "reached the end of its life"),
        ("fault=legacy", "ResourceNotFoundException", "marked by provider as Legacy"),
        ("fault=access-denied", "AccessDeniedException", "You don't have access to the model with the specified"),
    ],
)
def test_a_directive_closes_the_model(client: "BedrockRuntimeClient", directive: str, code: str, message: str) -> None:
    with pytest.raises(ClientError, match=message) as caught:
        client.converse(**converse_request(f"Hello [[{directive}]]", OPUS))
    assert caught.value.response["Error"]["Code"] == code


def test_an_application_profile_is_called_by_its_arn(server: BedrockServer, client: "BedrockRuntimeClient") -> None:
    arn = "arn:aws:bedrock:us-east-1:000000000000:application-inference-profile/abc123def456"
    client.converse(**converse_request(f"Hello [[{QUICK} tokens=1]]", arn))
    until(lambda: last(server).state != "open")
    assert (last(server).model_id, last(server).dollars) == (arn, None)


def test_listed_models_have_their_facts(server: BedrockServer) -> None:
    with control_client(server) as client:
        models = {each["modelId"]: each for each in client.list_foundation_models()["modelSummaries"]}
        details = client.get_foundation_model(modelIdentifier="amazon.nova-micro-v1:0")["modelDetails"]
        anthropic = client.list_foundation_models(byProvider="anthropic")["modelSummaries"]
        on_demand = client.list_foundation_models(byInferenceType="ON_DEMAND")["modelSummaries"]
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.get_foundation_model(modelIdentifier="amazon.nova-premier-v1:0")
    assert details == models["amazon.nova-micro-v1:0"]
    assert details["inputModalities"] == details["outputModalities"] == ["TEXT"]
    assert details["modelLifecycle"]["status"] == "ACTIVE"
    assert details["modelArn"] == "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-micro-v1:0"
    opus = models["anthropic.claude-opus-5-5"]
    assert (opus["inputModalities"], opus["responseStreamingSupported"]) == (["TEXT", "IMAGE"], True)
    assert opus["inferenceTypesSupported"] == ["INFERENCE_PROFILE"]
    legacy = models["anthropic.claude-opus-4-1-20250805-v1:0"]["modelLifecycle"]
    assert (legacy["status"], legacy["endOfLifeTime"].year) == ("LEGACY", 2027)
    assert "anthropic.claude-3-haiku-20240307-v1:0" not in models
    assert all(each["modelId"].startswith("anthropic.") for each in anthropic)
    assert len(anthropic) > 10
    assert "amazon.nova-micro-v1:0" in {each["modelId"] for each in on_demand}
    assert "anthropic.claude-opus-5-5" not in {each["modelId"] for each in on_demand}


def test_inference_profiles_are_listed_in_pages(server: BedrockServer) -> None:
    with control_client(server, "eu-west-1") as client:
        pages = list(client.get_paginator("list_inference_profiles").paginate(PaginationConfig={"PageSize": 7}))
        applications = client.list_inference_profiles(typeEquals="APPLICATION")
        with pytest.raises(client.exceptions.ValidationException, match="nextToken"):
            client.list_inference_profiles(nextToken="x")
    profiles = [each for page in pages for each in page["inferenceProfileSummaries"]]
    ids = [each["inferenceProfileId"] for each in profiles]
    assert len(pages) > 2
    assert len(ids) == len(set(ids))
    assert {each.partition(".")[0] for each in ids} == {"eu", "global"}
    assert {"eu.anthropic.claude-opus-5-5", "global.anthropic.claude-opus-5-5", "eu.amazon.nova-micro-v1:0"} <= {*ids}
    routed = next(each for each in profiles if each["inferenceProfileId"] == "global.anthropic.claude-opus-5-5")
    arns = [each["modelArn"] for each in routed["models"]]
    assert arns == [
        f"arn:aws:bedrock:{region}::foundation-model/anthropic.claude-opus-5-5" for region in ("eu-west-1", "")
    ]
    assert (routed["status"], routed["type"], routed["createdAt"].year) == ("ACTIVE", "SYSTEM_DEFINED", 2025)
    assert applications["inferenceProfileSummaries"] == []


def test_models_can_be_added_removed_and_made_legacy() -> None:
    new = ListedModel(
        window=1_000, output=10, profiles=frozenset({"us"}), in_region=frozenset(), thinking=Thinking("none")
    )
    models = dict(MODELS) | {
        "vendor.new-model-v1:0": new,
        SONNET: replace(MODELS[SONNET], lifecycle=Lifecycle("LEGACY", end="2027-03-01", closed=True)),
    }
    del models["amazon.nova-lite-v1:0"]
    with standin(models=models) as server, control_client(server) as control, boto3_client(server) as client:
        listed = {each["modelId"]: each for each in control.list_foundation_models()["modelSummaries"]}
        assert listed[SONNET]["modelLifecycle"]["status"] == "LEGACY"
        assert "vendor.new-model-v1:0" in listed
        assert "amazon.nova-lite-v1:0" not in listed
        with pytest.raises(client.exceptions.ResourceNotFoundException, match="Legacy"):
            client.converse(**converse_request("Hello", f"us.{SONNET}"))
        with pytest.raises(client.exceptions.ValidationException, match="model limit of 10"):
            client.converse(**converse_request("Hello", "us.vendor.new-model-v1:0", inferenceConfig={"maxTokens": 11}))
