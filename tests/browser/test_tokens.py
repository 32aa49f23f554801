"""The page of a stack with `--auth jwt`, where requests need a token."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page

from tests.browser.chat import send, wait_until_complete
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]


@pytest.fixture
def stack() -> Iterator[RunningStack]:
    running = start_stack("--auth", "jwt")
    yield running
    stop_stack(running)


def test_page_gets_a_token_from_the_local_issuer(stack: RunningStack, page: Page) -> None:
    for address in (stack.host, stack.demo):
        page.goto(address)
        send(page, "Tell me about rivers [[tokens=5 pace=1 first=1]]")
        wait_until_complete(page)
