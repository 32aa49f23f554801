"""What is opened while something else goes on: a slow network, a reload, another tab, a door that is shut."""

import re

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.chat import conversation, is_whole, prose, say, stored, until, words
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

POST = re.compile("/chat$")
LISTS = re.compile(r"/conversations\?")
MESSAGES = re.compile("/messages")


def held(page: Page, path: re.Pattern[str]) -> list[Route]:
    """The requests of a path, which wait until `page.unroute` lets them go."""
    routes: list[Route] = []
    page.route(path, lambda route: routes.append(route))  # not the method: Playwright marks what it is given
    return routes


def until_held(page: Page, routes: list[Route]) -> None:
    for _ in range(250):
        if routes:
            return
        page.wait_for_timeout(20)
    raise AssertionError


def write(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.get_by_label("Your message").press("Enter")


@pytest.mark.parametrize("late", ["the messages", "both"])
def test_what_is_sent_before_a_conversation_has_loaded_is_not_lost(
    stack: RunningStack, context: BrowserContext, page: Page, person: dict[str, str], late: str
) -> None:
    page.goto(stack.demo)
    say(page, "One [[tokens=5 pace=1 first=1]]")
    is_whole(page)
    slow = context.new_page()
    loads = held(slow, MESSAGES)
    sends = held(slow, POST) if late == "both" else []
    slow.goto(page.url)
    until_held(slow, loads)
    write(slow, "Two [[tokens=130 pace=20 first=1]]")
    expect(slow.locator(".question")).to_have_count(1)
    if late == "both":
        until_held(slow, sends)
    else:
        expect(slow.locator(".prose")).to_be_visible()
    slow.unroute(MESSAGES)
    slow.wait_for_timeout(200)
    expect(slow.locator(".question")).to_have_text(re.compile("Two"))
    expect(slow.get_by_role("button", name="Stop")).to_be_visible()
    slow.unroute(POST)
    expect(slow.locator(".question")).to_have_count(2)  # when it has ended
    is_whole(slow)
    assert words(prose(slow).inner_text()) == words(stored(stack, slow, person))


def test_a_message_on_its_way_outlives_a_reload(stack: RunningStack, context: BrowserContext) -> None:
    page = context.new_page()  # the browser says on its console that the conversation is not there
    page.goto(stack.demo)
    sends = held(page, POST)
    say(page, "An important question")
    until_held(page, sends)
    page.reload()
    page.unroute(POST)
    expect(page.get_by_label("Your message")).to_have_value("An important question")
    expect(page.get_by_role("heading", level=1)).to_have_text("New chat")
    expect(page.locator("#problem")).to_be_hidden()
    write(page, "An important question [[tokens=5 pace=1 first=1]]")
    is_whole(page)
    page.reload()
    expect(page.locator(".question")).to_have_count(1)
    expect(page.get_by_label("Your message")).to_have_value("")


def test_a_message_on_its_way_arrives_when_another_chat_is_begun(
    stack: RunningStack, page: Page, person: dict[str, str]
) -> None:
    page.goto(stack.demo)
    sends = held(page, POST)
    say(page, "Rivers [[tokens=5 pace=1 first=1]]")
    until_held(page, sends)
    page.get_by_role("button", name="New chat").click()
    expect(page.locator("#messages > li")).to_have_count(0)
    page.unroute(POST)
    page.get_by_role("link", name="Rivers").click()
    is_whole(page)


def test_where_streaming_is_blocked_an_answer_that_is_being_made_shows_when_it_is_whole(
    stack: RunningStack, context: BrowserContext, person: dict[str, str]
) -> None:
    page = context.new_page()  # the browser says on its console what was refused
    page.route(f"{stack.url}/**", lambda route: route.abort())
    page.goto(stack.demo)
    say(page, "Rivers [[tokens=100 pace=60 first=50]]")
    expect(page.locator("#connection")).to_have_text("Answering in one piece")
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(0)  # it has not begun, for the page
    until(lambda: bool(httpx.get(f"{stack.gateway}/conversations", headers=person).json()["conversations"]))
    page.reload()
    is_whole(page)
    expect(page.locator("#connection")).to_have_text("Ready")
    expect(page.locator("#problem")).to_be_hidden()
    assert words(prose(page).inner_text()) == words(stored(stack, page, person))


def test_a_conversation_that_is_deleted_in_another_tab_is_closed(stack: RunningStack, context: BrowserContext) -> None:
    page = context.new_page()  # if it asks for a title just then, the browser's console says that there is none
    page.goto(stack.demo)
    say(page, "Rivers [[tokens=5 pace=1 first=1]]")
    is_whole(page)
    other = context.new_page()
    other.goto(page.url)
    expect(other.locator(".answer")).to_have_count(1)
    other.locator("#conversations li").hover()
    other.get_by_role("button", name="Delete Rivers").click()
    other.get_by_role("button", name="Delete", exact=True).click()
    page.bring_to_front()
    expect(page.get_by_role("heading", level=1)).to_have_text("New chat")
    expect(page.locator("#messages > li")).to_have_count(0)
    assert conversation(page) in {"", page.url}


def test_the_list_goes_on_although_something_was_sent_before_it_came(
    stack: RunningStack, page: Page, person: dict[str, str]
) -> None:
    with httpx.Client(base_url=stack.gateway, headers=person) as http:
        for number in range(31):
            http.post("/conversations", json={"title": f"Number {number}"}).raise_for_status()
    lists = held(page, LISTS)
    page.goto(stack.demo)
    until_held(page, lists)
    say(page, "Rivers [[tokens=5 pace=1 first=1]]")
    is_whole(page)
    page.unroute(LISTS)
    page.get_by_role("button", name="Show more").click()
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(32)


def test_settings_that_cannot_be_read_are_told(stack: RunningStack, context: BrowserContext) -> None:
    page = context.new_page()
    page.route("**/config.json", lambda route: route.fulfill(status=404, body="none"))
    page.goto(stack.demo)
    expect(page.locator("#problem")).to_contain_text("could not be read")
    expect(page.locator("#connection")).to_have_text("Not connected")
