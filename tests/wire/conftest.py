"""Fixtures of the wire tests."""

import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from converse_stream.model.transport import Bedrock, bedrock_service
from local_stack.bedrock import BedrockServer
from tests.wire.bedrock_standin import standin

ROOT = Path(__file__).parents[2]
MACHINES = {"x86_64": "x86_64", "aarch64": "arm64"}


@pytest.fixture(scope="session")
def emulator_binary() -> Path:
    """AWS's Runtime Interface Emulator, a part of the SAM CLI."""
    name = f"aws-lambda-rie-{MACHINES.get(platform.machine(), 'none')}"
    binaries = sorted(ROOT.glob(f".venv-sam/lib/python3.*/site-packages/samcli/local/rapid/{name}"))
    if not binaries:
        pytest.skip("the SAM CLI is not installed in .venv-sam")
    return binaries[0]


@pytest.fixture(scope="module")
def server() -> Iterator[BedrockServer]:
    with standin() as running:
        yield running


@pytest.fixture
def bedrock(server: BedrockServer) -> Iterator[Bedrock]:
    """The application's client for the stand-in."""
    service = bedrock_service(idle_seconds=20, url=server.url)
    yield Bedrock(service)
    service.close()
