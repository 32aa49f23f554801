"""The store that tests of one race or one failure share."""

from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import pytest

from converse_stream.store import table
from tests.property.steered_store import BEGIN, Store


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def slept() -> Iterator[list[float]]:
    """The pauses that the table makes, which take no time here; its clock goes on with them."""
    pauses: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(pauses), sleep=pauses.append, time=lambda: BEGIN)
    with mock.patch.object(table, "time", clock):
        yield pauses
