"""The Bedrock stand-in in its own thread, and an unmodified boto3 client."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config

from local_stack.bedrock import BedrockServer, ModelRequest, serve
from local_stack.bedrock.events import Model
from local_stack.bedrock.model_table import MODELS
from local_stack.bedrock.models import ListedModel

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient

LITE = "us.amazon.nova-lite-v1:0"
QUICK = "pace=1 first=0"


@contextmanager
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Yields an event loop in a thread. Its remaining tasks are cancelled at the end."""
    ready = threading.Event()
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        loops.append((asyncio.get_running_loop(), asyncio.Event()))
        ready.set()
        await loops[0][1].wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    ready.wait()
    loop, stop = loops[0]
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


@contextmanager
def standin(
    *,
    fault_rate: float = 0.0,
    seed: int = 0,
    model: Model | None = None,
    models: Mapping[str, ListedModel] = MODELS,
) -> Iterator[BedrockServer]:
    """Yields a stand-in on a free port."""
    with event_loop() as loop:
        start = serve("127.0.0.1", 0, fault_rate=fault_rate, seed=seed, model=model, models=models)
        server = asyncio.run_coroutine_threadsafe(start, loop).result()
        yield server
        asyncio.run_coroutine_threadsafe(server.close(), loop).result()


@contextmanager
def boto3_client(server: BedrockServer, **config: Any) -> Iterator["BedrockRuntimeClient"]:
    """Yields a boto3 client that is configured by environment variables only, with one attempt per call."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", server.url)
        environment.setenv("AWS_ACCESS_KEY_ID", "test")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        environment.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
        no_retries = Config(retries={"mode": "standard", "total_max_attempts": 1}, **config)
        client = boto3.Session(region_name="us-east-1").client("bedrock-runtime", config=no_retries)
    yield client
    client.close()


def converse_request(text: str, model: str = LITE, **fields: Any) -> dict[str, Any]:
    """Returns the arguments of `converse` and `converse_stream` for one user message."""
    return {"modelId": model, "messages": [{"role": "user", "content": [{"text": text}]}], **fields}


def text_of(events: list[Any]) -> str:
    return "".join(
        event["contentBlockDelta"]["delta"].get("text", "") for event in events if "contentBlockDelta" in event
    )


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Waits until a condition is true. Fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition is not true in time"
        time.sleep(0.005)


def last(server: BedrockServer) -> ModelRequest:
    return server.requests[-1]
