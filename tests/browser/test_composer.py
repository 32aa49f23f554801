"""Where the user writes: which Enter sends, and what becomes of a draft."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import conversation, is_whole, say
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

QUICK = "[[tokens=5 pace=1 first=1]]"


def test_enter_makes_a_new_line_where_the_pointer_is_coarse(stack: RunningStack, phone: Page) -> None:
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
    is_whole(phone)


def test_the_enter_that_confirms_a_word_of_an_input_method_does_not_send(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    message = page.get_by_label("Your message")
    expect(message).to_have_accessible_description("Enter sends, Shift+Enter begins a new line. Answers can be wrong.")
    message.fill(f"日本 {QUICK}")
    # As Safari tells it: after `compositionend`, so not while composing, and with the key code of an input method.
    # Chromium names such a key "Process", so the event is made here.
    key = {"key": "Enter", "keyCode": 229, "bubbles": True, "cancelable": True}
    sent = message.evaluate("(field, key) => field.dispatchEvent(new KeyboardEvent('keydown', key))", key)
    assert sent  # nobody has taken it
    page.wait_for_timeout(300)
    expect(page.locator(".question")).to_have_count(0)
    expect(message).to_have_value(f"日本 {QUICK}")
    message.press("Enter")
    expect(page.locator(".question")).to_have_count(1)
    is_whole(page)


def test_a_draft_belongs_to_its_conversation_and_survives_a_reload(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    message = page.get_by_label("Your message")
    for subject in ("Rivers", "Seas"):
        page.get_by_role("button", name="New chat").click()
        say(page, f"{subject} {QUICK}")
        is_whole(page)
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
    is_whole(page)
    page.reload()
    expect(page.locator(".question")).to_have_count(2)
    expect(message).to_have_value("")
    page.get_by_role("button", name="New chat").click()
    expect(message).to_have_value("Something new")


def test_what_is_written_beside_a_suggestion_stays(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    message = page.get_by_label("Your message")
    message.fill("And then")
    page.get_by_role("button", name="Tell me about rivers").click()
    is_whole(page)
    expect(message).to_have_value("And then")
    page.reload()
    expect(page.locator(".question")).to_have_count(1)
    expect(message).to_have_value("And then")
    page.get_by_role("button", name="New chat").click()
    expect(message).to_have_value("")


def test_a_draft_outlives_its_conversation_only_where_somebody_is_writing_it(
    stack: RunningStack, context: BrowserContext
) -> None:
    page = context.new_page()  # if it asks for a title just then, the browser's console says that there is none
    page.goto(stack.demo)
    for text in ("deleted here", "deleted in another tab"):
        say(page, f"Rivers {QUICK}")
        is_whole(page)
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
    assert conversation(page) in {"", page.url}
