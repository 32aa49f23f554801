"""A learned preference is moved from the memory to the profile, which the assistant follows."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import send, wait_until, wait_until_complete
from tests.browser.test_accessibility import AXE, small_targets, violations
from tests.stack import RunningStack, start_stack, stop_stack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

LEARNED = "The user says: I prefer short answers."


@pytest.fixture(scope="module")
def stack() -> Iterator[RunningStack]:
    running = start_stack("--parameter", "Learning=enabled")
    yield running
    stop_stack(running)


def learn(page: Page, http: httpx.Client) -> None:
    """Says a preference and a fact, waits until they are learned, and opens the memory."""
    send(page, "I prefer short answers. I live in Porto. [[tokens=3 pace=1 first=1]]")
    wait_until_complete(page)
    wait_until(lambda: len(http.get("/memory").json()["facts"]) == 2)
    page.get_by_role("button", name="Memory and profile").click()
    expect(page.locator("#facts li")).to_have_count(2)


def test_learned_preference_moves_to_the_profile_and_is_sent_with_it(
    stack: RunningStack, page: Page, user: dict[str, str]
) -> None:
    with httpx.Client(base_url=stack.gateway, headers=user) as http:
        http.put("/profile", json={"about": "sails"}).raise_for_status()
        page.goto(stack.demo)
        learn(page, http)
        move = page.get_by_role("button", name="Move to profile")
        expect(move).to_have_count(1)
        page.get_by_label("About you").fill("sails on rivers")  # not saved
        page.get_by_role("button", name=f"Move to profile: {LEARNED}").click()
        expect(page.get_by_text("The preference is in your profile.")).to_be_visible()
        expect(move).to_have_count(0)
        expect(page.locator("#facts li")).to_have_text(["The user says: I live in Porto."])
        expect(page.get_by_label("About you")).to_have_value(f"sails on rivers\n{LEARNED}")
        assert http.get("/profile").json()["about"] == f"sails\n{LEARNED}"
        assert [fact["text"] for fact in http.get("/memory").json()["facts"]] == ["The user says: I live in Porto."]
        page.get_by_role("button", name="Save profile").click()
        expect(page.get_by_text("The profile is saved.")).to_be_visible()
        assert http.get("/profile").json()["about"] == f"sails on rivers\n{LEARNED}"

        page.keyboard.press("Escape")
        send(page, "Hello again [[tokens=4 pace=1 first=1]]")
        wait_until_complete(page)
    answers = [record["body"] for record in stack.requests() if record["path"].endswith("/converse-stream")]
    [sent] = [body for body in answers if "Hello again" in str(body)]
    assert f"- About the user: sails on rivers\n  {LEARNED}\n</profile>" in sent["system"][0]["text"]
    assert LEARNED not in str(sent["messages"][-1])


def test_preference_stays_in_the_memory_if_the_profile_has_no_room(
    stack: RunningStack, page: Page, user: dict[str, str]
) -> None:
    with httpx.Client(base_url=stack.gateway, headers=user) as http:
        http.put("/profile", json={"about": "x" * 980}).raise_for_status()
        page.goto(stack.demo)
        learn(page, http)
        page.get_by_role("button", name="Move to profile").click()
        expect(page.get_by_text("The profile is full.")).to_be_visible()
        assert http.get("/profile").json()["about"] == "x" * 980
        assert len(http.get("/memory").json()["facts"]) == 2


def test_preference_the_user_wrote_has_no_button(stack: RunningStack, page: Page, user: dict[str, str]) -> None:
    with httpx.Client(base_url=stack.gateway, headers=user) as http:
        http.post("/memory", json={"text": "I want long answers", "kind": "preference"}).raise_for_status()
    page.goto(stack.demo)
    page.get_by_role("button", name="Memory and profile").click()
    expect(page.locator("#facts li")).to_have_count(1)
    expect(page.get_by_role("button", name="Move to profile")).to_have_count(0)


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci --prefix tests/clients")
@pytest.mark.parametrize("width", [1280, 320])
def test_list_with_a_preference_is_accessible_and_fits(
    stack: RunningStack, page: Page, user: dict[str, str], width: int
) -> None:
    page.goto(stack.demo)
    with httpx.Client(base_url=stack.gateway, headers=user) as http:
        learn(page, http)
    page.set_viewport_size({"width": width, "height": 740})
    assert violations(page) == []
    assert page.evaluate("document.getElementById('memory').scrollWidth") <= width
    if width < 500:
        assert small_targets(page) == []
