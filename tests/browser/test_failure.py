"""A failed answer: the message on the page, the offered action, and the same after a reload."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import conversation_id, send, wait_for_words, wait_until_complete
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

DENIED = "This deployment may not use the model."


def test_permanent_failure_restores_the_draft_and_is_shown_again_after_a_reload(
    stack: RunningStack, page: Page
) -> None:
    page.goto(stack.demo)
    text = "Tell me about rivers [[fault=access-denied]]"
    send(page, text)
    message = page.get_by_label("Your message")
    for _ in range(2):
        expect(page.locator(".note.failed")).to_contain_text(DENIED)
        expect(page.get_by_role("button", name="Try again")).to_be_hidden()
        expect(message).to_have_value(text)
        page.reload()
        expect(page.locator(".question")).to_have_count(1)
    message.fill("Tell me about seas [[tokens=5 pace=1 first=1]]")
    message.press("Enter")
    wait_until_complete(page)
    expect(page.locator(".note.failed")).to_contain_text(DENIED)
    page.reload()
    expect(page.locator(".question")).to_have_count(2)
    expect(message).to_have_value("")


def test_retryable_failure_offers_try_again_also_after_a_reload(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    send(page, "lakes [[fault=cut at=4 times=1]] [[tokens=12 pace=1 first=1]]")
    for _ in range(2):
        expect(page.locator(".note.failed")).to_contain_text("The answer was interrupted.")
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
        expect(page.get_by_label("Your message")).to_have_value("")
        page.reload()
    page.get_by_role("button", name="Try again").click()
    wait_until_complete(page)
    expect(page.locator(".note")).to_be_hidden()


def test_failure_after_a_reload_restores_the_draft(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    text = "rivers [[fault=exception at=40 code=validationException]] [[tokens=60 pace=50 first=1]]"
    send(page, text)
    wait_for_words(page, 3)
    page.reload()
    expect(page.locator(".note.failed")).to_contain_text("The model did not accept this request.")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    expect(page.get_by_label("Your message")).to_have_value(text)


def test_failed_message_does_not_replace_a_new_draft(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    send(page, "rivers [[fault=exception at=20 code=validationException]] [[tokens=60 pace=50 first=1]]")
    page.keyboard.type("And seas?")
    expect(page.locator(".note.failed")).to_be_visible()
    expect(page.get_by_label("Your message")).to_have_value("And seas?")


def test_rejected_message_becomes_the_draft_of_its_conversation(stack: RunningStack, context: BrowserContext) -> None:
    page = context.new_page()  # without console check: the browser logs the failed request
    page.goto(stack.demo)
    send(page, "Rivers [[tokens=5 pace=1 first=1]]")
    wait_until_complete(page)
    routes = []
    page.route(re.compile("/chat$"), lambda route: routes.append(route))  # Playwright cannot wrap `routes.append`
    send(page, "And seas?")
    rivers = conversation_id(page)
    page.get_by_role("button", name="New chat").click()
    expect(page.locator("#messages > li")).to_have_count(0)
    for route in routes:
        route.fulfill(status=400, headers={"access-control-allow-origin": "*"})
    page.wait_for_timeout(300)
    expect(page.get_by_label("Your message")).to_have_value("")
    page.goto(f"{stack.demo}/#c={rivers}")
    expect(page.get_by_label("Your message")).to_have_value("And seas?")
