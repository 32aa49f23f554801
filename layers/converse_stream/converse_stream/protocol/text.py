"""Makes text valid Unicode."""


def well_formed(text: str) -> str:
    """Returns the text with surrogate pairs joined to their character, and U+FFFD for lone surrogates.

    JSON may contain lone surrogates, and Python's `json` keeps them. They cannot be encoded as UTF-8, so neither a
    frame nor an item of the table nor a request could be.
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
