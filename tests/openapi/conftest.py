"""Both functions in this process, for requests that get every answer there is."""

from collections.abc import Iterator

import pytest

from converse_stream.model import client
from tests.openapi.world import World, world


@pytest.fixture(scope="module")
def made() -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch, world() as both:
        patch.setattr(client, "FIRST_PAUSE", 0.0)  # before a refused call is made again
        yield both


@pytest.fixture
def functions(made: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """As they were at first, however a test leaves them."""
    made.patch = monkeypatch
    made.reset()
    yield made
    made.steering.is_broken = False
