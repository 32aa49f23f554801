"""Sending, stopping, and what can be done with an answer."""

import json
import re

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import conversation, has_words, is_whole, prose, say, stored, until, words
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]


def test_the_text_grows_while_the_model_speaks(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    page.evaluate(
        """() => {
            window.samples = [];
            const look = () => {
                const length = document.querySelector(".prose")?.textContent.length ?? 0;
                if (length && length !== samples.at(-1)?.length) samples.push({ at: performance.now(), length });
            };
            new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
        }"""
    )
    say(page, "Tell me about rivers [[tokens=40 pace=30 first=100]]")
    is_whole(page)
    samples = page.evaluate("samples")
    lengths = [sample["length"] for sample in samples]
    assert len(lengths) >= 15
    assert lengths == sorted(lengths)
    assert samples[-1]["at"] - samples[0]["at"] >= 39 * 30 * 0.8  # it took as long as the model, not one moment
    assert len(prose(page).inner_text().split()) == 40


def test_stop_closes_the_model_and_continue_goes_on(stack: RunningStack, page: Page, person: dict[str, str]) -> None:
    page.goto(stack.demo)
    say(page, "Tell me about rivers [[tokens=400 pace=30 first=50]]")
    has_words(page, 3)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".note")).to_contain_text("You stopped this answer.")
    until(lambda: stack.requests()[-1]["state"] == "client-closed")
    stopped = prose(page).inner_text()
    assert 3 <= len(stopped.split()) < 400

    page.get_by_role("button", name="Continue").dblclick()
    expect(page.locator(".note")).to_be_hidden()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.wait_for_timeout(300)  # what a second request would have been told
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    expect(page.locator(".note")).to_be_hidden()
    is_whole(page)
    whole = prose(page).inner_text()
    assert whole.startswith(stopped)
    assert len(whole) > len(stopped)
    assert words(whole) == words(stored(stack, page, person))
    assert page.locator(".answer").count() == 1


def test_an_answer_without_a_word_is_made_again_not_continued(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    say(page, "Tell me about rivers [[tokens=5 first=5000]]")
    expect(page.locator("#connection")).to_have_text("Thinking…")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".note")).to_contain_text("You stopped this answer.")
    expect(page.get_by_role("button", name="Continue")).to_be_hidden()
    expect(page.get_by_role("button", name="Answer again")).to_be_visible()


def test_regenerate_answers_again_in_place(stack: RunningStack, page: Page, person: dict[str, str]) -> None:
    page.goto(stack.demo)
    say(page, "rivers [[fault=cut at=4 times=1]] [[tokens=12 pace=1 first=1]]")
    expect(page.locator(".note.failed")).to_be_visible()
    received = prose(page).inner_text()
    assert len(received.split()) >= 3
    page.get_by_role("button", name="Try again").click()
    is_whole(page)
    expect(page.locator(".note")).to_be_hidden()
    assert len(prose(page).inner_text().split()) == 12
    page.get_by_role("button", name="Answer again").click()
    expect(page.get_by_role("button", name="Answer again")).to_be_hidden()
    is_whole(page)
    assert page.locator("#messages > li").count() == 2
    assert words(prose(page).inner_text()) == words(stored(stack, page, person))


def test_an_answer_stays_when_another_one_is_refused(stack: RunningStack, context: BrowserContext) -> None:
    page = context.new_page()  # the browser says on its console that a request failed
    page.goto(stack.demo)
    say(page, "rivers [[tokens=12 pace=1 first=1]]")
    is_whole(page)
    page.route("**/chat", lambda route: route.fulfill(status=400, headers={"access-control-allow-origin": "*"}))
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".note.failed")).to_contain_text("400")
    assert len(prose(page).inner_text().split()) == 12
    assert page.locator("#messages > li").count() == 2


def test_an_answer_stays_when_another_one_fails_before_its_first_word(
    stack: RunningStack, page: Page, person: dict[str, str]
) -> None:
    page.goto(stack.demo)
    say(page, "rivers [[tokens=12 pace=1 first=1]]")
    is_whole(page)
    url = f"{stack.gateway}/conversations/{conversation(page)}/messages"
    kept = httpx.get(url, headers=person).json()["messages"][-1]["id"]
    start = {"type": "start", "conversationId": conversation(page), "messageId": "another", "generationId": "another"}
    error = {"type": "error", "code": "model_failed", "message": "It failed.", "retryable": True, "messageId": kept}
    frames = "".join(f"data: {json.dumps(event)}\n\n" for event in (start, error))
    headers = {"access-control-allow-origin": "*", "content-type": "text/event-stream"}
    page.route("**/chat", lambda route: route.fulfill(status=200, headers=headers, body=frames))
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator(".note.failed")).to_contain_text("It failed.")
    assert len(prose(page).inner_text().split()) == 12
    expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_a_suggestion_leaves_the_focus_where_one_writes(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    page.get_by_role("button", name="Tell me about rivers").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".question")).to_have_count(1)
    expect(page.get_by_label("Your message")).to_be_focused()
    is_whole(page)


def test_a_refused_message_says_why_and_can_be_changed(stack: RunningStack, context: BrowserContext) -> None:
    page = context.new_page()  # the browser says on its console that a request failed
    page.goto(stack.demo)
    text = "x" * 40_000
    say(page, text)
    expect(page.locator(".note.failed")).to_contain_text("message.text is longer than")
    expect(page.get_by_role("button", name="Try again")).to_be_hidden()
    expect(page.get_by_label("Your message")).to_have_value(text)


def test_an_answer_can_be_copied_as_it_was_written(
    stack: RunningStack, context: BrowserContext, page: Page, person: dict[str, str]
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(stack.demo)
    say(page, "Tell me about rivers [[tokens=20 pace=1 first=1]]")
    is_whole(page)
    page.get_by_role("button", name="Copy answer").click()
    expect(page.get_by_role("button", name="Copy answer")).to_have_attribute("data-result", "Copied")
    assert page.evaluate("navigator.clipboard.readText()") == stored(stack, page, person)


def test_at_300_tokens_a_second_the_page_is_written_at_most_once_a_frame(
    stack: RunningStack, page: Page, person: dict[str, str]
) -> None:
    page.goto(stack.demo)
    say(page, "Tell me about rivers [[tokens=40 pace=1 first=1]]")
    is_whole(page)
    page.evaluate(
        """() => {
            window.frames_ = [0];
            const all = { subtree: true, childList: true, characterData: true, attributes: true };
            new MutationObserver(() => frames_[frames_.length - 1]++).observe(document, all);
            requestAnimationFrame(function frame() { frames_.push(0); requestAnimationFrame(frame); });
        }"""
    )
    say(page, "Tell me about many rivers [[tokens=600 pace=3 first=50]]")
    page.evaluate("frames_ = [0]")  # what the keyboard wrote is not counted
    is_whole(page)
    frames = page.evaluate("frames_")
    assert sum(frames) >= 30  # it grew, it did not come at once
    assert max(frames) == 1
    assert words(prose(page).inner_text()) == words(stored(stack, page, person))


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
    kept, equal, html = page.evaluate(
        """async (text) => {
            const { Prose } = await import("./prose.js");
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
    assert kept
    assert equal
    assert re.search(r"<h1>.*<em>.*<ul>.*<pre.*<table>", html, re.DOTALL)
