"""Shortens and splits long texts. Sizes are in estimated tokens. Pure."""

from collections.abc import Iterator

from converse_stream.protocol.tokens import estimate_tokens

CUT = " […] "
MAX_WORD = 100  # code points; a longer word may be cut
MAX_CHARS = 20  # of a token in the estimate, which spaces have


def excerpt(text: str, tokens: int) -> str:
    """The text with at most `tokens`: of a longer one, its head and its tail, cut at spaces where possible."""
    if estimate_tokens(text) <= tokens:
        return text
    half = (tokens - estimate_tokens(CUT)) // 2
    return _head(text, half).rstrip() + CUT + _head(text[::-1], half)[::-1].lstrip()


def split(text: str, tokens: int) -> Iterator[str]:
    """The text in pieces of at most `tokens`, cut at spaces where possible."""
    while text:
        piece = _head(text, tokens)
        yield piece
        text = text[len(piece) :].lstrip()


def _head(text: str, tokens: int) -> str:
    """The longest start of the text with at most `tokens`, but at least one character; without a part of a word."""
    low, high = 1, min(len(text), MAX_CHARS * tokens)
    while low < high:
        middle = -(-(low + high) // 2)
        low, high = (middle, high) if estimate_tokens(text[:middle]) <= tokens else (low, middle - 1)
    space = text.rfind(" ", max(low // 2, low - MAX_WORD), low + 1) if low < len(text) else -1
    return text[:space] if space > 0 else text[:low]
