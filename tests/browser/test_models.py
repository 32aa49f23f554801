"""The pickers of the model and its thinking effort, and the user's own Bedrock key."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.chat import last_answer, send, wait_until_complete
from tests.browser.test_accessibility import AXE, small_targets, violations
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

QUICK = "[[tokens=5 pace=1 first=1]]"
KEY = "canary-7c6a180b"


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    running = start_stack("--parameter", "AllowedModels=nova-lite,claude-haiku,claude-sonnet")
    yield running
    stop_stack(running)


def model(page: Page) -> Locator:
    return page.get_by_label("Model", exact=True)


def effort(page: Page) -> Locator:
    return page.get_by_label("Thinking effort")


def choose(page: Page, name: str, level: str = "") -> None:
    model(page).select_option(name)
    if level:
        effort(page).select_option(level)


def use_key(page: Page, key: str) -> None:
    page.get_by_role("button", name="Your Bedrock key").click()
    page.get_by_label("Bedrock API key").fill(key)
    page.get_by_role("button", name="Use key").click()


def test_the_chosen_model_answers_with_the_chosen_effort(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    expect(model(page)).to_have_value("nova-lite")
    expect(effort(page)).to_be_hidden()
    expect(model(page).locator("option")).to_have_text(
        [
            "Claude Haiku 5.5 · from $0.11 / $0.55 per million tokens",
            "Claude Sonnet 5.5 · $2.20 / $11 per million tokens",
            "Nova Lite · $0.06 / $0.24 per million tokens",
        ]
    )
    choose(page, "claude-sonnet")
    efforts = ["Low", "Medium", "High", "Very high", "Maximum"]
    expect(effort(page).locator("option")).to_have_text(["Default (high)", *efforts])
    choose(page, "claude-haiku", "xhigh")
    expect(effort(page).locator("option")).to_have_text(["Default (medium)", "Off", *efforts])
    send(page, f"Rivers {QUICK}")
    wait_until_complete(page)
    expect(page.locator(".reasoning")).to_have_count(1)
    for name in ("Answer again", ""):
        sent = stack.requests()[-1]
        assert "claude-haiku" in sent["modelId"]
        assert '"effort": "xhigh"' in str(sent["body"]).replace("'", '"')
        if name:
            page.get_by_role("button", name=name).click()
            expect(page.get_by_role("button", name=name)).to_be_hidden()
            wait_until_complete(page)


def test_the_choice_is_kept_for_each_conversation_and_begins_the_next_one(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    choose(page, "claude-haiku", "high")
    send(page, f"Rivers {QUICK}")
    wait_until_complete(page)
    page.get_by_role("button", name="New chat").click()
    expect(page.locator("#messages > li")).to_have_count(0)
    expect(model(page)).to_have_value("claude-haiku")
    expect(effort(page)).to_have_value("high")
    choose(page, "nova-lite")
    expect(effort(page)).to_be_hidden()
    send(page, f"Seas {QUICK}")
    wait_until_complete(page)
    page.reload()
    expect(page.locator(".question")).to_contain_text("Seas")
    expect(model(page)).to_have_value("nova-lite")
    page.get_by_role("navigation").get_by_role("link", name="Rivers").click()
    expect(page.locator(".question")).to_contain_text("Rivers")
    expect(model(page)).to_have_value("claude-haiku")
    page.reload()
    expect(model(page)).to_have_value("claude-haiku")
    expect(effort(page)).to_have_value("high")
    expect(page.locator(".question")).to_have_count(1)
    send(page, f"And lakes? {QUICK}")
    wait_until_complete(page)
    assert "claude-haiku" in stack.requests()[-1]["modelId"]


def test_a_remembered_model_that_is_no_longer_allowed_is_replaced_by_the_default(
    stack: RunningStack, page: Page
) -> None:
    page.goto(stack.demo)
    page.evaluate("""localStorage.setItem("choice new", '{"model": "claude-opus", "effort": "max"}')""")
    page.reload()
    expect(model(page)).to_have_value("nova-lite")
    send(page, f"Rivers {QUICK}")
    wait_until_complete(page)
    assert "nova-lite" in stack.requests()[-1]["modelId"]


def test_without_the_list_the_page_has_no_pickers_and_works(stack: RunningStack, context: BrowserContext) -> None:
    page = context.new_page()  # without console check: the browser logs the failed request
    page.route(re.compile("/models$"), lambda route: route.fulfill(status=404, body="none"))
    page.goto(stack.demo)
    send(page, f"Rivers {QUICK}")
    wait_until_complete(page)
    expect(model(page)).to_be_hidden()
    expect(page.locator("#problem")).to_be_hidden()
    assert "nova-lite" in stack.requests()[-1]["modelId"]


def test_the_pickers_can_be_used_with_the_keyboard_alone(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    expect(model(page)).to_be_visible()
    page.get_by_label("Your message").focus()
    page.keyboard.press("Tab")
    expect(model(page)).to_be_focused()
    assert page.locator(".pick").first.evaluate("(pick) => getComputedStyle(pick).outlineStyle") == "solid"
    page.keyboard.type("Claude H")
    expect(effort(page)).to_be_visible()
    page.keyboard.press("Tab")
    expect(effort(page)).to_be_focused()
    page.keyboard.type("Med")
    expect(effort(page)).to_have_value("medium")
    expect(model(page)).to_have_value("claude-haiku")


def test_an_option_that_another_model_did_not_get_is_noted_at_the_answer(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    choose(page, "claude-haiku", "high")
    send(page, f"Rivers [[fault=throttle times=3]] {QUICK}")  # then its fallback answers, which does not think
    wait_until_complete(page)
    expect(page.locator(".adapted")).to_have_text("For this model, reasoning was left out.")
    expect(page.locator(".note")).to_be_hidden()
    send(page, f"And seas? {QUICK}")
    wait_until_complete(page)
    expect(page.locator(".adapted").last).to_be_hidden()


def test_the_key_is_sent_with_each_message_until_a_reload_and_is_not_stored(
    stack: RunningStack, page: Page, user: dict[str, str]
) -> None:
    def keys() -> list[str | None]:
        return [request["key"] for request in stack.requests()[before:]]

    before = len(stack.requests())
    with_key: list[str] = []
    page.on(
        "request",
        lambda request: with_key.append(request.method) if "x-bedrock-api-key" in request.headers else None,
    )
    page.goto(stack.demo)
    use_key(page, f" {KEY} ")
    expect(page.get_by_role("button", name="Your Bedrock key is used")).to_be_focused()
    send(page, f"Rivers {QUICK}")
    wait_until_complete(page)
    page.get_by_role("button", name="Answer again").click()
    expect(page.get_by_role("button", name="Answer again")).to_be_hidden()
    wait_until_complete(page)
    assert keys() == [KEY, KEY]
    assert with_key == ["POST", "POST"]
    stored = page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])")
    assert KEY not in stored + page.content()
    assert page.evaluate("document.getElementById('key-value').value") == ""
    page.reload()
    expect(page.locator(".question")).to_have_count(1)
    expect(page.get_by_role("button", name="Your Bedrock key", exact=True)).to_be_visible()
    send(page, f"Seas {QUICK}")
    wait_until_complete(page)
    assert keys() == [KEY, KEY, None]
    assert KEY not in httpx.get(f"{stack.gateway}/conversations", headers=user).text


def test_a_key_can_be_removed_and_a_text_with_spaces_is_no_key(stack: RunningStack, page: Page) -> None:
    before = len(stack.requests())
    page.goto(stack.demo)
    use_key(page, "two words")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    use_key(page, KEY)
    page.get_by_role("button", name="Your Bedrock key is used").click()
    expect(page.get_by_label("Bedrock API key")).to_have_value("")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Your Bedrock key is used")).to_be_visible()
    page.get_by_role("button", name="Your Bedrock key is used").click()
    page.get_by_role("button", name="Remove key").click()
    expect(page.get_by_role("button", name="Your Bedrock key", exact=True)).to_be_focused()
    send(page, f"Rivers {QUICK}")
    wait_until_complete(page)
    assert [request["key"] for request in stack.requests()[before:]] == [None]


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci --prefix tests/clients")
@pytest.mark.parametrize("direction", ["ltr", "rtl"])
@pytest.mark.parametrize(("scheme", "width"), [("light", 360), ("dark", 1280)])
def test_the_pickers_fit_and_axe_reports_no_serious_violation(
    stack: RunningStack, chromium: Browser, user: dict[str, str], scheme: Any, width: int, direction: str
) -> None:
    context = chromium.new_context(
        extra_http_headers=user, color_scheme=scheme, viewport={"width": width, "height": 740}, has_touch=width < 500
    )
    page = context.new_page()
    page.goto(stack.demo)
    page.evaluate("(direction) => (document.documentElement.dir = direction)", direction)
    choose(page, "claude-haiku", "xhigh")
    # Each text fails three times.
    send(page, f"{scheme} {direction} rivers [[fault=throttle times=3]] {QUICK}")
    wait_until_complete(page)
    expect(page.locator(".adapted")).to_be_visible()
    assert last_answer(page).inner_text()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width < 500:
        assert small_targets(page) == []
        page.get_by_role("button", name="Conversations").click()
    use_key(page, KEY)
    if width < 500:
        page.get_by_role("button", name="Conversations").click()
    page.get_by_role("button", name="Your Bedrock key is used").click()
    expect(page.get_by_role("button", name="Remove key")).to_be_visible()
    assert violations(page) == []
    assert small_targets(page) == [] or width > 500
    context.close()
