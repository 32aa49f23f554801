"""Reloads, other tabs, lines that drop, and doors that do not stream: the text is the stored one."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import has_words, is_whole, prose, say, stored, words
from tests.browser.line import Line
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]


def test_a_reload_in_the_middle_of_an_answer_goes_on(stack: RunningStack, page: Page, person: dict[str, str]) -> None:
    page.goto(stack.demo)
    say(page, "Tell me about rivers [[tokens=130 pace=30 first=50]]")
    has_words(page, 10)
    page.reload()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    has_words(page, 12)
    is_whole(page)
    assert page.locator(".question .text").inner_text().startswith("Tell me about rivers")
    assert len(words(prose(page).inner_text())) == len(words(stored(stack, page, person)))
    assert len(prose(page).inner_text().split()) == 130


def test_a_second_tab_follows(stack: RunningStack, context: BrowserContext, page: Page, person: dict[str, str]) -> None:
    page.goto(stack.demo)
    say(page, "hello [[tokens=3 pace=1 first=1]]")
    is_whole(page)
    other = context.new_page()
    other.goto(page.url)
    expect(other.locator(".answer")).to_have_count(1)
    page.bring_to_front()  # pages behind are painted once a second

    say(page, "Tell me about rivers [[tokens=600 pace=30 first=50]]")  # the other tab hears of it
    late = context.new_page()
    has_words(page, 5)
    late.goto(page.url)  # and one that comes later finds it
    for tab in (other, late):
        expect(tab.locator(".answer")).to_have_count(2)
        expect(tab.get_by_role("button", name="Stop")).to_be_visible()
    for tab in (page, other, late):
        tab.bring_to_front()
        is_whole(tab, 40)
        assert words(prose(tab).inner_text()) == words(stored(stack, page, person))


def test_three_seconds_offline_cost_no_word(
    stack: RunningStack, context: BrowserContext, person: dict[str, str]
) -> None:
    page = context.new_page()  # the browser says on its console that the network is gone
    with Line(stack.url) as line:
        config = {"functionUrl": line.url, "apiUrl": stack.gateway}
        page.route("**/config.json", lambda route: route.fulfill(json=config))
        page.goto(stack.demo)
        say(page, "Tell me about rivers 🌊 [[tokens=130 pace=30 first=50]]")
        has_words(page, 10)
        context.set_offline(True)  # refuses new connections, and
        line.cut()  # this is what happens to those that stand
        expect(page.locator("#connection")).to_contain_text("Offline")
        seen = prose(page).inner_text()
        page.wait_for_timeout(3000)
        assert prose(page).inner_text() == seen
        context.set_offline(False)
        is_whole(page)
    shown = prose(page).inner_text()
    assert shown.startswith(seen.rstrip("."))
    assert len(words(seen)) < len(words(shown)) == len(words(stored(stack, page, person)))
    assert words(shown) == words(stored(stack, page, person))


def test_where_streaming_is_refused_the_answer_comes_in_one_piece(
    stack: RunningStack, context: BrowserContext, person: dict[str, str]
) -> None:
    page = context.new_page()  # the browser says on its console what was refused
    page.route(f"{stack.url}/**", lambda route: route.abort())
    page.goto(stack.demo)
    say(page, "Tell me about rivers [[tokens=30 pace=50 first=50]]")
    expect(page.locator("#connection")).to_have_text(re.compile("in one piece"))
    is_whole(page)
    assert len(prose(page).inner_text().split()) == 30
    assert words(prose(page).inner_text()) == words(stored(stack, page, person))
