"""Reading further up while an answer comes: the direction of the movement decides, not the position."""

from typing import Any

import pytest
from playwright.sync_api import CDPSession, Page, expect

from tests.browser.chat import has_words, is_whole, say
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

LONG = "Tell me about rivers [[tokens=900 pace=1 first=1]]"
STREAMED = "And about mountains [[tokens=1500 pace=10 first=1]]"

POSITION = """() => {
    const view = document.getElementById("scroller");
    return { top: view.scrollTop, below: view.scrollHeight - view.scrollTop - view.clientHeight };
}"""


def position(page: Page) -> dict[str, float]:
    """How far down the reader is, and how many pixels are below."""
    found: dict[str, float] = page.evaluate(POSITION)
    return found


def settled(page: Page) -> dict[str, float]:
    """The position when it has not changed for half a second, as after an animated movement."""
    before = position(page)
    for _ in range(40):
        page.wait_for_timeout(500)
        now = position(page)
        if now["top"] == before["top"]:
            return now
        before = now
    raise AssertionError(before)


def stream(page: Page, url: str) -> None:
    """An answer that is longer than the view, below one that is complete."""
    page.goto(url)
    say(page, LONG)
    is_whole(page)
    say(page, STREAMED)
    has_words(page, 80)
    assert position(page)["below"] <= 8
    page.mouse.move(400, 300)


def stays(page: Page, top: float) -> None:
    """While the answer grows, the reader stays there."""
    below = position(page)["below"]
    page.wait_for_timeout(800)
    now = position(page)
    assert now["top"] == top
    assert now["below"] > below
    expect(page.get_by_role("button", name="Stop")).to_be_visible()


def follows(page: Page) -> None:
    """While the answer grows, its end stays in sight."""
    before = position(page)["top"]
    page.wait_for_function(f"document.getElementById('scroller').scrollTop > {before}")
    for _ in range(10):
        page.wait_for_timeout(50)
        assert position(page)["below"] <= 40  # a line may have come since the last frame


def test_small_wheel_steps_upwards_leave_the_reader_where_they_went(stack: RunningStack, page: Page) -> None:
    stream(page, stack.demo)
    before = position(page)["top"]
    for _ in range(40):
        page.mouse.wheel(0, -12)
        page.wait_for_timeout(16)
    now = settled(page)
    assert now["top"] <= before + 200 - 40 * 12  # the answer has grown until the first step
    stays(page, now["top"])
    expect(page.get_by_role("button", name="To the latest message")).to_be_visible()


@pytest.mark.parametrize("key", ["PageUp", "ArrowUp", "Home"])
def test_the_keyboard_leaves_the_end(stack: RunningStack, page: Page, key: str) -> None:
    stream(page, stack.demo)
    page.locator("#scroller").focus()
    page.keyboard.press(key)
    stays(page, settled(page)["top"])


def test_a_scrollbar_leaves_the_end(stack: RunningStack, page: Page) -> None:
    stream(page, stack.demo)
    page.evaluate("document.getElementById('scroller').scrollTop -= 5")  # as a drag of the bar does
    stays(page, settled(page)["top"])


def test_following_begins_again_by_the_button_and_by_scrolling_to_the_end(stack: RunningStack, page: Page) -> None:
    stream(page, stack.demo)
    page.mouse.wheel(0, -600)
    stays(page, settled(page)["top"])
    latest = page.get_by_role("button", name="To the latest message")
    latest.click()
    follows(page)
    expect(latest).to_be_hidden()
    page.mouse.move(400, 300)
    page.mouse.wheel(0, -300)
    stays(page, settled(page)["top"])
    for _ in range(30):
        page.mouse.wheel(0, 400)
        page.wait_for_timeout(30)
    follows(page)
    expect(latest).to_be_hidden()


def test_a_movement_down_right_after_one_up_does_not_begin_to_follow(stack: RunningStack, page: Page) -> None:
    stream(page, stack.demo)
    page.evaluate(
        """async () => {
            const view = document.getElementById("scroller");
            const frame = () => new Promise(requestAnimationFrame);
            view.scrollTop -= 60;
            await frame();
            view.scrollTop += 60; // the rubber band of a trackpad
            await frame();
        }"""
    )
    stays(page, settled(page)["top"])


def test_who_reads_further_up_stays_there_when_the_answer_ends(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    say(page, LONG)
    is_whole(page)
    say(page, "And about seas [[tokens=200 pace=10 first=1]]")
    has_words(page, 80)
    page.mouse.move(400, 300)
    page.mouse.wheel(0, -300)
    top = settled(page)["top"]
    is_whole(page)
    assert position(page)["top"] == top


def test_the_end_is_followed_although_what_is_shown_becomes_shorter(stack: RunningStack, page: Page) -> None:
    stream(page, stack.demo)
    page.evaluate("document.querySelector('#messages > li').remove()")  # the view is moved up by the browser
    follows(page)
    page.set_viewport_size({"width": 700, "height": 500})
    follows(page)


def test_a_pinch_does_not_leave_the_end(stack: RunningStack, page: Page) -> None:
    stream(page, stack.demo)
    page.evaluate(
        """() => document.getElementById("scroller").dispatchEvent(
            new WheelEvent("wheel", { deltaY: -30, ctrlKey: true, bubbles: true }))"""
    )
    follows(page)


def touch(session: CDPSession, kind: str, *points: tuple[int, int]) -> None:
    fingers: list[dict[str, Any]] = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
    session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})


def test_a_finger_leaves_the_end(stack: RunningStack, phone: Page) -> None:
    stream(phone, stack.demo)
    before = position(phone)["top"]
    session = phone.context.new_cdp_session(phone)
    touch(session, "touchStart", (200, 300))
    for step in range(1, 26):  # slowly: 8 px for each frame
        touch(session, "touchMove", (200, 300 + 8 * step))
        phone.wait_for_timeout(16)
    touch(session, "touchEnd")
    now = settled(phone)
    assert now["top"] < before
    stays(phone, now["top"])


def test_two_fingers_do_not_leave_the_end(stack: RunningStack, phone: Page) -> None:
    stream(phone, stack.demo)
    phone.evaluate(
        """() => {
            const view = document.getElementById("scroller");
            const send = (type, y) => {
                const at = (identifier, clientY) => new Touch({ identifier, target: view, clientX: 200, clientY });
                view.dispatchEvent(new TouchEvent(type, { touches: [at(1, y), at(2, 400)], bubbles: true }));
            };
            send("touchstart", 300);
            send("touchmove", 340);
        }"""
    )
    follows(phone)
