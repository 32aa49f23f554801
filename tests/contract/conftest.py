"""The template's table on a DynamoDB of the tests' own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack import template
from local_stack.dynamodb import DynamoDB


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[DynamoDB]:
    server = DynamoDB()
    server.start()
    for properties in template.read(Path("template.yaml")).tables:
        server.create_table(properties)
    yield server
    server.stop()
