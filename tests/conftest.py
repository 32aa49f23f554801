"""Environment variables and fixtures of every test. The template sets the same variables for both functions."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from local_stack import emulator
from tests.stack import RunningStack, start_stack, stop_stack

os.environ.update(
    POWERTOOLS_SERVICE_NAME="tests",
    POWERTOOLS_METRICS_NAMESPACE="ConverseStream",
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_DEFAULT_REGION="us-east-1",
)
os.environ.pop("AWS_BEARER_TOKEN_BEDROCK", None)  # boto3 would prefer it to the keys, and refuse http endpoints

# The same examples in every run, and no time limit per example, because the machines are shared.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """One local stack per worker. A test that sets faults resets them."""
    running = start_stack()
    yield running
    stop_stack(running)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The path of the template that `sam build` writes for this machine; the artifacts are in the same folder.

    Tests that use it belong to one xdist group, so that it is built once.
    """
    return emulator.build(tmp_path_factory.mktemp("built") / "build")
