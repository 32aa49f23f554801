"""Many conversations at once, each in an execution environment of its own."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.dynamodb_local.server import DynamoDBLocal, missing
from tests.e2e.chat import Person, Streamed, text_of
from tests.stack import RunningStack, start_stack, stop_stack

ARRIVAL = 0.1  # seconds from one to the next: all speak at the same time


@pytest.fixture
def crowd(streams: int) -> Iterator[RunningStack]:
    """With AWS's own table: moto answers one request at a time, and fifty answers ask it a hundred a second."""
    if reason := missing():
        pytest.skip(reason)
    table = DynamoDBLocal()
    try:
        table.wait()
        env = {**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": table.url}
        running = start_stack("--prewarm", str(streams), "--parameter", "ModelIdleSeconds=30", env=env, nice=10)
        yield running
        stop_stack(running)
    finally:
        table.stop()


@pytest.mark.xdist_group("processor")  # see test_build
@pytest.mark.parametrize("streams", [12, pytest.param(50, marks=pytest.mark.long)])
def test_streams_at_once_are_each_complete_and_in_order(crowd: RunningStack, streams: int) -> None:
    people = [Person(crowd) for _ in range(streams)]

    def talk(number: int) -> Streamed:
        time.sleep(number * ARRIVAL)
        return people[number].say("Tell me about rivers [[tokens=100 pace=120 first=100]]")

    with ThreadPoolExecutor(streams) as pool:
        answers = list(pool.map(talk, range(streams)))
    assert len(crowd.environments("StreamFunction")) >= streams
    for person, answer in zip(people, answers, strict=True):
        with person:
            assert answer.kinds[0] == "start"
            assert answer.kinds[-1] == "complete"
            assert len(answer.text.split()) == 100
            assert answer.text == text_of(person.messages(answer.start["conversationId"])[-1])
