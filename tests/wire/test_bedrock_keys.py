"""A user's own Bedrock API key is sent in the header of that user's call only."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr

from converse_stream.model.transport import Bedrock, Call, bedrock_service
from converse_stream.protocol import errors
from local_stack.bedrock import BedrockServer
from tests.wire.bedrock_standin import converse_request
from tests.wire.scripted_server import Reply, serving


def call_of(key: str | None) -> Call:
    call = Call()
    call.bedrock_key = SecretStr(key) if key else None
    return call


@pytest.mark.parametrize("streamed", [True, False])
def test_each_call_has_its_own_key(server: BedrockServer, bedrock: Bedrock, streamed: bool) -> None:
    """Concurrent calls on one client. Calls without a key are signed."""
    requests_before = len(server.requests)

    def send(number: int) -> None:
        call = call_of(f"key-{number}" if number % 2 else None)
        body = converse_request(f"number {number} [[tokens=3 pace=5 first=20]]")
        if streamed:
            list(bedrock.converse_stream(body, call))
        else:
            bedrock.converse(body, call)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(send, range(16)))
    requests = {
        request.body["messages"][0]["content"][0]["text"].split()[1]: request
        for request in list(server.requests)[requests_before:]
    }
    assert {number: request.key for number, request in requests.items()} == {
        str(number): f"key-{number}" if number % 2 else None for number in range(16)
    }
    for number, request in requests.items():
        assert request.signed == (int(number) % 2 == 0)


@pytest.mark.parametrize("streamed", [True, False])
def test_a_key_refused_by_bedrock_raises_bedrock_key_refused(bedrock: Bedrock, streamed: bool) -> None:
    body, refused = converse_request("[[fault=access-denied]]"), call_of("a-wrong-key")
    with pytest.raises(errors.BedrockKeyRefused):
        list(bedrock.converse_stream(body, refused)) if streamed else bedrock.converse(body, refused)
    with pytest.raises(errors.ModelAccessDenied):
        list(bedrock.converse_stream(body, Call()))


@pytest.mark.parametrize("status", [401, 403])
def test_an_unknown_key_raises_bedrock_key_refused_for_both_statuses(status: int) -> None:
    refusal = Reply(status, {"message": "Invalid API Key format"}, {"x-amzn-errortype": "UnrecognizedClientException"})
    with serving(refusal) as server:
        bedrock = Bedrock(bedrock_service(idle_seconds=1, url=server.url))
        with pytest.raises(errors.BedrockKeyRefused):
            bedrock.converse(converse_request("hi"), call_of("key"))
        bedrock.service.close()
    [(headers, _)] = server.requests
    assert headers["authorization"] == "Bearer key"
    assert "x-amz-date" not in headers


def test_a_key_of_the_deployment_is_sent_without_a_signature() -> None:
    with serving(Reply(body={"output": {}})) as server:
        service = bedrock_service(idle_seconds=1, url=server.url)
        Bedrock(service, "deployment").converse(converse_request("hi"), call_of(None))
        Bedrock(service, "deployment").converse(converse_request("hi"), call_of("own"))
        service.close()
    assert [headers["authorization"] for headers, _ in server.requests] == ["Bearer deployment", "Bearer own"]


def test_a_key_is_not_sent_over_http_to_another_host() -> None:
    bedrock = Bedrock(bedrock_service(idle_seconds=1, url="http://192.0.2.1"))
    with pytest.raises(errors.BedrockKeyRefused):
        bedrock.converse(converse_request("hi"), call_of("key"))
