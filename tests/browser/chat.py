"""What a person does on the page, and what the server has stored of it."""

import re
import time
from collections.abc import Callable

import httpx
from playwright.sync_api import Locator, Page, expect

from tests.e2e.chat import text_of
from tests.stack import RunningStack

# An answer says its model and tokens when it is whole.
WHOLE = re.compile(r"\d+ tokens")


def say(page: Page, text: str) -> None:
    """Sends a message and waits until it and its answer's place are on the page."""
    expect(page.locator("#connection")).not_to_have_text("Loading…")
    questions = page.locator(".question").count()
    page.get_by_label("Your message").fill(text)
    if page.evaluate("matchMedia('(pointer: coarse)').matches"):
        page.get_by_role("button", name="Send").tap()
    else:
        page.get_by_label("Your message").press("Enter")
    expect(page.locator(".question")).to_have_count(questions + 1)


def prose(page: Page) -> Locator:
    """The last answer's text."""
    return page.locator(".answer").last.locator(".prose")


def has_words(page: Page, count: int) -> None:
    """Waits until the last answer has so many words."""
    expect(prose(page)).to_have_text(re.compile(rf"(\S+\s+){{{count}}}"))


def is_whole(page: Page, seconds: float = 20) -> None:
    """Waits until the last answer has ended."""
    facts = page.locator(".answer").last.locator(".actions:not([hidden]) .facts")
    expect(facts).to_have_text(WHOLE, timeout=seconds * 1000)


def conversation(page: Page) -> str:
    return page.url.rpartition("#c=")[2]


def stored(stack: RunningStack, page: Page, person: dict[str, str]) -> str:
    """The text of the last message, as the server has it."""
    url = f"{stack.gateway}/conversations/{conversation(page)}/messages"
    return text_of(httpx.get(url, headers=person).json()["messages"][-1])


def words(text: str) -> list[str]:
    """Without what Markdown makes of it, such as spaces and list marks."""
    return re.findall(r"\w+", text)


def until(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)
