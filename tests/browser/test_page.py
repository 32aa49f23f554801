"""The demo page as a person uses it, from another origin than the Function URL."""

import contextlib
import re
import socket
import threading
from typing import Self

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.chat import text_of
from tests.stack import RunningStack

pytestmark = pytest.mark.xdist_group("browser")


def say(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.get_by_label("Your message").press("Enter")


def test_the_text_grows_while_the_model_speaks(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    page.evaluate(
        """() => {
            window.lengths = [];
            const note = () => {
                const length = document.querySelector(".assistant .text")?.textContent.length ?? 0;
                if (length && length !== window.lengths.at(-1)) window.lengths.push(length);
            };
            new MutationObserver(note).observe(document.body, { subtree: true, childList: true, characterData: true });
        }"""
    )
    say(page, "Tell me about rivers [[tokens=40 pace=30 first=100]]")
    expect(page.get_by_role("status")).to_have_text(re.compile(r"40 tokens in \d"), timeout=20_000)
    lengths = page.evaluate("window.lengths")
    assert len(lengths) >= 15
    assert lengths == sorted(lengths)
    shown = page.locator(".assistant .text").inner_text()
    assert len(shown.split()) == 40


def test_stop_stops_the_model_and_the_next_message_works(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    say(page, "Tell me about rivers [[tokens=400 pace=30 first=50]]")
    expect(page.locator(".assistant .text")).to_have_text(re.compile(r"\w+ \w+"))
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status")).to_have_text("Stopped", timeout=10_000)
    assert stack.requests()[-1]["state"] == "client-closed"
    stopped = page.locator(".assistant .text").inner_text()
    assert len(stopped.split()) < 400
    say(page, "hello again [[tokens=5 pace=1 first=1]]")
    expect(page.get_by_role("status")).to_have_text(re.compile("5 tokens"), timeout=20_000)


def test_a_reload_in_the_middle_of_an_answer_goes_on(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    say(page, "Tell me about rivers [[tokens=150 pace=30 first=50]]")
    expect(page.locator(".assistant .text")).to_have_text(re.compile(r"(\w+\W+){10}"))
    page.reload()
    expect(page.get_by_role("status")).to_have_text(re.compile("tokens"), timeout=20_000)
    assert page.locator(".user .text").inner_text().startswith("Tell me about rivers")
    assert len(page.locator(".assistant .text").inner_text().split()) == 150


class BadLine:
    """A proxy that cuts every connection after so many bytes of the answer."""

    def __init__(self, url: str, after: int) -> None:
        self._target = ("127.0.0.1", int(url.rpartition(":")[2]))
        self._after = after
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cuts = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            threading.Thread(target=self._forward, args=[client, server], daemon=True).start()
            left = self._after
            with contextlib.suppress(OSError):
                while left > 0 and (data := server.recv(min(left, 4096))):
                    left -= len(data)
                    client.sendall(data)
            self.cuts += left <= 0
            for end in (client, server):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(4096):
                server.sendall(data)


def test_a_line_that_drops_costs_no_word_and_repeats_none(stack: RunningStack, chromium: Browser) -> None:
    page = chromium.new_page()
    with BadLine(stack.url, after=4000) as line:
        page.route(
            "**/config.json", lambda route: route.fulfill(json={"functionUrl": line.url, "apiUrl": stack.gateway})
        )
        page.goto(stack.demo)
        say(page, "Tell me about rivers 🌊 [[tokens=200 pace=25 first=50]]")
        expect(page.get_by_role("status")).to_have_text(re.compile("tokens"), timeout=30_000)
        shown = page.locator(".assistant .text").inner_text()
        conversation = page.evaluate("sessionStorage.getItem('conversation')")
        assert line.cuts >= 1
    page.close()
    [_, answer] = httpx.get(f"{stack.gateway}/conversations/{conversation}/messages").json()["messages"]
    assert shown == text_of(answer)


def test_an_error_is_shown_below_what_came(stack: RunningStack, page: Page) -> None:
    page.goto(stack.demo)
    say(page, "rivers [[fault=reset at=8]] [[pace=5 first=5]]")
    expect(page.locator(".note.failed")).to_have_text("The connection to the model was lost.", timeout=20_000)
    assert len(page.locator(".assistant .text").inner_text().split()) >= 7


def test_reasoning_is_folded_away(stack: RunningStack, page: Page) -> None:
    page.route("**/chat", lambda route: route.continue_(post_data=_with_reasoning(route.request.post_data or "")))
    page.goto(stack.demo)
    say(page, "[[cite]] rivers [[pace=1 first=1]]")
    expect(page.get_by_role("status")).to_have_text(re.compile("tokens in"), timeout=20_000)
    expect(page.locator(".assistant .reasoning p")).to_be_hidden()
    page.locator(".assistant .reasoning summary").click()
    expect(page.locator(".assistant .reasoning p")).to_be_visible()
    expect(page.locator(".assistant .citations li").first).to_be_visible()


def _with_reasoning(body: str) -> str:
    return body[:-1] + ',"model":"claude-haiku","options":{"reasoning":"low"}}'


def test_it_fits_a_phone(stack: RunningStack, page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(stack.demo)
    say(page, "Tell me about a_word_that_is_much_too_long_for_a_small_screen_and_cannot_be_broken_anywhere [[pace=1]]")
    expect(page.get_by_role("status")).to_have_text(re.compile("tokens in"), timeout=20_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
