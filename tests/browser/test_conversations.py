"""The list at the side, and the dialogs."""

import re

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import conversation, is_whole, say
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]


def test_conversations_are_listed_opened_renamed_and_deleted(
    stack: RunningStack, context: BrowserContext, page: Page
) -> None:
    page.goto(stack.demo)
    expect(page.get_by_text("Your conversations are listed here.")).to_be_visible()
    for subject in ("Rivers", "Mountains"):
        page.get_by_role("button", name="New chat").click()
        say(page, f"{subject} [[tokens=5 pace=1 first=1]]")
        is_whole(page)
    entries = page.get_by_role("navigation").get_by_role("link")
    expect(entries).to_have_text([re.compile("^Mountains"), re.compile("^Rivers")])

    other = context.new_page()
    other.goto(page.url)
    page.bring_to_front()  # pages behind are painted once a second
    entries.last.click()
    expect(page.locator(".question")).to_contain_text("Rivers")
    expect(entries.last).to_have_attribute("aria-current", "page")
    page.get_by_role("button", name="Edit title", exact=True).click()
    page.get_by_label("Title", exact=True).fill("Great rivers")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Great rivers")
    expect(other.get_by_role("link", name="Great rivers")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_have_text("Great rivers")

    entries.filter(has_text="Great rivers").hover()
    page.get_by_role("button", name="Delete Great rivers").click()
    page.get_by_role("button", name="Cancel").click()
    expect(entries).to_have_count(2)
    page.get_by_role("button", name="Delete Great rivers").click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(entries).to_have_count(1)
    expect(page.get_by_role("heading", level=1)).to_have_text("New chat")
    expect(other.get_by_role("link", name="Great rivers")).to_have_count(0)
    page.reload()
    expect(entries).to_have_count(1)


def test_a_title_that_is_learned_shows_by_itself(stack: RunningStack, page: Page, person: dict[str, str]) -> None:
    page.goto(stack.demo)
    say(page, "Tell me about rivers, and then about all the seas that they flow into [[tokens=5 pace=1 first=1]]")
    opening = "Tell me about rivers, and then about all the seas that they…"
    expect(page.get_by_role("heading", level=1)).to_have_text(opening)
    is_whole(page)
    url = f"{stack.gateway}/conversations/{conversation(page)}"
    httpx.patch(url, headers=person, json={"title": "Rivers and seas"}).raise_for_status()  # as the learning does
    expect(page.get_by_role("heading", level=1)).to_have_text("Rivers and seas")
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(["Rivers and seas"])


@pytest.mark.parametrize("late", ["/memory", "/profile"])
def test_a_profile_that_has_not_come_cannot_be_replaced(
    stack: RunningStack, context: BrowserContext, person: dict[str, str], late: str
) -> None:
    httpx.put(f"{stack.gateway}/profile", headers=person, json={"name": "Ada", "about": "sails"}).raise_for_status()
    page = context.new_page()  # the browser says on its console that a request failed
    page.goto(stack.demo)
    page.route(f"**{late}", lambda route: route.fulfill(status=503, headers={"access-control-allow-origin": "*"}))
    page.get_by_role("button", name="Memory and profile").click()
    expect(page.locator("#memory-note")).to_contain_text("503")
    save = page.get_by_role("button", name="Save profile")
    if late == "/profile":
        expect(save).to_be_disabled()
        expect(page.get_by_label("Your name")).to_be_disabled()
    else:
        page.get_by_label("Your name").fill("Ada L.")
        save.click()
        expect(page.get_by_text("The profile is saved.")).to_be_visible()
    name = "Ada" if late == "/profile" else "Ada L."
    known = httpx.get(f"{stack.gateway}/profile", headers=person).json()
    assert known == {"name": name, "about": "sails", "learning": True}


def test_the_profile_form_saves_only_what_was_changed_in_it(
    stack: RunningStack, page: Page, person: dict[str, str]
) -> None:
    with httpx.Client(base_url=stack.gateway, headers=person) as http:
        http.put("/profile", json={"name": "Ada", "about": "sails"}).raise_for_status()
        page.goto(stack.demo)
        page.get_by_role("button", name="Memory and profile").click()
        expect(page.get_by_label("Your name")).to_have_value("Ada")
        http.patch("/profile", json={"assistantName": "Iris", "learning": False}).raise_for_status()  # elsewhere
        page.get_by_label("Your name").fill("")
        page.get_by_role("button", name="Save profile").click()
        expect(page.get_by_label("Name of the assistant")).to_have_value("Iris")
        expect(page.get_by_label("Learn from what I say")).not_to_be_checked()
        assert http.get("/profile").json() == {"assistantName": "Iris", "about": "sails", "learning": False}


def test_older_conversations_and_messages_come_page_by_page(
    stack: RunningStack, page: Page, person: dict[str, str]
) -> None:
    with httpx.Client(base_url=stack.gateway, headers=person) as http:
        for number in range(32):
            http.post("/conversations", json={"title": f"Number {number}"}).raise_for_status()
        for number in range(16):
            body = {"conversationId": "a-long-one", "message": {"text": f"{number} [[tokens=1 pace=0 first=0]]"}}
            http.post("/chat", json=body).raise_for_status()
    page.goto(f"{stack.demo}/#c=a-long-one")
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(30)
    page.get_by_role("button", name="Show more").click()
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(33)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()

    expect(page.locator("#messages > li")).to_have_count(30)
    page.get_by_role("button", name="Show earlier messages").click()
    expect(page.locator("#messages > li")).to_have_count(32)
    expect(page.locator(".question").first).to_contain_text("0 [[")
    expect(page.locator("#messages > li").last.get_by_role("button", name="Answer again")).to_be_visible()


def test_facts_are_added_and_forgotten_and_the_profile_is_kept(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    page.get_by_role("button", name="Memory and profile").click()
    expect(page.get_by_text("Nothing yet.")).to_be_visible()
    for fact in ("I live in Lisbon", "My dog is called Argos"):
        page.get_by_label("Something to remember").fill(fact)
        page.get_by_role("button", name="Add").click()
        expect(page.get_by_role("button", name=f"Forget: {fact}")).to_be_visible()
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Name of the assistant").fill("Iris")
    expect(page.get_by_label("Learn from what I say")).to_be_checked()
    page.get_by_label("Learn from what I say").uncheck()
    page.get_by_role("dialog").click(position={"x": 8, "y": 200})  # beside the fields, not beside the dialog
    page.get_by_role("button", name="Save profile").click()
    expect(page.get_by_text("The profile is saved.")).to_be_visible()
    page.get_by_role("button", name="Forget: I live in Lisbon").click()
    expect(page.get_by_role("button", name="Forget: I live in Lisbon")).to_have_count(0)
    page.reload()
    page.get_by_role("button", name="Memory and profile").click()
    expect(page.locator("#facts li")).to_have_text(["My dog is called Argos"])
    expect(page.get_by_label("Your name")).to_have_value("Ada")
    expect(page.get_by_label("Name of the assistant")).to_have_value("Iris")
    expect(page.get_by_label("Learn from what I say")).not_to_be_checked()
    page.keyboard.press("Escape")
    say(page, "Tell me about my dog [[first=1 pace=1]]")
    is_whole(page)
    expect(page.locator(".prose")).to_contain_text("My dog is called Argos")
    assert conversation(page)
