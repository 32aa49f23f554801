"""What the wire tests share."""

import platform
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from converse_stream.model.transport import Bedrock, config
from local_stack.bedrock import BedrockServer
from tests.wire.bedrock_standin import standin

ROOT = Path(__file__).parents[2]
MACHINES = {"x86_64": "x86_64", "aarch64": "arm64"}


@pytest.fixture(scope="session")
def emulator_binary() -> Path:
    """AWS's Runtime Interface Emulator, which comes with the SAM CLI."""
    name = f"aws-lambda-rie-{MACHINES.get(platform.machine(), 'none')}"
    found = sorted(ROOT.glob(f".venv-sam/lib/python3.*/site-packages/samcli/local/rapid/{name}"))
    if not found:
        pytest.skip("the SAM CLI is not installed in .venv-sam")
    return found[0]


@pytest.fixture(scope="module")
def server() -> Iterator[BedrockServer]:
    with standin() as running:
        yield running


@pytest.fixture
def bedrock(server: BedrockServer) -> Iterator[Bedrock]:
    """Our own client of it."""
    client = boto3.client("bedrock-runtime", endpoint_url=server.url, config=config(idle_seconds=20))
    yield Bedrock(client)
    client.close()
