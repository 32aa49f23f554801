"""The page from the web host: with its content security policy, and without CORS."""

import pytest
from playwright.sync_api import Page, Response, expect

from tests.browser.chat import send, wait_until_complete
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]


def test_page_obeys_its_content_security_policy_and_sends_no_preflight(stack: RunningStack, page: Page) -> None:
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response))
    page.goto(stack.host)
    send(page, "Show **all** of it: `code`, <b>html</b> [[tokens=20 pace=1 first=1]] [[cite]]")
    wait_until_complete(page)
    page.reload()
    expect(page.locator(".question")).to_contain_text("Show")
    assert {response.url.removeprefix(stack.host).split("/")[1] for response in responses} >= {"chat", "conversations"}
    assert all(response.url.startswith(stack.host) for response in responses)  # the page has no other URL
    assert "OPTIONS" not in {response.request.method for response in responses}
    assert {response.headers["x-content-type-options"] for response in responses} == {"nosniff"}
    assert all("unsafe" not in response.headers["content-security-policy"] for response in responses)
