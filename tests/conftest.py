"""What every test runs under: the variables that the template gives both functions."""

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
os.environ.pop("AWS_BEARER_TOKEN_BEDROCK", None)  # it would win over the keys, and refuses http endpoints

# The same examples every time, and no time limit for one: these machines are shared.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(scope="session")
def stack() -> Iterator[RunningStack]:
    """One stack for all tests of a worker. A test that sets faults takes them back."""
    running = start_stack()
    yield running
    stop_stack(running)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The template that `sam build` makes for this machine, its artifacts beside it. One build for xdist's group."""
    return emulator.build(tmp_path_factory.mktemp("built") / "build")
