"""The message field: when Enter sends, and how long a draft is kept."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import conversation_id, send, wait_until_complete
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

QUICK = "[[tokens=5 pace=1 first=1]]"


def test_enter_inserts_a_new_line_on_touch_screens(stack: RunningStack, phone: Page) -> None:
    phone.goto(stack.demo)
    message = phone.get_by_label("Your message")
    message.tap()
    phone.keyboard.type("One")
    phone.keyboard.press("Enter")
    phone.keyboard.type(f"two {QUICK}")
    expect(message).to_have_value(f"One\ntwo {QUICK}")
    expect(message).to_have_accessible_description("Answers can be wrong.")
    phone.get_by_role("button", name="Send").tap()
    expect(phone.locator(".question .text")).to_have_text(f"One\ntwo {QUICK}", use_inner_text=True)
    wait_until_complete(phone)


def test_enter_that_confirms_input_method_text_does_not_send(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    message = page.get_by_label("Your message")
    expect(message).to_have_accessible_description("Enter sends, Shift+Enter begins a new line. Answers can be wrong.")
    message.fill(f"日本 {QUICK}")
    # As Safari sends it: after `compositionend`, so `isComposing` is false, with the key code of an input method.
    # Chromium names such a key "Process", so the test dispatches the event itself.
    key = {"key": "Enter", "keyCode": 229, "bubbles": True, "cancelable": True}
    default_allowed = message.evaluate("(field, key) => field.dispatchEvent(new KeyboardEvent('keydown', key))", key)
    assert default_allowed  # no handler has called preventDefault()
    page.wait_for_timeout(300)
    expect(page.locator(".question")).to_have_count(0)
    expect(message).to_have_value(f"日本 {QUICK}")
    message.press("Enter")
    expect(page.locator(".question")).to_have_count(1)
    wait_until_complete(page)


def test_draft_is_kept_per_conversation_and_after_a_reload(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    message = page.get_by_label("Your message")
    for subject in ("Rivers", "Seas"):
        page.get_by_role("button", name="New chat").click()
        send(page, f"{subject} {QUICK}")
        wait_until_complete(page)
        page.keyboard.type(f"More about {subject}")
    entries = page.get_by_role("navigation").get_by_role("link")
    page.get_by_role("button", name="New chat").click()
    expect(message).to_have_value("")
    page.keyboard.type("Something new")
    for subject in ("Rivers", "Seas"):
        entries.filter(has_text=subject).click()
        expect(page.locator(".question")).to_contain_text(subject)
        expect(message).to_have_value(f"More about {subject}")
        page.reload()
        expect(page.locator(".question")).to_contain_text(subject)
        expect(message).to_have_value(f"More about {subject}")
    message.fill(f"Now {QUICK}")
    message.press("Enter")
    expect(page.locator(".question")).to_have_count(2)
    wait_until_complete(page)
    page.reload()
    expect(page.locator(".question")).to_have_count(2)
    expect(message).to_have_value("")
    page.get_by_role("button", name="New chat").click()
    expect(message).to_have_value("Something new")


def test_suggestion_does_not_clear_the_draft(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    message = page.get_by_label("Your message")
    message.fill("And then")
    page.get_by_role("button", name="Tell me about rivers").click()
    wait_until_complete(page)
    expect(message).to_have_value("And then")
    page.reload()
    expect(page.locator(".question")).to_have_count(1)
    expect(message).to_have_value("And then")
    page.get_by_role("button", name="New chat").click()
    expect(message).to_have_value("")


def test_draft_of_a_deleted_conversation_is_kept_only_if_another_tab_deleted_it(
    stack: RunningStack, context: BrowserContext
) -> None:
    page = context.new_page()  # without console check: a title request may get 404
    page.goto(stack.demo)
    for text in ("deleted here", "deleted in another tab"):
        send(page, f"Rivers {QUICK}")
        wait_until_complete(page)
        page.keyboard.type(text)
        tab = page
        if "another" in text:
            tab = context.new_page()
            tab.goto(page.url)
        tab.locator("#conversations li").first.hover()
        tab.get_by_role("button", name="Delete Rivers").click()
        tab.get_by_role("button", name="Delete", exact=True).click()
        page.bring_to_front()
        expect(page.get_by_role("heading", level=1)).to_have_text("New chat")
        expect(page.get_by_label("Your message")).to_have_value(text if "another" in text else "")
    assert conversation_id(page) in {"", page.url}
