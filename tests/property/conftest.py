"""Fixtures for tests of one race or one failure of the store."""

from collections.abc import Iterator
from types import SimpleNamespace
from unittest import mock

import pytest

from converse_stream.store import table
from tests.property.controlled_store import BEGIN, Store


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def pauses() -> Iterator[list[float]]:
    """The pauses of the table's retries in seconds. They take no time, but advance the table's clock."""
    durations: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(durations), sleep=durations.append, time=lambda: BEGIN)
    with mock.patch.object(table, "time", clock):
        yield durations
