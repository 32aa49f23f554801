"""Messages that only greet or thank. They are no question to search with, and no subject for a title."""

import re
from functools import cache
from pathlib import Path

MAX_CHARS, MAX_WORDS = 60, 4  # of a greeting

_WORD = re.compile(r"(?:[^\W\d_][\u0300-\u036f\u0900-\u0903\u093a-\u094f]*)+")
_NOT_ALONE = frozenset({"good", "day", "night", "there", "all", "everyone", "again", "you", "please", "ok", "au"})


def is_greeting(text: str) -> bool:
    """Whether the text only greets or thanks, such as `Hello there!` or `おはようございます`."""
    if len(text) > MAX_CHARS or any(character.isdigit() for character in text):
        return False
    words = set(_WORD.findall(text.casefold()))
    return len(words) <= MAX_WORDS and words <= _known_words() and bool(words - _NOT_ALONE)


@cache
def _known_words() -> frozenset[str]:
    """The words of greetings in several languages."""
    return frozenset(Path(__file__).with_name("greetings.txt").read_text(encoding="utf-8").split())
