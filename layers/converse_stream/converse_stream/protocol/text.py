"""Text that others made, as UTF-8 can hold it."""


def well_formed(text: str) -> str:
    """The text with each pair of surrogates as the character that it stands for, and U+FFFD for half a pair.

    JSON may carry either, and Python's `json` reads half a pair as it is. UTF-8 has no form for it: no frame, no item
    of the log and no request could be encoded.
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
