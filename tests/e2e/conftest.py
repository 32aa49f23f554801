"""Two people of their own for each test, and a table to look into."""

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
    """For a stack of the module's own, which makes its tables in it: AWS_ENDPOINT_URL_DYNAMODB is its `url`."""
    server = DynamoDB()
    server.start()
    yield server
    server.stop()
