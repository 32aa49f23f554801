"""The page under the one host: with its content security policy, and without CORS."""

import pytest
from playwright.sync_api import Page, Response, expect

from tests.browser.chat import is_whole, say
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]


def test_everything_passes_the_policy_and_nothing_is_preflighted(stack: RunningStack, page: Page) -> None:
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(stack.host)
    say(page, "Show **all** of it: `code`, <b>html</b> [[tokens=20 pace=1 first=1]] [[cite]]")
    is_whole(page)
    page.reload()
    expect(page.locator(".question")).to_contain_text("Show")
    assert {answer.url.removeprefix(stack.host).split("/")[1] for answer in answers} >= {"chat", "conversations"}
    assert all(answer.url.startswith(stack.host) for answer in answers)  # a page that was told of no other door
    assert "OPTIONS" not in {answer.request.method for answer in answers}
    assert {answer.headers["x-content-type-options"] for answer in answers} == {"nosniff"}
    assert all("unsafe" not in answer.headers["content-security-policy"] for answer in answers)
