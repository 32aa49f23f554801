"""Scrolling while an answer streams: scrolling up stops following its end. The direction decides, not the position."""

from typing import Any

import pytest
from playwright.sync_api import CDPSession, Page, expect

from tests.browser.chat import send, wait_for_words, wait_until_complete
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

LONG = "Tell me about rivers [[tokens=900 pace=1 first=1]]"
STREAMED = "And about mountains [[tokens=1500 pace=10 first=1]]"

POSITION = """() => {
    const view = document.getElementById("scroller");
    return { top: view.scrollTop, below: view.scrollHeight - view.scrollTop - view.clientHeight };
}"""


def position(page: Page) -> dict[str, float]:
    """Returns the scroll position and the number of pixels below the view."""
    found: dict[str, float] = page.evaluate(POSITION)
    return found


def settled_position(page: Page) -> dict[str, float]:
    """Returns the position after it has not changed for half a second, so that an animation has ended."""
    before = position(page)
    for _ in range(40):
        page.wait_for_timeout(500)
        now = position(page)
        if now["top"] == before["top"]:
            return now
        before = now
    raise AssertionError(before)


def stream_long_answer(page: Page, url: str) -> None:
    """Streams an answer that is longer than the view, below a complete one."""
    page.goto(url)
    send(page, LONG)
    wait_until_complete(page)
    send(page, STREAMED)
    wait_for_words(page, 80)
    assert position(page)["below"] <= 8
    page.mouse.move(400, 300)


def assert_not_following(page: Page, top: float) -> None:
    """Asserts that the scroll position stays at `top` while the answer grows."""
    below = position(page)["below"]
    page.wait_for_timeout(800)
    now = position(page)
    assert now["top"] == top
    assert now["below"] > below
    expect(page.get_by_role("button", name="Stop")).to_be_visible()


def assert_following(page: Page) -> None:
    """Asserts that the end of the answer stays visible while it grows."""
    before = position(page)["top"]
    page.wait_for_function(f"document.getElementById('scroller').scrollTop > {before}")
    for _ in range(10):
        page.wait_for_timeout(50)
        assert position(page)["below"] <= 40  # a line may have been added since the last frame


def test_small_wheel_steps_up_stop_following(stack: RunningStack, page: Page) -> None:
    stream_long_answer(page, stack.demo)
    before = position(page)["top"]
    for _ in range(40):
        page.mouse.wheel(0, -12)
        page.wait_for_timeout(16)
    now = settled_position(page)
    assert now["top"] <= before + 200 - 40 * 12  # the answer may have grown before the first step
    assert_not_following(page, now["top"])
    expect(page.get_by_role("button", name="To the latest message")).to_be_visible()


@pytest.mark.parametrize("key", ["PageUp", "ArrowUp", "Home"])
def test_scrolling_up_by_keyboard_stops_following(stack: RunningStack, page: Page, key: str) -> None:
    stream_long_answer(page, stack.demo)
    page.locator("#scroller").focus()
    page.keyboard.press(key)
    assert_not_following(page, settled_position(page)["top"])


def test_scrolling_up_by_scrollbar_stops_following(stack: RunningStack, page: Page) -> None:
    stream_long_answer(page, stack.demo)
    page.evaluate("document.getElementById('scroller').scrollTop -= 5")  # as a drag of the bar does
    assert_not_following(page, settled_position(page)["top"])


def test_button_or_scrolling_to_the_end_resumes_following(stack: RunningStack, page: Page) -> None:
    stream_long_answer(page, stack.demo)
    page.mouse.wheel(0, -600)
    assert_not_following(page, settled_position(page)["top"])
    latest = page.get_by_role("button", name="To the latest message")
    latest.click()
    assert_following(page)
    expect(latest).to_be_hidden()
    page.mouse.move(400, 300)
    page.mouse.wheel(0, -300)
    assert_not_following(page, settled_position(page)["top"])
    for _ in range(30):
        page.mouse.wheel(0, 400)
        page.wait_for_timeout(30)
    assert_following(page)
    expect(latest).to_be_hidden()


def test_scrolling_down_directly_after_up_does_not_resume_following(stack: RunningStack, page: Page) -> None:
    stream_long_answer(page, stack.demo)
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
    assert_not_following(page, settled_position(page)["top"])


def test_end_of_the_answer_does_not_move_a_view_that_is_scrolled_up(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    send(page, LONG)
    wait_until_complete(page)
    send(page, "And about seas [[tokens=200 pace=10 first=1]]")
    wait_for_words(page, 80)
    page.mouse.move(400, 300)
    page.mouse.wheel(0, -300)
    top = settled_position(page)["top"]
    wait_until_complete(page)
    assert position(page)["top"] == top


def test_following_continues_when_content_or_window_shrinks(stack: RunningStack, page: Page) -> None:
    stream_long_answer(page, stack.demo)
    page.evaluate("document.querySelector('#messages > li').remove()")  # the browser moves the view up
    assert_following(page)
    page.set_viewport_size({"width": 700, "height": 500})
    assert_following(page)


def test_pinch_zoom_does_not_stop_following(stack: RunningStack, page: Page) -> None:
    stream_long_answer(page, stack.demo)
    page.evaluate(
        """() => document.getElementById("scroller").dispatchEvent(
            new WheelEvent("wheel", { deltaY: -30, ctrlKey: true, bubbles: true }))"""
    )
    assert_following(page)


def touch(session: CDPSession, kind: str, *points: tuple[int, int]) -> None:
    """Dispatches a touch event with a finger at each point."""
    fingers: list[dict[str, Any]] = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
    session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})


def test_scrolling_up_by_touch_stops_following(stack: RunningStack, phone: Page) -> None:
    stream_long_answer(phone, stack.demo)
    before = position(phone)["top"]
    session = phone.context.new_cdp_session(phone)
    touch(session, "touchStart", (200, 300))
    for step in range(1, 26):  # slowly: 8 px for each frame
        touch(session, "touchMove", (200, 300 + 8 * step))
        phone.wait_for_timeout(16)
    touch(session, "touchEnd")
    now = settled_position(phone)
    assert now["top"] < before
    assert_not_following(phone, now["top"])


def test_two_finger_gesture_does_not_stop_following(stack: RunningStack, phone: Page) -> None:
    stream_long_answer(phone, stack.demo)
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
    assert_following(phone)
