"""The demo page as a person uses it, from another origin than the Function URL."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.stack import RunningStack

pytestmark = pytest.mark.xdist_group("browser")


def say(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.get_by_label("Your message").press("Enter")


def test_the_text_grows_while_the_model_speaks(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    page.evaluate(
        """() => {
            window.lengths = [];
            const note = () => {
                const length = document.querySelector(".assistant .text")?.textContent.length ?? 0;
                if (length && length !== window.lengths.at(-1)) window.lengths.push(length);
            };
            new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
        }"""
    )
    say(page, "Tell me about rivers [[tokens=40 pace=30 first=100]]")
    expect(page.get_by_role("status")).to_have_text(re.compile(r"40 tokens in \d"), timeout=20_000)
    lengths = page.evaluate("window.lengths")
    assert len(lengths) >= 15
    assert lengths == sorted(lengths)
    shown = page.locator(".assistant .text").inner_text()
    assert len(shown.split()) == 40


def test_stop_and_go_on(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    say(page, "Tell me about rivers [[tokens=400 pace=30 first=50]]")
    expect(page.locator(".assistant .text")).to_have_text(re.compile(r"\w+ \w+"))
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status")).to_have_text("Stopped")
    stopped = page.locator(".assistant .text").inner_text()
    page.wait_for_timeout(300)
    assert page.locator(".assistant .text").inner_text() == stopped
    say(page, "hello again [[tokens=5 pace=1 first=1]]")
    expect(page.get_by_role("status")).to_have_text(re.compile("5 tokens"), timeout=20_000)


def test_an_error_is_shown_below_what_came(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    say(page, "rivers [[fault=reset at=8]] [[pace=5 first=5]]")
    expect(page.locator(".note.failed")).to_have_text("The connection to the model was lost.", timeout=20_000)
    assert len(page.locator(".assistant .text").inner_text().split()) >= 7


def test_reasoning_is_folded_away(stack: RunningStack, page: Page) -> None:
    page.route("**/chat", lambda route: route.continue_(post_data=_with_reasoning(route.request.post_data or "")))
    page.goto(stack.demo)
    say(page, "[[cite]] rivers [[pace=1 first=1]]")
    expect(page.get_by_role("status")).to_have_text(re.compile("tokens in"), timeout=20_000)
    expect(page.locator(".assistant .reasoning p")).to_be_hidden()
    page.locator(".assistant .reasoning summary").click()
    expect(page.locator(".assistant .reasoning p")).to_be_visible()
    expect(page.locator(".assistant .citations li").first).to_be_visible()


def _with_reasoning(body: str) -> str:
    return body[:-1] + ',"model":"claude-haiku","options":{"reasoning":"low"}}'


def test_it_fits_a_phone(stack: RunningStack, page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(stack.demo)
    say(page, "Tell me about a_word_that_is_much_too_long_for_a_small_screen_and_cannot_be_broken_anywhere [[pace=1]]")
    expect(page.get_by_role("status")).to_have_text(re.compile("tokens in"), timeout=20_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
