"""Selected text stays selected while the answer streams."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import last_answer, send, wait_for_words, wait_until_complete
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

SELECTED = "getSelection().toString()"


def test_selection_in_a_growing_paragraph_is_kept_until_the_answer_is_complete(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    send(page, "Tell me about rivers [[tokens=120 pace=30 first=50]]")
    wait_for_words(page, 8)
    page.evaluate("window.block = document.querySelector('.prose').lastElementChild")
    page.locator(".prose p").last.dblclick(position={"x": 60, "y": 10})
    selected = page.evaluate(SELECTED)
    assert selected.strip()
    for count in (20, 40):
        wait_for_words(page, count)
        assert page.evaluate(SELECTED) == selected
    wait_until_complete(page)
    assert page.evaluate(SELECTED) == selected
    assert page.evaluate("block.isConnected")  # the element is the same, so the selection was not set again


def test_mouse_can_select_text_while_it_grows(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    send(page, "Tell me about rivers [[tokens=120 pace=30 first=50]]")
    wait_for_words(page, 15)
    box = last_answer(page).bounding_box()
    assert box
    page.mouse.move(box["x"] + 3, box["y"] + 12)
    page.mouse.down()
    for step in range(1, 11):
        page.mouse.move(box["x"] + 3 + 20 * step, box["y"] + 12)
        page.wait_for_timeout(40)
    page.mouse.up()
    selected = page.evaluate(SELECTED)
    assert len(selected) > 10
    assert last_answer(page).inner_text().startswith(selected)
    wait_until_complete(page)
    assert page.evaluate(SELECTED) == selected


DOCUMENT = """# One

two *three* and **four** five

- alpha
- beta **gamma**

- delta

```js
let kappa;
let lambda;
```

| eta | theta |
|--|--:|
| iota | zeta |

omega [link] end

[link]: https://example.com
"""


def test_selected_word_stays_selected_when_its_block_changes(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    lost = page.evaluate(
        """async (text) => {
            const { Prose } = await import("/page/prose.js");
            const words = "One two three four five alpha beta gamma delta kappa lambda eta theta iota zeta omega link";
            const lost = [];
            for (const word of words.split(" ")) {
                const prose = new Prose();
                document.getElementById("messages").replaceChildren(prose.element);
                let selected = false;
                for (let length = 1; length <= text.length; length++) {
                    prose.show({ text: text.slice(0, length) });
                    const texts = document.createTreeWalker(prose.element, NodeFilter.SHOW_TEXT);
                    while (!selected && texts.nextNode()) {
                        const start = texts.currentNode.data.indexOf(word);
                        selected = start >= 0;
                        const places = [start + word.length, start].map((at) => [texts.currentNode, at]);
                        if (selected) getSelection().setBaseAndExtent(...places.flat()); // backwards
                    }
                    if (selected && getSelection().toString() !== word) {
                        lost.push([word, text.slice(0, length), getSelection().toString()]);
                        break;
                    }
                }
                prose.settle();
                if (!selected) lost.push([word, "never shown"]);
                if (getSelection().toString() !== word) lost.push([word, "settled", getSelection().toString()]);
                if (getSelection().direction === "forward") lost.push([word, "turned round"]);
            }
            return lost;
        }""",
        DOCUMENT,
    )
    assert lost == []


def test_selection_from_question_into_answer_is_kept(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    selected = page.evaluate(
        """async (text) => {
            const { Prose } = await import("/page/prose.js");
            const prose = new Prose();
            const above = document.createElement("p");
            above.textContent = "above";
            document.getElementById("messages").replaceChildren(above, prose.element);
            prose.show({ text: "- a b" });
            const node = prose.element.querySelector("li").firstChild;
            getSelection().setBaseAndExtent(above.firstChild, 2, node, 1);
            prose.show({ text: "- a b\\n\\n- c" });
            return getSelection().toString().split(/\\s+/);
        }""",
    )
    assert selected == ["ove", "a"]


def test_selection_in_reasoning_tools_and_sources_is_kept(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    lost = page.evaluate(
        """async () => {
            const { Answer } = await import("/page/message.js");
            const answer = new Answer({});
            document.getElementById("messages").replaceChildren(answer.element);
            const tool = { type: "tool", id: "1", name: "weather", input: { city: "Lisbon" } };
            const steps = [
                [{ type: "reasoning", text: "They want" }, tool, { type: "citation", title: "Almanac" }],
                [{ type: "reasoning", text: "They want more" }, { ...tool, output: "rain" },
                    { type: "citation", title: "Almanac" }, { type: "citation", title: "Atlas" }],
            ];
            const lost = [];
            const words = { ".reasoning p": "want", ".tool dd": "Lisbon", ".sources span": "Almanac" };
            for (const [where, word] of Object.entries(words)) {
                answer.show({ parts: steps[0], speaking: true });
                const element = answer.element.querySelector(where);
                for (const details of answer.element.querySelectorAll("details")) details.open = true;
                const node = element.firstChild;
                const start = node.data.indexOf(word);
                getSelection().setBaseAndExtent(node, start, node, start + word.length);
                answer.show({ parts: steps[1], speaking: true });
                if (getSelection().toString() !== word) lost.push(word);
            }
            return lost;
        }"""
    )
    assert lost == []


def test_selection_is_kept_when_another_tab_sends_a_message(
    stack: RunningStack, context: BrowserContext, page: Page
) -> None:
    page.goto(stack.demo)
    send(page, "Rivers [[tokens=20 pace=1 first=1]]")
    wait_until_complete(page)
    other = context.new_page()
    other.goto(page.url)
    expect(other.locator(".answer")).to_have_count(1)
    other.locator(".prose p").dblclick(position={"x": 60, "y": 10})
    page.locator(".prose p").dblclick(position={"x": 60, "y": 10})
    selected = other.evaluate(SELECTED)
    assert selected.strip()
    page.bring_to_front()
    send(page, "Seas [[tokens=20 pace=1 first=1]]")
    wait_until_complete(page)
    other.bring_to_front()
    expect(other.locator(".answer")).to_have_count(2)
    wait_until_complete(other)
    assert other.evaluate(SELECTED) == selected


def test_selection_before_the_rollback_position_is_kept(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    selected = page.evaluate(
        """async () => {
            const { Prose } = await import("/page/prose.js");
            const prose = new Prose();
            document.getElementById("messages").replaceChildren(prose.element);
            prose.show({ text: "One two\\n\\nthree four" });
            const node = prose.element.querySelector("p").firstChild;
            getSelection().setBaseAndExtent(node, 4, node, 7);
            prose.show({ text: "One two\\n\\nthr" });
            return [getSelection().toString(), ...prose.element.textContent.split(/\\s+/)];
        }"""
    )
    assert selected == ["two", "One", "two", "thr", ""]
