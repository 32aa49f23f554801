"""Debian's Chromium, driven by Playwright. Playwright's own browsers are never downloaded."""

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

# Without these options, Chromium connects to Google's hosts at start, which fails in a closed network.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TIMEOUT_MS = 20_000  # long, because a machine that tests on all processors paints late
expect.set_options(timeout=TIMEOUT_MS)
_numbers = itertools.count()


@pytest.fixture(scope="module")  # not longer: Playwright keeps an event loop running in its thread
def chromium() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def user() -> dict[str, str]:
    """The headers that identify a new user, so that no two tests share a conversation or a fact."""
    return {"x-dev-user": f"browser-{os.getpid()}-{next(_numbers)}"}


@pytest.fixture
def context(chromium: Browser, user: dict[str, str]) -> Iterator[BrowserContext]:
    """The browser context of that user."""
    context = chromium.new_context(extra_http_headers=user)
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page; the test fails if the page logs an error or a warning."""
    with checked_page(context) as page:
        yield page


@pytest.fixture
def phone(chromium: Browser, user: dict[str, str]) -> Iterator[Page]:
    """The same with the viewport and the touch screen of a phone."""
    context = chromium.new_context(
        extra_http_headers=user, viewport={"width": 390, "height": 740}, has_touch=True, is_mobile=True
    )
    context.set_default_timeout(TIMEOUT_MS)
    with checked_page(context) as page:
        yield page
    context.close()


@contextmanager
def checked_page(context: BrowserContext) -> Iterator[Page]:
    """Opens a page; fails at the end if the page has logged an error or a warning."""
    problems: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))

    def on_console(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            problems.append(f"{message.text} {message.location['url']}")

    page.on("console", on_console)
    yield page
    assert problems == []
