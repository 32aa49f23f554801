"""An answer that failed: what the page says, what it offers, and that it says the same later."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import conversation, has_words, is_whole, say
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

DENIED = "This deployment may not use the model."


def test_a_failure_that_cannot_be_retried_gives_the_question_back_and_is_told_again(
    stack: RunningStack, page: Page
) -> None:
    page.goto(stack.demo)
    text = "Tell me about rivers [[fault=access-denied]]"
    say(page, text)
    message = page.get_by_label("Your message")
    for _ in range(2):
        expect(page.locator(".note.failed")).to_contain_text(DENIED)
        expect(page.get_by_role("button", name="Try again")).to_be_hidden()
        expect(message).to_have_value(text)
        page.reload()
        expect(page.locator(".question")).to_have_count(1)
    message.fill("Tell me about seas [[tokens=5 pace=1 first=1]]")
    message.press("Enter")
    is_whole(page)
    expect(page.locator(".note.failed")).to_contain_text(DENIED)
    page.reload()
    expect(page.locator(".question")).to_have_count(2)
    expect(message).to_have_value("")


def test_a_failure_that_can_be_retried_is_told_and_offered_again(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    say(page, "lakes [[fault=cut at=4 times=1]] [[tokens=12 pace=1 first=1]]")
    for _ in range(2):
        expect(page.locator(".note.failed")).to_contain_text("The answer was interrupted.")
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
        expect(page.get_by_label("Your message")).to_have_value("")
        page.reload()
    page.get_by_role("button", name="Try again").click()
    is_whole(page)
    expect(page.locator(".note")).to_be_hidden()


def test_a_failure_after_a_reload_gives_the_question_back_too(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    text = "rivers [[fault=exception at=40 code=validationException]] [[tokens=60 pace=50 first=1]]"
    say(page, text)
    has_words(page, 3)
    page.reload()
    expect(page.locator(".note.failed")).to_contain_text("The model did not accept this request.")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    expect(page.get_by_label("Your message")).to_have_value(text)


def test_a_question_that_comes_back_leaves_a_new_draft_alone(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    say(page, "rivers [[fault=exception at=20 code=validationException]] [[tokens=60 pace=50 first=1]]")
    page.keyboard.type("And seas?")
    expect(page.locator(".note.failed")).to_be_visible()
    expect(page.get_by_label("Your message")).to_have_value("And seas?")


def test_a_refused_message_returns_to_the_conversation_that_it_was_for(
    stack: RunningStack, context: BrowserContext
) -> None:
    page = context.new_page()  # the browser says on its console that a request failed
    page.goto(stack.demo)
    say(page, "Rivers [[tokens=5 pace=1 first=1]]")
    is_whole(page)
    routes = []
    page.route(re.compile("/chat$"), lambda route: routes.append(route))  # not the method: Playwright marks it
    say(page, "And seas?")
    rivers = conversation(page)
    page.get_by_role("button", name="New chat").click()
    expect(page.locator("#messages > li")).to_have_count(0)
    for route in routes:
        route.fulfill(status=400, headers={"access-control-allow-origin": "*"})
    page.wait_for_timeout(300)
    expect(page.get_by_label("Your message")).to_have_value("")
    page.goto(f"{stack.demo}/#c={rivers}")
    expect(page.get_by_label("Your message")).to_have_value("And seas?")
