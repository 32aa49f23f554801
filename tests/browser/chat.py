"""Actions of a user on the page, waits for its results, and the stored text to compare with."""

import re
import time
from collections.abc import Callable

import httpx
from playwright.sync_api import Locator, Page, expect

from tests.e2e.chat import text_of
from tests.stack import RunningStack

# A complete answer shows its model and its number of tokens.
TOKEN_COUNT = re.compile(r"\d+ tokens")


def send(page: Page, text: str) -> None:
    """Sends a message and waits until it is on the page."""
    expect(page.locator("#connection")).not_to_have_text("Loading…")
    questions = page.locator(".question").count()
    page.get_by_label("Your message").fill(text)
    if page.evaluate("matchMedia('(pointer: coarse)').matches"):
        page.get_by_role("button", name="Send").tap()
    else:
        page.get_by_label("Your message").press("Enter")
    expect(page.locator(".question")).to_have_count(questions + 1)


def last_answer(page: Page) -> Locator:
    """Returns the locator of the last answer's text."""
    return page.locator(".answer").last.locator(".prose")


def wait_for_words(page: Page, count: int) -> None:
    """Waits until the last answer has at least `count` words."""
    expect(last_answer(page)).to_have_text(re.compile(rf"(\S+\s+){{{count}}}"))


def wait_until_complete(page: Page, seconds: float = 20) -> None:
    """Waits until the last answer is complete."""
    facts = page.locator(".answer").last.locator(".actions:not([hidden]) .facts")
    expect(facts).to_have_text(TOKEN_COUNT, timeout=seconds * 1000)


def conversation_id(page: Page) -> str:
    """Returns the id in the URL; empty for a new chat."""
    return page.url.rpartition("#c=")[2]


def stored_text(stack: RunningStack, page: Page, user: dict[str, str]) -> str:
    """Returns the stored text of the last message."""
    url = f"{stack.gateway}/conversations/{conversation_id(page)}/messages"
    return text_of(httpx.get(url, headers=user).json()["messages"][-1])


def words(text: str) -> list[str]:
    """Returns the words, without spaces and list marks: Markdown changes these."""
    return re.findall(r"\w+", text)


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Polls the condition until it is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
