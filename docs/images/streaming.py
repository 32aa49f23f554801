"""Writes streaming.gif: the real page on the local stack while an answer streams. Needs Chromium; `make images`."""

import io
import itertools
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from tests.browser.chat import TOKEN_COUNT
from tests.browser.conftest import ARGUMENTS
from tests.stack import start_stack, stop_stack

TARGET = Path(__file__).with_suffix(".gif")
VIEWPORT: ViewportSize = {"width": 920, "height": 560}  # CSS pixels
SCALE = 1.5  # so that text is sharp on a dense screen
COLORS = 48
QUESTION = "Tell me about rivers"
FIRST_SECONDS, LAST_SECONDS = 0.8, 3.0  # how long the empty page and the whole answer are shown
LARGEST_BYTES = 600_000


@dataclass(frozen=True)
class Frame:
    png: bytes
    at: float  # seconds


def record(page: Page) -> list[Frame]:
    """Sends the question as a user does, and takes frames until the answer has ended."""
    frames: list[Frame] = []

    def take() -> None:
        frames.append(Frame(page.screenshot(caret="initial", animations="allow"), time.monotonic()))

    expect(page.locator("#connection")).not_to_have_text("Loading…")
    page.get_by_label("Your message").focus()
    take()
    for letter in QUESTION:
        page.keyboard.type(letter)
        take()
    page.keyboard.press("Enter")
    facts = page.locator(".answer .actions:not([hidden]) .facts", has_text=TOKEN_COUNT)
    deadline = time.monotonic() + 30
    while facts.count() == 0:
        if time.monotonic() > deadline:
            raise TimeoutError("the answer did not end within 30 seconds")
        take()
    take()
    return frames


def animate(frames: list[Frame]) -> bytes:
    """A GIF with one palette, which shows each frame for as long as it was seen."""
    pictures = [Image.open(io.BytesIO(frame.png)).convert("RGB") for frame in frames]
    palette = pictures[len(pictures) // 2].quantize(COLORS)
    first, *rest = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    gaps = [later.at - frame.at for frame, later in itertools.pairwise(frames)]
    seconds = [FIRST_SECONDS, *gaps[1:], LAST_SECONDS]
    file = io.BytesIO()
    durations = [max(20, round(1000 * gap, -1)) for gap in seconds]
    first.save(file, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=True)
    return file.getvalue()


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium here: apt-get install chromium")
    stack = start_stack()
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            # The first answer of an execution environment is late; it is a conversation of another user.
            for user in ("first", "shown"):
                page = browser.new_page(
                    viewport=VIEWPORT, device_scale_factor=SCALE, extra_http_headers={"x-dev-user": user}
                )
                page.goto(stack.host)
                frames = record(page)
            browser.close()
    finally:
        stop_stack(stack)
    animation = animate(frames)
    if len(animation) > LARGEST_BYTES:
        sys.exit(f"{len(animation)} bytes are more than {LARGEST_BYTES}: take fewer colors or a smaller page")
    TARGET.write_bytes(animation)
    sys.stdout.write(f"{TARGET.name}: {len(frames)} frames, {len(animation):,} bytes\n")


if __name__ == "__main__":
    main()
