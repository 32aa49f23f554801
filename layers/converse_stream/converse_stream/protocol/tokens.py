"""Estimates of how many tokens a text has."""


def estimate_tokens(text: str) -> int:
    """Roughly what a model counts: four ASCII characters a token, other scripts about one a token."""
    return -(-quarters(text) // 4)


def quarters(text: str) -> int:
    """The same in quarters of a token, which add up."""
    return 4 * len(text) - 3 * len(text.encode("ascii", "ignore"))
