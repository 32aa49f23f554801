"""Accessibility: dark and small screens, keyboard, touch, screen readers, and reduced motion."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chat import last_answer, send, wait_for_words, wait_until_complete
from tests.stack import ROOT, RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

AXE = ROOT / "tests/clients/node_modules/axe-core/axe.min.js"


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """Returns the serious and critical violations that axe reports: rule and HTML of the elements."""
    page.evaluate(Path(AXE).read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = page.evaluate("axe.run().then((result) => result.violations)")
    return [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in found
        if violation["impact"] in {"serious", "critical"}
    ]


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci --prefix tests/clients")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360)])
def test_axe_reports_no_serious_violation(
    stack: RunningStack, chromium: Browser, user: dict[str, str], scheme: Any, width: int
) -> None:
    context = chromium.new_context(
        extra_http_headers=user, color_scheme=scheme, viewport={"width": width, "height": 740}, has_touch=width < 500
    )
    page = context.new_page()
    page.goto(stack.demo)
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    assert violations(page) == []
    send(page, "Tell me about rivers [[cite]] [[tokens=60 pace=1 first=1]]")
    wait_until_complete(page)
    send(page, "And mountains? [[fault=cut at=5]]")
    expect(page.locator(".note.failed")).to_be_visible()
    assert violations(page) == []
    if width < 500:
        page.get_by_role("button", name="Conversations").click()
        expect(page.get_by_role("link", name=re.compile("Tell me"))).to_be_visible()
        assert violations(page) == []
    for name in ("Your Bedrock key", "Memory and profile"):
        if page.get_by_role("button", name=name).is_hidden():  # a dialog closes the sidebar of a small screen
            page.get_by_role("button", name="Conversations").click()
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert violations(page) == []
        page.keyboard.press("Escape")
    context.close()


def small_targets(page: Page) -> list[str]:
    """Returns the HTML of the visible controls that are smaller than 44 pixels."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("button, nav a, summary, input, select")]
            .filter((each) => each.checkVisibility() && each.id !== "skip")
            .filter((each) => {
                const { width, height } = (each.closest("label") ?? each).getBoundingClientRect();
                return width < 44 || height < 44;
            })
            .map((each) => each.outerHTML)"""
    )
    return found


@pytest.mark.parametrize("width", [320, 390])
def test_page_fits_narrow_screens_and_its_controls_have_44_pixels(stack: RunningStack, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 640})
    page.goto(stack.demo)
    assert small_targets(page) == []
    send(page, "Tell me about a_word_that_is_much_too_long_for_a_small_screen_and_cannot_be_broken_anywhere [[pace=1]]")
    wait_until_complete(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert small_targets(page) == []
    page.get_by_role("button", name="Conversations").click()
    expect(page.get_by_role("link", name=re.compile("Tell me"))).to_be_in_viewport()
    assert small_targets(page) == []
    page.get_by_role("button", name="Memory and profile").click()
    page.get_by_label("Something to remember").fill("I live in a_town_whose_name_is_much_too_long_for_a_small_screen")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("button", name="Forget")).to_be_visible()
    assert small_targets(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name=re.compile("Tell me"))).to_be_hidden()


def test_keyboard_alone_can_send_stop_rename_and_delete(stack: RunningStack, page: Page) -> None:
    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            focused = page.evaluate("""() => {
                const element = document.activeElement;
                return element === document.body ? "" : element.ariaLabel || element.textContent.trim();
            }""")
            if focused.startswith(name):
                return
        raise AssertionError(name)

    page.goto(stack.demo)
    expect(page.get_by_label("Your message")).to_be_focused()
    page.keyboard.type("Tell me about rivers [[tokens=300 pace=30 first=50]]")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("please")
    page.keyboard.press("Enter")
    expect(page.locator(".question .text")).to_have_text(re.compile("rivers.*\nplease"))
    wait_for_words(page, 2)
    tab_to("Stop")
    page.keyboard.press("Enter")
    expect(page.locator(".note")).to_be_visible()
    expect(page.get_by_label("Your message")).to_be_focused()

    tab_to("Skip to your message")
    expect(page.locator("#skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your message")).to_be_focused()

    tab_to("Edit title of")
    page.keyboard.press("Enter")
    page.keyboard.type("Rivers")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Rivers")
    tab_to("Delete Rivers")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("New chat")
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(0)


def test_live_regions_announce_only_the_start_and_the_complete_answer(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    page.evaluate(
        """() => {
            window.announced = [];
            const live = "#chat [aria-live], #chat [role=status], #chat [role=alert], #announcer";
            for (const each of document.querySelectorAll(live)) {
                const record = () => announced.push(each.textContent);
                new MutationObserver(record).observe(each, { subtree: true, childList: true });
            }
        }"""
    )
    send(page, "Tell me about rivers [[tokens=30 pace=20 first=50]]")
    wait_until_complete(page)
    page.wait_for_function("announced.length > 1")
    [start, complete] = page.evaluate("announced")
    assert start == "Answering"
    assert complete.split() == last_answer(page).inner_text().split()


def test_reduced_motion_disables_animations(stack: RunningStack, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(stack.demo)
    send(page, "Tell me about rivers [[tokens=30 pace=10 first=1500]]")
    expect(page.locator(".waiting")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0
    wait_until_complete(page)
