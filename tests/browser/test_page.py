"""Sending and stopping, and the actions of an answer."""

import json
import re

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import (
    conversation_id,
    last_answer,
    send,
    stored_text,
    wait_for_words,
    wait_until,
    wait_until_complete,
    words,
)
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]


def test_text_grows_while_the_model_streams(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    page.evaluate(
        """() => {
            window.samples = [];
            const add = () => {
                const length = document.querySelector(".prose")?.textContent.length ?? 0;
                if (length && length !== samples.at(-1)?.length) samples.push({ at: performance.now(), length });
            };
            new MutationObserver(add).observe(document.body, { subtree: true, childList: true, characterData: true });
        }"""
    )
    send(page, "Tell me about rivers [[tokens=40 pace=30 first=100]]")
    wait_until_complete(page)
    samples = page.evaluate("samples")
    lengths = [sample["length"] for sample in samples]
    assert len(lengths) >= 15
    assert lengths == sorted(lengths)
    assert samples[-1]["at"] - samples[0]["at"] >= 39 * 30 * 0.8  # it grew for as long as the model streamed
    assert len(last_answer(page).inner_text().split()) == 40


def test_stop_closes_the_model_connection_and_continue_extends_the_answer(
    stack: RunningStack, page: Page, user: dict[str, str]
) -> None:
    page.goto(stack.demo)
    send(page, "Tell me about rivers [[tokens=400 pace=30 first=50]]")
    wait_for_words(page, 3)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".note")).to_contain_text("You stopped this answer.")
    wait_until(lambda: stack.requests()[-1]["state"] == "client-closed")
    stopped = last_answer(page).inner_text()
    assert 3 <= len(stopped.split()) < 400

    page.get_by_role("button", name="Continue").dblclick()
    expect(page.locator(".note")).to_be_hidden()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.wait_for_timeout(300)  # time for an error of a second request
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.locator(".note")).to_be_hidden()
    wait_until_complete(page)
    complete = last_answer(page).inner_text()
    assert complete.startswith(stopped)
    assert len(complete) > len(stopped)
    assert words(complete) == words(stored_text(stack, page, user))
    assert page.locator(".answer").count() == 1


def test_stopped_answer_without_text_offers_answer_again_only(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    send(page, "Tell me about rivers [[tokens=5 first=5000]]")
    expect(page.locator("#connection")).to_have_text("Thinking…")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".note")).to_contain_text("You stopped this answer.")
    expect(page.get_by_role("button", name="Continue")).to_be_hidden()
    expect(page.get_by_role("button", name="Answer again")).to_be_visible()


def test_regenerate_replaces_the_answer_in_place(stack: RunningStack, page: Page, user: dict[str, str]) -> None:
    page.goto(stack.demo)
    send(page, "rivers [[fault=cut at=4 times=1]] [[tokens=12 pace=1 first=1]]")
    expect(page.locator(".note.failed")).to_be_visible()
    received = last_answer(page).inner_text()
    assert len(received.split()) >= 3
    page.get_by_role("button", name="Try again").click()
    wait_until_complete(page)
    expect(page.locator(".note")).to_be_hidden()
    assert len(last_answer(page).inner_text().split()) == 12
    page.get_by_role("button", name="Answer again").click()
    expect(page.get_by_role("button", name="Answer again")).to_be_hidden()
    wait_until_complete(page)
    assert page.locator("#messages > li").count() == 2
    assert words(last_answer(page).inner_text()) == words(stored_text(stack, page, user))


def test_answer_is_kept_if_regenerate_is_rejected(stack: RunningStack, context: BrowserContext) -> None:
    page = context.new_page()  # without console check: the browser logs the failed request
    page.goto(stack.demo)
    send(page, "rivers [[tokens=12 pace=1 first=1]]")
    wait_until_complete(page)
    page.route("**/chat", lambda route: route.fulfill(status=400, headers={"access-control-allow-origin": "*"}))
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".note.failed")).to_contain_text("400")
    assert len(last_answer(page).inner_text().split()) == 12
    assert page.locator("#messages > li").count() == 2


def test_answer_is_kept_if_regenerate_fails_before_its_first_text(
    stack: RunningStack, page: Page, user: dict[str, str]
) -> None:
    page.goto(stack.demo)
    send(page, "rivers [[tokens=12 pace=1 first=1]]")
    wait_until_complete(page)
    url = f"{stack.gateway}/conversations/{conversation_id(page)}/messages"
    stored_id = httpx.get(url, headers=user).json()["messages"][-1]["id"]
    start = {
        "type": "start",
        "conversationId": conversation_id(page),
        "messageId": "another",
        "generationId": "another",
    }
    error = {
        "type": "error",
        "code": "model_failed",
        "message": "It failed.",
        "retryable": True,
        "messageId": stored_id,
    }
    frames = "".join(f"data: {json.dumps(event)}\n\n" for event in (start, error))
    headers = {"access-control-allow-origin": "*", "content-type": "text/event-stream"}
    page.route("**/chat", lambda route: route.fulfill(status=200, headers=headers, body=frames))
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".note.failed")).to_contain_text("It failed.")
    assert len(last_answer(page).inner_text().split()) == 12
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_suggestion_keeps_the_focus_in_the_message_field(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    page.get_by_role("button", name="Tell me about rivers").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".question")).to_have_count(1)
    expect(page.get_by_label("Your message")).to_be_focused()
    wait_until_complete(page)


def test_rejected_message_shows_the_reason_and_can_be_edited(stack: RunningStack, context: BrowserContext) -> None:
    page = context.new_page()  # without console check: the browser logs the failed request
    page.goto(stack.demo)
    text = "x" * 40_000
    send(page, text)
    expect(page.locator(".note.failed")).to_contain_text("message.text is longer than")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    expect(page.get_by_label("Your message")).to_have_value(text)


def test_copied_answer_is_the_stored_text(
    stack: RunningStack, context: BrowserContext, page: Page, user: dict[str, str]
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(stack.demo)
    send(page, "Tell me about rivers [[tokens=20 pace=1 first=1]]")
    wait_until_complete(page)
    page.get_by_role("button", name="Copy answer").click()
    expect(page.get_by_role("button", name="Copy answer")).to_have_attribute("data-result", "Copied")
    assert page.evaluate("navigator.clipboard.readText()") == stored_text(stack, page, user)


def test_page_is_updated_at_most_once_per_frame_at_300_tokens_per_second(
    stack: RunningStack, page: Page, user: dict[str, str]
) -> None:
    page.goto(stack.demo)
    send(page, "Tell me about rivers [[tokens=40 pace=1 first=1]]")
    wait_until_complete(page)
    page.evaluate(
        """() => {
            window.frames_ = [0];
            const all = { subtree: true, childList: true, characterData: true, attributes: true };
            new MutationObserver(() => frames_[frames_.length - 1]++).observe(document, all);
            requestAnimationFrame(function frame() { frames_.push(0); requestAnimationFrame(frame); });
        }"""
    )
    send(page, "Tell me about many rivers [[tokens=600 pace=3 first=50]]")
    page.evaluate("frames_ = [0]")  # do not count the updates of typing
    wait_until_complete(page)
    frames = page.evaluate("frames_")
    assert sum(frames) >= 30  # it grew step by step
    assert max(frames) == 1
    assert words(last_answer(page).inner_text()) == words(stored_text(stack, page, user))


DOCUMENT = """# One

two *three*

- a

- b

  c

```js
let d;
```

| e | f |
|--|--:|
| g | h |

end"""


def test_only_the_last_block_is_rendered_again(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    first_block_kept, equal, html = page.evaluate(
        """async (text) => {
            const { Prose } = await import("/page/prose.js");
            const [whole, grown] = [new Prose(), new Prose()];
            whole.show({ text });
            let [first, kept] = [undefined, true];
            for (let length = 1; length <= text.length; length++) {
                grown.show({ text: text.slice(0, length) });
                if (grown.element.children.length < 2) continue;
                first ??= grown.element.firstElementChild;
                kept &&= grown.element.firstElementChild === first;
            }
            return [kept, grown.element.isEqualNode(whole.element), whole.element.innerHTML];
        }""",
        DOCUMENT,
    )
    assert first_block_kept
    assert equal
    assert re.search(r"<h1>.*<em>.*<ul>.*<pre.*<table>", html, re.DOTALL)
