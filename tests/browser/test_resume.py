"""Reloads, other tabs, dropped connections, and no streaming: the shown text equals the stored text."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import last_answer, send, stored_text, wait_for_words, wait_until_complete, words
from tests.browser.proxy import Proxy
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]


def test_reload_during_an_answer_resumes_it(stack: RunningStack, page: Page, user: dict[str, str]) -> None:
    page.goto(stack.demo)
    send(page, "Tell me about rivers [[tokens=130 pace=30 first=50]]")
    wait_for_words(page, 10)
    page.reload()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    wait_for_words(page, 12)
    wait_until_complete(page)
    assert page.locator(".question .text").inner_text().startswith("Tell me about rivers")
    assert len(words(last_answer(page).inner_text())) == len(words(stored_text(stack, page, user)))
    assert len(last_answer(page).inner_text().split()) == 130


def test_other_tabs_follow_a_running_answer(
    stack: RunningStack, context: BrowserContext, page: Page, user: dict[str, str]
) -> None:
    page.goto(stack.demo)
    send(page, "hello [[tokens=3 pace=1 first=1]]")
    wait_until_complete(page)
    other = context.new_page()
    other.goto(page.url)
    expect(other.locator(".answer")).to_have_count(1)
    page.bring_to_front()  # background tabs are painted once per second

    send(page, "Tell me about rivers [[tokens=600 pace=30 first=50]]")  # the other tab gets a notification
    late = context.new_page()
    wait_for_words(page, 5)
    late.goto(page.url)  # a tab that opens later finds the answer too
    for tab in (other, late):
        expect(tab.locator(".answer")).to_have_count(2)
        expect(tab.get_by_role("button", name="Stop")).to_be_visible()
    for tab in (page, other, late):
        tab.bring_to_front()
        wait_until_complete(tab, 40)
        assert words(last_answer(tab).inner_text()) == words(stored_text(stack, page, user))


def test_three_seconds_offline_lose_no_text(stack: RunningStack, context: BrowserContext, user: dict[str, str]) -> None:
    page = context.new_page()  # without console check: the browser logs the lost network
    with Proxy(stack.url) as proxy:
        config = {"functionUrl": proxy.url, "apiUrl": stack.gateway}
        page.route("**/config.json", lambda route: route.fulfill(json=config))
        page.goto(stack.demo)
        send(page, "Tell me about rivers 🌊 [[tokens=130 pace=30 first=50]]")
        wait_for_words(page, 10)
        context.set_offline(True)  # refuses new connections
        proxy.drop()  # closes the open ones
        expect(page.locator("#connection")).to_contain_text("Offline")
        seen = last_answer(page).inner_text()
        page.wait_for_timeout(3000)
        assert last_answer(page).inner_text() == seen
        context.set_offline(False)
        wait_until_complete(page)
    shown = last_answer(page).inner_text()
    assert shown.startswith(seen.rstrip("."))
    assert len(words(seen)) < len(words(shown)) == len(words(stored_text(stack, page, user)))
    assert words(shown) == words(stored_text(stack, page, user))


def test_without_streaming_the_answer_arrives_in_one_piece(
    stack: RunningStack, context: BrowserContext, user: dict[str, str]
) -> None:
    page = context.new_page()  # without console check: the browser logs the refused requests
    page.route(f"{stack.url}/**", lambda route: route.abort())
    page.goto(stack.demo)
    send(page, "Tell me about rivers [[tokens=30 pace=50 first=50]]")
    expect(page.locator("#connection")).to_have_text(re.compile("in one piece"))
    wait_until_complete(page)
    assert len(last_answer(page).inner_text().split()) == 30
    assert words(last_answer(page).inner_text()) == words(stored_text(stack, page, user))
