"""Debian's Chromium, driven by Playwright. Playwright's own browsers are never downloaded."""

import itertools
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

# Quiet at start: without these Chromium looks for its maker's hosts, which a closed network refuses.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 20_000  # ms: a machine that tests on all its processors paints late
expect.set_options(timeout=PATIENCE)
_numbers = itertools.count()


@pytest.fixture(scope="module")  # and no longer: Playwright keeps an event loop running in its thread
def chromium() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def person() -> dict[str, str]:
    """The headers of somebody of their own, so that no two tests share a conversation or a fact."""
    return {"x-dev-user": f"browser-{os.getpid()}-{next(_numbers)}"}


@pytest.fixture
def context(chromium: Browser, person: dict[str, str]) -> Iterator[BrowserContext]:
    """That person's browser."""
    context = chromium.new_context(extra_http_headers=person)
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A page on which nothing may go wrong unnoticed."""
    with watched(context) as page:
        yield page


@pytest.fixture
def phone(chromium: Browser, person: dict[str, str]) -> Iterator[Page]:
    """The same on that person's phone."""
    context = chromium.new_context(
        extra_http_headers=person, viewport={"width": 390, "height": 740}, has_touch=True, is_mobile=True
    )
    context.set_default_timeout(PATIENCE)
    with watched(context) as page:
        yield page
    context.close()


@contextmanager
def watched(context: BrowserContext) -> Iterator[Page]:
    """A new page; fails if it has logged an error or a warning."""
    problems: list[str] = []
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(str(error)))

    def said(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            problems.append(f"{message.text} {message.location['url']}")

    page.on("console", said)
    yield page
    assert problems == []
