"""Texts that are never stored as facts, whatever the model says: secrets, links, and orders to the assistant. Pure.

The rules are patterns. They are the second line of defence, behind the prompt of the extraction.
"""

import re
from collections.abc import Callable, Iterable, Mapping

from converse_stream.tasks import order_patterns, secret_patterns
from converse_stream.tasks.folded_text import folded, visible

# By the name of the rule, which is for the log.
_RULES: Mapping[str, Callable[[str], object]] = {
    "key": secret_patterns.KEYS.search,
    "password": secret_patterns.PASSWORDS.search,
    "card number": secret_patterns.has_card,
    "IBAN": secret_patterns.has_iban,
    "social security number": secret_patterns.SOCIAL_SECURITY.search,
    "link": order_patterns.LINKS.search,
    "order": order_patterns.ORDERS.search,
}


def refusal(text: str, patterns: Iterable[re.Pattern[str]] = ()) -> str | None:
    """The name of the first rule that forbids to store the text; None if it may be stored.

    `patterns` are the operator's. They are searched for in the text in NFKC without invisible characters.
    """
    comparable = folded(text)
    if name := next((name for name, matches in _RULES.items() if matches(comparable)), None):
        return name
    shown = visible(text)
    return "pattern" if any(pattern.search(shown) for pattern in patterns) else None
