"""Estimates of token counts."""


def estimate_tokens(text: str) -> int:
    """The estimated tokens of a text, rounded up: a quarter for an ASCII character, one for any other."""
    return -(-quarters(text) // 4)


def quarters(text: str) -> int:
    """The estimate in quarters of a token. The quarters of parts of a text add up to those of the whole."""
    return 4 * len(text) - 3 * len(text.encode("ascii", "ignore"))
