"""Slow loads: messages sent, reloads, and changes of other tabs while requests are pending or streaming is blocked."""

import re

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.chat import conversation_id, last_answer, send, stored_text, wait_until, wait_until_complete, words
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

POST = re.compile("/chat$")
LISTS = re.compile(r"/conversations\?")
MESSAGES = re.compile("/messages")


def hold_requests(page: Page, path: re.Pattern[str]) -> list[Route]:
    """Holds the requests of a path until `page.unroute`; returns the list of held requests."""
    routes: list[Route] = []
    page.route(path, lambda route: routes.append(route))  # Playwright cannot wrap `routes.append`
    return routes


def wait_until_held(page: Page, routes: list[Route]) -> None:
    """Waits until a request is held; fails after 5 s."""
    for _ in range(250):
        if routes:
            return
        page.wait_for_timeout(20)
    raise AssertionError


def submit(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.get_by_label("Your message").press("Enter")


@pytest.mark.parametrize("pending", ["messages", "messages and chat"])
def test_message_sent_before_the_conversation_has_loaded_is_kept(
    stack: RunningStack, context: BrowserContext, page: Page, user: dict[str, str], pending: str
) -> None:
    page.goto(stack.demo)
    send(page, "One [[tokens=5 pace=1 first=1]]")
    wait_until_complete(page)
    slow = context.new_page()
    loads = hold_requests(slow, MESSAGES)
    sends = hold_requests(slow, POST) if pending == "messages and chat" else []
    slow.goto(page.url)
    wait_until_held(slow, loads)
    submit(slow, "Two [[tokens=130 pace=20 first=1]]")
    expect(slow.locator(".question")).to_have_count(1)
    if pending == "messages and chat":
        wait_until_held(slow, sends)
    else:
        expect(slow.locator(".prose")).to_be_visible()
    slow.unroute(MESSAGES)
    slow.wait_for_timeout(200)
    expect(slow.locator(".question")).to_have_text(re.compile("Two"))
    expect(slow.get_by_role("button", name="Stop")).to_be_visible()
    slow.unroute(POST)
    expect(slow.locator(".question")).to_have_count(2)  # after the end of the answer
    wait_until_complete(slow)
    assert words(last_answer(slow).inner_text()) == words(stored_text(stack, slow, user))


def test_message_of_an_aborted_request_is_the_draft_after_a_reload(
    stack: RunningStack, context: BrowserContext
) -> None:
    page = context.new_page()  # without console check: the browser logs the 404
    page.goto(stack.demo)
    sends = hold_requests(page, POST)
    send(page, "An important question")
    wait_until_held(page, sends)
    page.reload()
    page.unroute(POST)
    expect(page.get_by_label("Your message")).to_have_value("An important question")
    expect(page.get_by_role("heading", level=1)).to_have_text("New chat")
    expect(page.locator("#problem")).to_be_hidden()
    submit(page, "An important question [[tokens=5 pace=1 first=1]]")
    wait_until_complete(page)
    page.reload()
    expect(page.locator(".question")).to_have_count(1)
    expect(page.get_by_label("Your message")).to_have_value("")


def test_pending_message_is_sent_although_a_new_chat_is_opened(
    stack: RunningStack, page: Page, user: dict[str, str]
) -> None:
    page.goto(stack.demo)
    sends = hold_requests(page, POST)
    send(page, "Rivers [[tokens=5 pace=1 first=1]]")
    wait_until_held(page, sends)
    page.get_by_role("button", name="New chat").click()
    expect(page.locator("#messages > li")).to_have_count(0)
    page.unroute(POST)
    page.get_by_role("link", name="Rivers").click()
    wait_until_complete(page)


def test_without_streaming_a_running_answer_is_shown_when_complete(
    stack: RunningStack, context: BrowserContext, user: dict[str, str]
) -> None:
    page = context.new_page()  # without console check: the browser logs the refused requests
    page.route(f"{stack.url}/**", lambda route: route.abort())
    page.goto(stack.demo)
    send(page, "Rivers [[tokens=100 pace=60 first=50]]")
    expect(page.locator("#connection")).to_have_text("Answering in one piece")
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(0)  # not listed yet
    wait_until(lambda: bool(httpx.get(f"{stack.gateway}/conversations", headers=user).json()["conversations"]))
    page.reload()
    wait_until_complete(page)
    expect(page.locator("#connection")).to_have_text("Ready")
    expect(page.locator("#problem")).to_be_hidden()
    assert words(last_answer(page).inner_text()) == words(stored_text(stack, page, user))


def test_conversation_deleted_in_another_tab_is_closed(stack: RunningStack, context: BrowserContext) -> None:
    page = context.new_page()  # without console check: a title request may get 404
    page.goto(stack.demo)
    send(page, "Rivers [[tokens=5 pace=1 first=1]]")
    wait_until_complete(page)
    other = context.new_page()
    other.goto(page.url)
    expect(other.locator(".answer")).to_have_count(1)
    other.locator("#conversations li").hover()
    other.get_by_role("button", name="Delete Rivers").click()
    other.get_by_role("button", name="Delete", exact=True).click()
    page.bring_to_front()
    expect(page.get_by_role("heading", level=1)).to_have_text("New chat")
    expect(page.locator("#messages > li")).to_have_count(0)
    assert conversation_id(page) in {"", page.url}


def test_list_has_more_pages_although_a_message_was_sent_before_it_loaded(
    stack: RunningStack, page: Page, user: dict[str, str]
) -> None:
    with httpx.Client(base_url=stack.gateway, headers=user) as http:
        for number in range(31):
            http.post("/conversations", json={"title": f"Number {number}"}).raise_for_status()
    lists = hold_requests(page, LISTS)
    page.goto(stack.demo)
    wait_until_held(page, lists)
    send(page, "Rivers [[tokens=5 pace=1 first=1]]")
    wait_until_complete(page)
    page.unroute(LISTS)
    page.get_by_role("button", name="Show more").click()
    expect(page.get_by_role("navigation").get_by_role("link")).to_have_count(32)


def test_unreadable_settings_are_reported(stack: RunningStack, context: BrowserContext) -> None:
    page = context.new_page()
    page.route("**/config.json", lambda route: route.fulfill(status=404, body="none"))
    page.goto(stack.demo)
    expect(page.locator("#problem")).to_contain_text("could not be read")
    expect(page.locator("#connection")).to_have_text("Not connected")
