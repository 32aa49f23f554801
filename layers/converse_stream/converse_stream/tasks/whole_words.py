"""Finds a text as whole words. Pure."""

import re

# A letter or digit next to a text makes it part of another word, except in scripts without spaces between words.
_WORD_CHARACTER = r"[^\W\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"


def whole_words(text: str) -> str:
    """A pattern for the text where it is not part of a longer word."""
    return rf"(?<!{_WORD_CHARACTER}){re.escape(text)}(?!{_WORD_CHARACTER})"
