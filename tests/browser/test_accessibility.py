"""The page for those who see it dark or small, who use no mouse, or who hear it."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chat import has_words, is_whole, prose, say
from tests.stack import ROOT, RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

AXE = ROOT / "tests/clients/node_modules/axe-core/axe.min.js"


def faults(page: Page) -> list[tuple[str, list[str]]]:
    """What axe finds serious or critical, and where."""
    page.evaluate(Path(AXE).read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = page.evaluate("axe.run().then((result) => result.violations)")
    return [
        (each["id"], [node["html"] for node in each["nodes"]])
        for each in found
        if each["impact"] in {"serious", "critical"}
    ]


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci --prefix tests/clients")
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 360)])
def test_axe_finds_nothing_serious(
    stack: RunningStack, chromium: Browser, person: dict[str, str], scheme: Any, width: int
) -> None:
    context = chromium.new_context(
        extra_http_headers=person, color_scheme=scheme, viewport={"width": width, "height": 740}, has_touch=width < 500
    )
    page = context.new_page()
    page.goto(stack.demo)
    expect(page.get_by_role("heading", name="What would you like to know?")).to_be_visible()
    assert faults(page) == []
    say(page, "Tell me about rivers [[cite]] [[tokens=60 pace=1 first=1]]")
    is_whole(page)
    say(page, "And mountains? [[fault=cut at=5]]")
    expect(page.locator(".note.failed")).to_be_visible()
    assert faults(page) == []
    if width < 500:
        page.get_by_role("button", name="Conversations").click()
        expect(page.get_by_role("link", name=re.compile("Tell me"))).to_be_visible()
        assert faults(page) == []
    page.get_by_role("button", name="Memory and profile").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert faults(page) == []
    context.close()


def small(page: Page) -> list[str]:
    """What a finger would miss."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("button, nav a, summary, input")]
            .filter((each) => each.checkVisibility() && each.id !== "skip")
            .filter((each) => {
                const { width, height } = (each.closest("label") ?? each).getBoundingClientRect();
                return width < 44 || height < 44;
            })
            .map((each) => each.outerHTML)"""
    )
    return found


@pytest.mark.parametrize("width", [320, 390])
def test_it_fits_a_phone_and_a_finger(stack: RunningStack, page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 640})
    page.goto(stack.demo)
    assert small(page) == []
    say(page, "Tell me about a_word_that_is_much_too_long_for_a_small_screen_and_cannot_be_broken_anywhere [[pace=1]]")
    is_whole(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert small(page) == []
    page.get_by_role("button", name="Conversations").click()
    expect(page.get_by_role("link", name=re.compile("Tell me"))).to_be_in_viewport()
    assert small(page) == []
    page.get_by_role("button", name="Memory and profile").click()
    page.get_by_label("Something to remember").fill("I live in a_town_whose_name_is_much_too_long_for_a_small_screen")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("button", name="Forget")).to_be_visible()
    assert small(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name=re.compile("Tell me"))).to_be_hidden()


def test_everything_can_be_done_with_the_keyboard(stack: RunningStack, page: Page) -> None:
    def go_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            now = page.evaluate("""() => {
                const now = document.activeElement;
                return now === document.body ? "" : now.ariaLabel || now.textContent.trim();
            }""")
            if now.startswith(name):
                return
        raise AssertionError(name)

    page.goto(stack.demo)
    expect(page.get_by_label("Your message")).to_be_focused()
    page.keyboard.type("Tell me about rivers [[tokens=300 pace=30 first=50]]")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("please")
    page.keyboard.press("Enter")
    expect(page.locator(".question .text")).to_have_text(re.compile("rivers.*\nplease"))
    has_words(page, 2)
    go_to("Stop")
    page.keyboard.press("Enter")
    expect(page.locator(".note")).to_be_visible()
    expect(page.get_by_label("Your message")).to_be_focused()

    go_to("Skip to your message")
    expect(page.locator("#skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Your message")).to_be_focused()

    go_to("Edit title of")
    page.keyboard.press("Enter")
    page.keyboard.type("Rivers")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Rivers")
    go_to("Delete Rivers")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("New chat")
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(0)


def test_a_screen_reader_hears_the_begin_and_the_whole_and_nothing_between(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    page.evaluate(
        """() => {
            window.heard = [];
            const live = "#chat [aria-live], #chat [role=status], #chat [role=alert], #announcer";
            for (const each of document.querySelectorAll(live)) {
                const hear = () => heard.push(each.textContent);
                new MutationObserver(hear).observe(each, { subtree: true, childList: true });
            }
        }"""
    )
    say(page, "Tell me about rivers [[tokens=30 pace=20 first=50]]")
    is_whole(page)
    page.wait_for_function("heard.length > 1")
    [begin, whole] = page.evaluate("heard")
    assert begin == "Answering"
    assert whole.split() == prose(page).inner_text().split()


def test_nothing_moves_for_those_who_want_it_so(stack: RunningStack, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(stack.demo)
    say(page, "Tell me about rivers [[tokens=30 pace=10 first=1500]]")
    expect(page.locator(".waiting")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0
    is_whole(page)
