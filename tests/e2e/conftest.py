"""Fixtures: two users per test, and a table that tests can read."""

from collections.abc import Iterator

import pytest

from local_stack.dynamodb.server import DynamoDB
from tests.e2e.chat import Person
from tests.stack import RunningStack


@pytest.fixture
def person(stack: RunningStack) -> Iterator[Person]:
    with Person(stack) as chat_user:
        yield chat_user


@pytest.fixture
def other(stack: RunningStack) -> Iterator[Person]:
    with Person(stack) as chat_user:
        yield chat_user


@pytest.fixture(scope="module")
def table() -> Iterator[DynamoDB]:
    """A DynamoDB server for a module's own stack: set AWS_ENDPOINT_URL_DYNAMODB to its `url`."""
    server = DynamoDB()
    server.start()
    yield server
    server.stop()
