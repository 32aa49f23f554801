"""What somebody has selected stays selected while the answer comes."""

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.chat import has_words, is_whole, prose, say
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

SELECTED = "getSelection().toString()"


def test_a_selection_in_the_growing_paragraph_survives_its_growth_and_its_end(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    say(page, "Tell me about rivers [[tokens=120 pace=30 first=50]]")
    has_words(page, 8)
    page.evaluate("window.block = document.querySelector('.prose').lastElementChild")
    page.locator(".prose p").last.dblclick(position={"x": 60, "y": 10})
    selected = page.evaluate(SELECTED)
    assert selected.strip()
    for count in (20, 40):
        has_words(page, count)
        assert page.evaluate(SELECTED) == selected
    is_whole(page)
    assert page.evaluate(SELECTED) == selected
    assert page.evaluate("block.isConnected")  # nor was it only selected again


def test_a_mouse_selects_through_the_growth(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    say(page, "Tell me about rivers [[tokens=120 pace=30 first=50]]")
    has_words(page, 15)
    box = prose(page).bounding_box()
    assert box
    page.mouse.move(box["x"] + 3, box["y"] + 12)
    page.mouse.down()
    for step in range(1, 11):
        page.mouse.move(box["x"] + 3 + 20 * step, box["y"] + 12)
        page.wait_for_timeout(40)
    page.mouse.up()
    selected = page.evaluate(SELECTED)
    assert len(selected) > 10
    assert prose(page).inner_text().startswith(selected)
    is_whole(page)
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


def test_each_word_stays_selected_however_its_block_changes(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    lost = page.evaluate(
        """async (text) => {
            const { Prose } = await import("./prose.js");
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


def test_a_selection_from_the_question_into_the_answer_survives(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    selected = page.evaluate(
        """async (text) => {
            const { Prose } = await import("./prose.js");
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


def test_reasoning_tools_and_sources_keep_a_selection(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    lost = page.evaluate(
        """async () => {
            const { Answer } = await import("./message.js");
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


def test_a_selection_survives_what_another_tab_asks(stack: RunningStack, context: BrowserContext, page: Page) -> None:
    page.goto(stack.demo)
    say(page, "Rivers [[tokens=20 pace=1 first=1]]")
    is_whole(page)
    other = context.new_page()
    other.goto(page.url)
    expect(other.locator(".answer")).to_have_count(1)
    other.locator(".prose p").dblclick(position={"x": 60, "y": 10})
    page.locator(".prose p").dblclick(position={"x": 60, "y": 10})
    selected = other.evaluate(SELECTED)
    assert selected.strip()
    page.bring_to_front()
    say(page, "Seas [[tokens=20 pace=1 first=1]]")
    is_whole(page)
    other.bring_to_front()
    expect(other.locator(".answer")).to_have_count(2)
    is_whole(other)
    assert other.evaluate(SELECTED) == selected


def test_a_rollback_keeps_a_selection_before_the_cut(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    selected = page.evaluate(
        """async () => {
            const { Prose } = await import("./prose.js");
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
