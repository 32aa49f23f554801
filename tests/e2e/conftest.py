"""Two people of their own for each test."""

from collections.abc import Iterator

import pytest

from tests.e2e.chat import Person
from tests.stack import RunningStack


@pytest.fixture
def person(stack: RunningStack) -> Iterator[Person]:
    with Person(stack) as somebody:
        yield somebody


@pytest.fixture
def other(stack: RunningStack) -> Iterator[Person]:
    with Person(stack) as somebody:
        yield somebody
