"""Converse on a model server with OpenAI's chat completions API; here a fake server."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import pytest

from local_stack.bedrock import BedrockServer
from local_stack.bedrock.upstream import Upstream, configured
from local_stack.http import Request, Responder, port_of, serve
from tests.wire.bedrock_standin import boto3_client, converse_request, event_loop, last, standin, text_of, until

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

Answer = Callable[[Responder], Coroutine[Any, Any, None]]


def chunk(text: str | None = None, finish: str | None = None, **fields: Any) -> bytes:
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], **fields}, ensure_ascii=False).encode() + b"\n\n"


USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}\n\n'
DONE = b"data: [DONE]\n\n"


class FakeServer:
    """Records its requests, and responds with `answer`."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []
        self.disconnects = 0
        self.answer: Answer = streaming(chunk("Hello"), chunk(finish="stop"), DONE)
        self.url = ""

    async def handle(self, request: Request, responder: Responder) -> None:
        self.requests.append((request.path, json.loads(await request.read())))
        answer = asyncio.create_task(self.answer(responder))
        disconnected = asyncio.create_task(responder.closed())
        await asyncio.wait((answer, disconnected), return_when=asyncio.FIRST_COMPLETED)
        self.disconnects += not answer.done()
        answer.cancel()
        disconnected.cancel()
        await asyncio.gather(answer, disconnected, return_exceptions=True)


def streaming(*pieces: bytes, end: bool = True) -> Answer:
    """Returns an answer with these body chunks. Without `end`, the response stays open after them."""

    async def answer(responder: Responder) -> None:
        await responder.start(200, [("content-type", "text/event-stream")])
        for piece in pieces:
            await responder.write(piece)
        if not end:
            await asyncio.Event().wait()
        await responder.end()

    return answer


def refusing(status: int, body: bytes) -> Answer:
    async def answer(responder: Responder) -> None:
        await responder.send(status, [("content-type", "application/json")], body)

    return answer


def resetting(*pieces: bytes) -> Answer:
    async def answer(responder: Responder) -> None:
        await responder.start(200)
        for piece in pieces:
            await responder.write(piece)
        responder.abort()

    return answer


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with event_loop() as loop:
        server = FakeServer()
        listening = asyncio.run_coroutine_threadsafe(serve(server.handle, "127.0.0.1", 0), loop).result()
        server.url = f"http://127.0.0.1:{port_of(listening)}/v1"
        yield server

        async def close() -> None:
            listening.close()

        asyncio.run_coroutine_threadsafe(close(), loop).result()


@contextmanager
def bedrock(url: str) -> Iterator[tuple[BedrockServer, "BedrockRuntimeClient"]]:
    with standin(model=Upstream(url, "llama")) as server, boto3_client(server, read_timeout=20) as client:
        yield server, client


def read(url: str, text: str = "Hello", **fields: Any) -> list[Any]:
    with bedrock(url) as (_, client):
        return list(client.converse_stream(**converse_request(text, **fields))["stream"])


def test_a_request_is_translated_to_chat_completions(fake: FakeServer) -> None:
    messages: Any = [
        {"role": "user", "content": [{"text": "<facts>\n- a\n</facts>"}, {"text": "Hi"}]},
        {"role": "assistant", "content": [{"text": "Hello"}]},
        {"role": "user", "content": [{"text": "Łódź 🌊"}, {"cachePoint": {"type": "default"}}]},
    ]
    config: Any = {"maxTokens": 9, "temperature": 0.0, "topP": 0.5, "stopSequences": ["x"]}
    with bedrock(fake.url + "/") as (_, client):
        client.converse(
            modelId="amazon.nova-lite-v1:0", messages=messages, system=[{"text": "Be kind."}], inferenceConfig=config
        )
    assert fake.requests == [
        (
            "/v1/chat/completions",
            {
                "model": "llama",
                "messages": [
                    {"role": "system", "content": "Be kind."},
                    {"role": "user", "content": "<facts>\n- a\n</facts>\n\nHi"},
                    {"role": "assistant", "content": "Hello"},
                    {"role": "user", "content": "Łódź 🌊"},
                ],
                "stream": True,
                "stream_options": {"include_usage": True},
                "max_tokens": 9,
                "temperature": 0.0,
                "top_p": 0.5,
                "stop": ["x"],
            },
        )
    ]


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_an_answer_is_translated_for_any_chunk_size(fake: FakeServer, size: int) -> None:
    body = b": ping\n\n" + b"".join(
        [chunk("Flüsse "), chunk("🌊 "), chunk("und Seen"), chunk(finish="length"), USAGE, DONE]
    )
    fake.answer = streaming(*[body[start : start + size] for start in range(0, len(body), size)])
    events = read(fake.url)
    assert text_of(events) == "Flüsse 🌊 und Seen"
    assert events[0] == {"messageStart": {"role": "assistant"}}
    assert events[-2] == {"messageStop": {"stopReason": "max_tokens"}}
    assert events[-1]["metadata"]["usage"] == {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10}


def test_tokens_are_counted_if_the_server_sends_no_usage(fake: FakeServer) -> None:
    usage = read(fake.url, "one two three")[-1]["metadata"]["usage"]
    assert usage == {"inputTokens": 3, "outputTokens": 1, "totalTokens": 4}


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (
            404,
            b'{"error": {"message": "model \\"llama\\" not found"}}',
            "ResourceNotFoundException",
            'model "llama" not',
        ),
        (429, b'{"error": "busy"}', "ThrottlingException", "429: busy"),
        (400, b"no json", "ValidationException", "400: no json"),
        (500, b"{}", "ModelErrorException", "500"),
    ],
)
def test_refusals(fake: FakeServer, status: int, body: bytes, code: str, message: str) -> None:
    fake.answer = refusing(status, body)
    with bedrock(fake.url) as (_, client), pytest.raises(botocore.exceptions.ClientError) as caught:
        client.converse_stream(**converse_request("Hello"))
    assert caught.value.response["Error"]["Code"] == code
    assert message in caught.value.response["Error"]["Message"]


def test_an_unreachable_model_server_raises_service_unavailable() -> None:
    with (
        bedrock("http://127.0.0.1:9/v1") as (_, client),
        pytest.raises(
            client.exceptions.ServiceUnavailableException, match=r"The model server at http.* does not answer"
        ),
    ):
        client.converse(**converse_request("Hello"))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(streaming(chunk("Hel")), id="no finish reason"),
        pytest.param(resetting(chunk("Hel")), id="reset"),
        pytest.param(streaming(chunk("Hel"), b'data: {"error": {"message": "out of memory"}}\n\n'), id="error chunk"),
        pytest.param(streaming(chunk("Hel"), b"data: {\n\n"), id="no json"),
    ],
)
def test_an_incomplete_answer_raises_after_its_text(fake: FakeServer, answer: Answer) -> None:
    fake.answer = answer
    with bedrock(fake.url) as (_, client):
        stream = client.converse_stream(**converse_request("Hello"))["stream"]
        events: list[Any] = []
        with closing(stream), pytest.raises(botocore.exceptions.EventStreamError) as caught:
            events.extend(event for event in stream)
    assert caught.value.response["Error"]["Code"] == "modelStreamErrorException"
    assert text_of(events) == "Hel"


def test_a_cancellation_closes_the_connection_to_the_model_server(fake: FakeServer) -> None:
    fake.answer = streaming(chunk("Hel"), end=False)
    with bedrock(fake.url) as (server, client):
        stream = client.converse_stream(**converse_request("Hello"))["stream"]
        assert next(iter(stream)) == {"messageStart": {"role": "assistant"}}
        until(lambda: last(server).tokens == 1)
        stream.close()
        until(lambda: fake.disconnects == 1, seconds=2)
        assert last(server).state == "client-closed"


def test_faults_work_with_any_model(fake: FakeServer) -> None:
    with bedrock(fake.url) as (_, client), pytest.raises(client.exceptions.ThrottlingException):
        client.converse(**converse_request("Hello [[fault=throttle]]"))
    assert fake.requests == []


def test_the_model_server_is_chosen_by_an_environment_variable(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert configured({}) is None
    monkeypatch.setenv("LOCAL_MODEL_URL", fake.url)
    with standin() as server, boto3_client(server) as client:
        assert client.converse(**converse_request("Hi", "amazon.nova-lite-v1:0"))["output"]["message"]["content"] == [
            {"text": "Hello"}
        ]
    assert fake.requests[0][1]["model"] == "amazon.nova-lite-v1:0"
