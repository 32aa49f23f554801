"""Fifty conversations at once, each in an execution environment of its own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.chat import Person, Streamed, text_of
from tests.stack import RunningStack, start_stack, stop_stack

STREAMS = 50


@pytest.fixture
def crowd() -> Iterator[RunningStack]:
    running = start_stack("--prewarm", str(STREAMS))
    yield running
    stop_stack(running)


def test_fifty_streams_at_once_are_each_complete_and_in_order(crowd: RunningStack) -> None:
    def talk(number: int) -> tuple[Streamed, str]:
        with Person(crowd) as person:
            answer = person.say(f"Tell me about river number {number} [[tokens=100 pace=20 first=100]]")
            return answer, text_of(person.messages(answer.start["conversationId"])[-1])

    with ThreadPoolExecutor(STREAMS) as pool:
        answers = list(pool.map(talk, range(STREAMS)))
    for answer, stored in answers:
        assert answer.kinds[0] == "start"
        assert answer.kinds[-1] == "complete"
        assert len(answer.text.split()) == 100
        assert answer.text == stored
    environments = crowd.environments("StreamFunction")
    assert len(environments) >= STREAMS
