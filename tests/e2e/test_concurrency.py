"""Concurrent conversations, each in its own execution environment."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from tests.contract.dynamodb_local.server import DynamoDBLocal, missing
from tests.e2e.chat import Person, StreamedAnswer, text_of
from tests.stack import RunningStack, start_stack, stop_stack

ARRIVAL_SECONDS = 0.1  # time between two starts, so that all streams overlap


@pytest.fixture
def prewarmed_stack(streams: int) -> Iterator[RunningStack]:
    """A stack with DynamoDB Local: moto handles one request at a time, and fifty streams send a hundred a second."""
    if reason := missing():
        pytest.skip(reason)
    table = DynamoDBLocal()
    try:
        table.wait()
        env = {**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": table.url}
        running = start_stack("--prewarm", str(streams), "--parameter", "ModelIdleSeconds=30", env=env)
        yield running
        stop_stack(running)
    finally:
        table.stop()


@pytest.mark.xdist_group("processor")  # see test_build
@pytest.mark.parametrize("streams", [12, pytest.param(50, marks=pytest.mark.long)])
def test_concurrent_streams_are_complete_and_in_order(prewarmed_stack: RunningStack, streams: int) -> None:
    def send(number: int) -> StreamedAnswer:
        time.sleep(number * ARRIVAL_SECONDS)
        return people[number].send("Tell me about rivers [[tokens=100 pace=120 first=100]]")

    with ExitStack() as connections, ThreadPoolExecutor(streams) as pool:
        people = [connections.enter_context(Person(prewarmed_stack)) for _ in range(streams)]
        answers = list(pool.map(send, range(streams)))
        # On a busy machine some answers end before the last ones start.
        assert len(prewarmed_stack.environments("StreamFunction")) > streams // 2
        for person, answer in zip(people, answers, strict=True):
            assert answer.kinds[0] == "start"
            assert answer.kinds[-1] == "complete"
            assert len(answer.text.split()) == 100
            assert answer.text == text_of(person.messages(answer.start["conversationId"])[-1])
