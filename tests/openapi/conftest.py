"""Fixtures: both functions in this process, for requests that lead to every described response."""

from collections.abc import Iterator

import pytest

from converse_stream.model import client
from tests.openapi.environment import Environment, environment


@pytest.fixture(scope="module")
def shared_environment() -> Iterator[Environment]:
    with pytest.MonkeyPatch.context() as patch, environment() as functions_of_module:
        patch.setattr(client, "FIRST_PAUSE", 0.0)  # the pause before a retry
        yield functions_of_module


@pytest.fixture
def functions(shared_environment: Environment, monkeypatch: pytest.MonkeyPatch) -> Iterator[Environment]:
    """The functions in their initial state, which each test restores."""
    shared_environment.patch = monkeypatch
    shared_environment.reset()
    yield shared_environment
    shared_environment.table.is_broken = False
