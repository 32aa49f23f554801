"""The list of conversations, and the dialogs."""

import re

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import conversation_id, send, wait_until_complete
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]


def test_conversations_are_listed_opened_renamed_and_deleted(
    stack: RunningStack, context: BrowserContext, page: Page
) -> None:
    page.goto(stack.demo)
    expect(page.get_by_text("Your conversations are listed here.")).to_be_visible()
    for subject in ("Rivers", "Mountains"):
        page.get_by_role("button", name="New chat").click()
        send(page, f"{subject} [[tokens=5 pace=1 first=1]]")
        wait_until_complete(page)
    entries = page.get_by_role("navigation").get_by_role("link")
    expect(entries).to_have_text([re.compile("^Mountains"), re.compile("^Rivers")])

    other = context.new_page()
    other.goto(page.url)
    page.bring_to_front()  # background tabs are painted once per second
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


def test_learned_title_appears_without_a_reload(stack: RunningStack, page: Page, user: dict[str, str]) -> None:
    page.goto(stack.demo)
    send(page, "Tell me about rivers, and then about all the seas that they flow into [[tokens=5 pace=1 first=1]]")
    first_title = "Tell me about rivers, and then about all the seas that they…"
    expect(page.get_by_role("heading", level=1)).to_have_text(first_title)
    wait_until_complete(page)
    url = f"{stack.gateway}/conversations/{conversation_id(page)}"
    httpx.patch(url, headers=user, json={"title": "Rivers and seas"}).raise_for_status()  # as the learning task does
    expect(page.get_by_role("heading", level=1)).to_have_text("Rivers and seas")
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_text(["Rivers and seas"])


@pytest.mark.parametrize("failed_path", ["/memory", "/profile"])
def test_profile_form_is_disabled_only_if_the_profile_failed_to_load(
    stack: RunningStack, context: BrowserContext, user: dict[str, str], failed_path: str
) -> None:
    httpx.put(f"{stack.gateway}/profile", headers=user, json={"name": "Ada", "about": "sails"}).raise_for_status()
    page = context.new_page()  # without console check: the browser logs the failed request
    page.goto(stack.demo)
    page.route(
        f"**{failed_path}", lambda route: route.fulfill(status=503, headers={"access-control-allow-origin": "*"})
    )
    page.get_by_role("button", name="Memory and profile").click()
    expect(page.locator("#memory-note")).to_contain_text("503")
    save = page.get_by_role("button", name="Save profile")
    if failed_path == "/profile":
        expect(save).to_be_disabled()
        expect(page.get_by_label("Your name")).to_be_disabled()
    else:
        page.get_by_label("Your name").fill("Ada L.")
        save.click()
        expect(page.get_by_text("The profile is saved.")).to_be_visible()
    name = "Ada" if failed_path == "/profile" else "Ada L."
    stored_profile = httpx.get(f"{stack.gateway}/profile", headers=user).json()
    assert stored_profile == {"name": name, "about": "sails", "learning": True}


def test_profile_form_saves_only_changed_fields(stack: RunningStack, page: Page, user: dict[str, str]) -> None:
    with httpx.Client(base_url=stack.gateway, headers=user) as http:
        http.put("/profile", json={"name": "Ada", "about": "sails"}).raise_for_status()
        page.goto(stack.demo)
        page.get_by_role("button", name="Memory and profile").click()
        expect(page.get_by_label("Your name")).to_have_value("Ada")
        http.patch(
            "/profile", json={"assistantName": "Iris", "learning": False}
        ).raise_for_status()  # by another client
        page.get_by_label("Your name").fill("")
        page.get_by_role("button", name="Save profile").click()
        expect(page.get_by_label("Name of the assistant")).to_have_value("Iris")
        expect(page.get_by_label("Learn from what I say")).not_to_be_checked()
        assert http.get("/profile").json() == {"assistantName": "Iris", "about": "sails", "learning": False}


def test_older_conversations_and_messages_load_page_by_page(
    stack: RunningStack, page: Page, user: dict[str, str]
) -> None:
    with httpx.Client(base_url=stack.gateway, headers=user) as http:
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


def test_facts_and_profile_are_kept_after_a_reload(stack: RunningStack, page: Page) -> None:
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
    page.get_by_role("dialog").click(position={"x": 8, "y": 200})  # inside the dialog, outside its fields
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
    send(page, "Tell me about my dog [[first=1 pace=1]]")
    wait_until_complete(page)
    expect(page.locator(".prose")).to_contain_text("My dog is called Argos")
    assert conversation_id(page)
