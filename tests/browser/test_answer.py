"""The parts of an answer on the page: the test supplies the server's events."""

import json
import subprocess
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.chat import send, wait_until_complete
from tests.stack import ROOT, RunningStack

ESBUILD = ROOT / "tests/clients/node_modules/.bin/esbuild"

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.clients]


def respond_with(page: Page, *events: dict[str, Any]) -> None:
    """Makes the server answer each `POST /chat` with these events."""

    def fulfill(route: Route) -> None:
        start = {
            "type": "start",
            "conversationId": json.loads(route.request.post_data or "")["conversationId"],
            "messageId": "the-message",
            "generationId": "generation",
            "model": "nova-lite",
        }
        body = "".join(f"data: {json.dumps(event)}\n\n" for event in (start, *events))
        headers = {"access-control-allow-origin": "*", "content-type": "text/event-stream"}
        route.fulfill(headers=headers, body=body)

    page.route("**/chat", fulfill)
    cors_headers = {"access-control-allow-origin": "*"}
    page.route("**/conversations/*", lambda route: route.fulfill(headers=cors_headers, json={}))


def complete(*parts: dict[str, Any], reason: str = "stop") -> dict[str, Any]:
    """Returns the `complete` event of an answer with these parts."""
    usage = {"inputTokens": 1, "outputTokens": 2, "cacheReadTokens": 0, "cacheWriteTokens": 0, "basis": "exact"}
    message = {
        "id": "the-message",
        "role": "assistant",
        "parts": list(parts),
        "status": "complete",
        "createdAt": "2026-01-01T00:00:00Z",
        "finishReason": reason,
        "usage": usage,
        "model": "nova-lite",
    }
    return {"type": "complete", "finishReason": reason, "aiMessage": message, "usage": usage, "metrics": {}}


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content}


def test_reasoning_tools_and_sources_have_their_own_elements(stack: RunningStack, page: Page) -> None:
    weather: dict[str, Any] = {"type": "tool", "id": "1", "name": "weather", "input": {"city": "Lisbon"}}
    ticket: dict[str, Any] = {"type": "tool", "id": "2", "name": "ticket", "input": {}, "error": "No seats."}
    citation = {"type": "citation", "title": "Almanac", "url": "https://example.com/a", "quote": "It rains."}
    unsafe = {"type": "citation", "title": "Unsafe", "url": "javascript:alert(1)"}
    parts = [
        {"type": "reasoning", "text": "They want the weather."},
        {**weather, "output": {"rain": True}},
        ticket,
        text("It is **rai"),
        citation,
        text("ning**."),
        unsafe,
    ]
    respond_with(
        page,
        {"type": "reasoning", "content": "They want"},
        {"type": "reasoning", "content": " the weather."},
        weather,
        {**weather, "output": {"rain": True}},
        ticket,
        {"type": "holiday", "greeting": "unknown types break nothing"},
        {"type": "chunk", "content": "It is **rai", "more": 1},
        citation,
        {"type": "chunk", "content": "ning**."},
        unsafe,
        complete(*parts),
    )
    page.goto(stack.demo)
    send(page, "hello")
    wait_until_complete(page)
    reasoning = page.locator(".reasoning")
    expect(reasoning.locator("p")).to_be_hidden()
    reasoning.locator("summary").click()
    expect(reasoning.locator("p")).to_have_text("They want the weather.")
    tools = page.locator(".tool")
    expect(tools.locator("summary")).to_have_text(["weather is done", "ticket failed"])
    tools.first.locator("summary").click()
    expect(tools.first.locator("dd").last).to_contain_text('"rain": true')
    expect(page.locator(".prose strong")).to_have_text("raining")
    sources = page.get_by_label("Sources").get_by_role("listitem")
    expect(sources).to_have_text(["AlmanacIt rains.", "Unsafe"])
    expect(sources.get_by_role("link")).to_have_count(1)


def test_error_in_a_stream_keeps_the_partial_text_and_offers_try_again(stack: RunningStack, page: Page) -> None:
    error = {"type": "error", "code": "model_reset", "message": "The line broke.", "retryable": True, "requestId": "r"}
    respond_with(page, {"type": "chunk", "content": "Half an"}, error)
    page.goto(stack.demo)
    send(page, "hello")
    expect(page.locator(".note.failed")).to_contain_text("The line broke.")
    expect(page.locator(".prose")).to_have_text("Half an")
    respond_with(page, {"type": "chunk", "content": "Whole."}, complete(text("Whole.")))
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".prose")).to_have_text("Whole.")
    expect(page.locator(".question")).to_have_count(1)


def test_rollback_shortens_the_shown_text(stack: RunningStack, page: Page) -> None:
    error = {"type": "error", "code": "lost", "message": "Lost.", "retryable": True, "requestId": "r"}
    respond_with(page, {"type": "chunk", "content": "# One 🌊\n\ntwo"}, {"type": "rollback", "position": 7}, error)
    page.goto(stack.demo)
    send(page, "hello")
    expect(page.locator(".note.failed")).to_be_visible()
    expect(page.locator(".prose")).to_have_text("One 🌊")


@pytest.mark.parametrize(("reason", "offered"), [("length", True), ("deadline", True), ("content-filter", False)])
def test_continue_is_offered_if_the_finish_reason_allows_it(
    stack: RunningStack, page: Page, reason: str, offered: bool
) -> None:
    respond_with(page, {"type": "chunk", "content": "Half"}, complete(text("Half"), reason=reason))
    page.goto(stack.demo)
    send(page, "hello")
    wait_until_complete(page)
    expect(page.locator(".note")).to_be_visible()
    expect(page.get_by_role("button", name="Continue")).to_be_visible(visible=offered)


ATTACKS = [
    "<script>window.pwned = 1</script>",
    "<img src=x onerror=window.pwned=1>",
    "<svg/onload=window.pwned=1>",
    "<iframe srcdoc='<script>parent.pwned=1</script>'></iframe>",
    "<a href='javascript:window.pwned=1'>a</a>",
    "<form action=https://evil.example><input name=password><button>go</button></form>",
    "<style>* { display: none }</style>",
    "<base href=https://evil.example>",
    "<math><mtext><table><mglyph><style><img src=x onerror=window.pwned=1>",
    "[a](javascript:window.pwned=1)",
    "[a](JaVaScRiPt:window.pwned=1)",
    "[a](&#106;avascript:window.pwned=1)",
    "[a](java\tscript:window.pwned=1)",
    "[a](data:text/html,<script>window.pwned=1</script>)",
    "[a](vbscript:msgbox)",
    "[a](//evil.example)",
    "[a](/_local/kill)",
    "[a](file:///etc/passwd)",
    "[a][b]\n\n[b]: javascript:window.pwned=1",
    '[a](https://example.com "x\\" onmouseover=window.pwned=1")',
    "![a](https://evil.example/pixel.png)",
    '![a](x"onerror=window.pwned=1)',
    "![a](javascript:window.pwned=1)",
    "<javascript:window.pwned=1>",
    "`<img src=x onerror=window.pwned=1>`",
    '```"><script>window.pwned=1</script>\n<img src=x onerror=window.pwned=1>\n```',
    "| <img src=x onerror=window.pwned=1> |\n|--|\n| <script>window.pwned=1</script> |",
    "<!-- --><script>window.pwned=1</script>",
    "<![CDATA[<script>window.pwned=1</script>]]>",
    "<div id=composer class=unseen name=messages>x</div>",
]


def test_markdown_attacks_run_no_script_and_load_nothing(stack: RunningStack, page: Page) -> None:
    requested_urls: list[str] = []
    page.goto(stack.demo)
    page.on("request", lambda request: requested_urls.append(request.url))
    for attack in ATTACKS:
        result = page.evaluate(
            """async (text) => {
                const { Prose } = await import("/page/prose.js");
                const prose = new Prose();
                for (let length = 1; length <= text.length; length++) prose.show({ text: text.slice(0, length) });
                prose.settle();
                document.getElementById("messages").replaceChildren(prose.element);
                for (const each of prose.element.querySelectorAll("*")) each.dispatchEvent(new Event("mouseover"));
                await new Promise(requestAnimationFrame);
                const ours = "figure, figcaption, pre[tabindex], button.copy-code, button.copy-code *";
                const all = [...prose.element.querySelectorAll("*")].filter((each) => !each.matches(ours));
                return {
                    pwned: window.pwned,
                    tags: all.map((each) => each.localName),
                    attributes: all.flatMap((each) => each.getAttributeNames()),
                    links: [...prose.element.querySelectorAll("a")].map((each) => each.getAttribute("href")),
                    text: prose.element.textContent,
                };
            }""",
            attack,
        )
        assert result["pwned"] is None, attack
        assert set(result["tags"]) <= {"div", "p", "a", "code", "table", "thead", "tbody", "tr", "th", "td"}, attack
        assert set(result["attributes"]) <= {"class", "dir", "href", "title", "rel", "target", "tabindex"}, attack
        assert all(link.startswith(("https://e", "http://", "mailto:")) for link in result["links"]), attack
        assert result["text"].strip(), attack
    assert [url for url in requested_urls if "127.0.0.1" not in url] == []


@pytest.mark.parametrize("nested", [">" * 3000 + " x", "1. " * 3000 + "x", "- " * 3000 + "x"])
def test_too_deeply_nested_markdown_is_shown_as_plain_text(stack: RunningStack, page: Page, nested: str) -> None:
    respond_with(page, {"type": "chunk", "content": nested}, complete(text(nested)))
    page.goto(stack.demo)
    send(page, "hello")
    wait_until_complete(page)
    expect(page.locator(".prose")).to_have_text(nested)


def test_a_failed_frame_callback_does_not_block_the_next_one(stack: RunningStack, context: BrowserContext) -> None:
    page = context.new_page()  # without console check: the failure is logged
    page.goto(stack.demo)
    written = page.evaluate(
        """async () => {
            const { onFrame } = await import("/page/frame.js");
            onFrame(() => { throw new Error("one"); });
            return new Promise((resolve) => onFrame(() => resolve(true)));
        }"""
    )
    assert written


@pytest.mark.skipif(not ESBUILD.exists(), reason="esbuild is not installed: npm ci --prefix tests/clients")
def test_vendored_markdown_bundle_is_built_from_the_locked_libraries() -> None:
    exports = 'export { Marked } from "marked"; export { default as DOMPurify } from "dompurify"\n'
    options = ["--bundle", "--format=esm", "--minify", "--charset=utf8", "--legal-comments=inline"]
    banner = "--banner:js=// Generated by 'make web' from marked and dompurify."
    bundle = subprocess.run(
        [ESBUILD, *options, banner], cwd=ROOT / "tests/clients", input=exports.encode(), capture_output=True, check=True
    )
    assert bundle.stdout == (ROOT / "web/demo/vendor/markdown.js").read_bytes(), "stale: run `make web`"


def test_links_open_in_a_new_tab_without_referrer(stack: RunningStack, page: Page) -> None:
    parts = text("[a](https://example.com) and [b](mailto:a@example.com) and https://example.com/c")
    respond_with(page, {"type": "chunk", "content": parts["text"]}, complete(parts))
    page.goto(stack.demo)
    send(page, "hello")
    links = page.locator(".prose a")
    expect(links).to_have_count(3)
    for link in links.all():
        expect(link).to_have_attribute("rel", "noreferrer noopener")
        expect(link).to_have_attribute("target", "_blank")


def test_code_block_shows_its_language_and_can_be_copied(stack: RunningStack, page: Page) -> None:
    parts = text("So:\n\n```python\nprint('a')\n\nprint('b')\n\n```\n")
    respond_with(page, {"type": "chunk", "content": parts["text"]}, complete(parts))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(stack.demo)
    send(page, "hello")
    wait_until_complete(page)
    expect(page.locator("figcaption")).to_have_text("python")
    page.get_by_role("button", name="Copy code").click()
    expect(page.get_by_role("button", name="Copy code")).to_have_attribute("data-result", "Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "print('a')\n\nprint('b')"  # without a final newline: a shell would run the command


def test_only_double_tildes_strike_text_out(stack: RunningStack, page: Page) -> None:
    parts = text("It is 3~8 m deep and 10~20 m wide, ~about~, ~~not 5 m~~.")
    respond_with(page, {"type": "chunk", "content": parts["text"]}, complete(parts))
    page.goto(stack.demo)
    send(page, "hello")
    wait_until_complete(page)
    expect(page.locator(".prose")).to_have_text("It is 3~8 m deep and 10~20 m wide, ~about~, not 5 m.")
    expect(page.locator(".prose del")).to_have_text(["not 5 m"])
