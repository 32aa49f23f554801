"""The page where callers are known by a token."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.browser.chat import is_whole, say
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]


@pytest.fixture
def stack() -> Iterator[RunningStack]:
    running = start_stack("--auth", "jwt")
    yield running
    stop_stack(running)


def test_the_page_gets_one_from_the_laptops_issuer(stack: RunningStack, page: Page) -> None:
    for address in (stack.host, stack.demo):
        page.goto(address)
        say(page, "Tell me about rivers [[tokens=5 pace=1 first=1]]")
        is_whole(page)
