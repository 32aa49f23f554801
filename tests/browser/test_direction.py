"""Text of users and models has the direction of its script; code is left to right."""

from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.chat import send, wait_until_complete
from tests.browser.test_answer import complete, respond_with, text
from tests.stack import RunningStack

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]

DIRECTION = "(element) => getComputedStyle(element).direction"
HEBREW = "שלום עולם"
SPACE_TO_THE_RIGHT = """(all) => all.map((element) => {
  const text = document.createRange();
  text.selectNodeContents(element);
  return Math.round(element.getBoundingClientRect().right - text.getBoundingClientRect().right);
})"""


def directions(page: Page, selector: str) -> list[str]:
    """Returns the computed direction of each element, `ltr` or `rtl`."""
    found: list[str] = page.locator(selector).evaluate_all(f"(all) => all.map({DIRECTION})")
    assert found, selector
    return found


ANSWER = f"""# {HEBREW}

Left

{HEBREW} `npm run x`

`npm` {HEBREW}

- {HEBREW}
- one

> {HEBREW}
>
> one
>
> ```
> code
> ```

| {HEBREW} | b |
|--|--|
| 1 | 2 |

```sh
# {HEBREW}
```
"""


def test_an_answer_has_the_direction_of_its_text(stack: RunningStack, page: Page) -> None:
    parts: list[dict[str, Any]] = [
        {"type": "reasoning", "text": HEBREW},
        {"type": "tool", "id": "1", "name": "find", "input": {HEBREW: 1}, "output": HEBREW},
        text(ANSWER),
        {"type": "citation", "title": HEBREW, "quote": "left"},
    ]
    respond_with(page, complete(*parts))
    page.goto(stack.demo)
    send(page, f"{HEBREW} one")
    wait_until_complete(page)
    assert directions(page, ".question .text") == ["rtl"]
    assert directions(page, ".prose > .block > :not(figure)") == ["rtl", "ltr", "rtl", "rtl", "rtl", "rtl", "rtl"]
    assert set(directions(page, ".prose code")) == {"ltr"}
    assert directions(page, ".prose pre, .prose figcaption") == ["ltr"] * 4
    align = "(all) => all.map((each) => getComputedStyle(each).textAlign)"
    assert page.locator(".prose figure").evaluate_all(align) == ["left", "left"]
    assert directions(page, ".reasoning > p") == ["rtl"]
    assert directions(page, ".tool dd") == ["ltr", "rtl"]  # JSON is code
    assert directions(page, ".sources li, .sources span, .sources q") == ["ltr", "rtl", "ltr"]
    sides = page.locator(".prose ul").evaluate(
        "(list) => [getComputedStyle(list).paddingRight, getComputedStyle(list).paddingLeft]"
    )
    assert sides[0] != "0px"  # the list marks are on the right
    assert sides[1] == "0px"
    spaces = page.locator(".prose :is(li, blockquote p)").evaluate_all(SPACE_TO_THE_RIGHT)
    assert spaces == [0, 0, 0, 0]  # the text begins directly at the list mark or the quote's border
    quote = page.locator(".prose blockquote")
    assert quote.evaluate("(element) => getComputedStyle(element).borderRightWidth") == "3px"
    assert page.locator(".prose td").first.evaluate("(element) => getComputedStyle(element).textAlign") == "right"
    bidi = "(all) => all.map((each) => getComputedStyle(each).unicodeBidi)"
    assert set(page.locator(".prose :is(p, li, td, h1)").evaluate_all(bidi)) == {"plaintext"}


def test_titles_facts_and_fields_have_the_direction_of_their_text(
    stack: RunningStack, page: Page, user: dict[str, str]
) -> None:
    with httpx.Client(base_url=stack.gateway, headers=user) as http:
        created = http.post("/conversations", json={"title": HEBREW}).raise_for_status().json()
        http.post("/memory", json={"text": HEBREW}).raise_for_status()
        http.put("/profile", json={"name": HEBREW, "assistantName": HEBREW, "about": HEBREW}).raise_for_status()
    page.goto(f"{stack.demo}/#c={created['id']}")
    expect(page.get_by_role("heading", level=1)).to_have_text(HEBREW)
    assert directions(page, "#title, #conversations a") == ["rtl", "rtl"]
    page.get_by_label("Your message").fill(HEBREW)
    assert directions(page, "#text") == ["rtl"]
    page.get_by_label("Your message").fill("left")
    assert directions(page, "#text") == ["ltr"]
    page.get_by_role("button", name="Edit title", exact=True).click()
    assert directions(page, "#rename-title") == ["rtl"]
    page.keyboard.press("Escape")
    page.locator("#conversations li").hover()
    page.get_by_role("button", name="Delete").first.click()
    assert directions(page, "#delete strong") == ["rtl"]
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Memory and profile").click()
    expect(page.get_by_label("Your name")).to_have_value(HEBREW)
    page.get_by_label("Something to remember").fill(HEBREW)
    fields = "#facts span, #fact, #name, #assistant-name, #about"
    assert directions(page, fields) == ["rtl"] * 5
