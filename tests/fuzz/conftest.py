"""A local stack for the fuzz tests, with a model that answers one word immediately."""

import os
from collections.abc import Iterator

import pytest

from tests.fuzz.functions import OneWordModel
from tests.stack import RunningStack, start_stack, stop_stack
from tests.wire.bedrock_standin import standin


@pytest.fixture(scope="session")
def quick_stack() -> Iterator[RunningStack]:
    with standin(model=OneWordModel()) as bedrock:
        running = start_stack(env=os.environ | {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": bedrock.url})
        yield running
        stop_stack(running)
