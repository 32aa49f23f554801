"""The form of a text in which patterns are searched for. Pure.

Invisible characters and accents can split or change a word that a pattern looks for. Letters of another script that
look like Latin ones stay as they are.
"""

import re
import unicodedata

# Characters without a glyph whose category is not Cf: fillers, joiners and variation selectors.
_NO_GLYPH = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def visible(text: str) -> str:
    """The text in NFKC, without invisible characters."""
    shown = (character for character in _NO_GLYPH.sub("", text) if unicodedata.category(character) != "Cf")
    return unicodedata.normalize("NFKC", "".join(shown))


def folded(text: str) -> str:
    """The visible text without accents, with straight apostrophes: `contraseña` is `contrasena`."""
    decomposed = unicodedata.normalize("NFKD", visible(text)).replace("\u2019", "'")
    return "".join(character for character in decomposed if unicodedata.category(character) != "Mn")


def folded_pattern(*alternatives: str) -> re.Pattern[str]:
    """One pattern for all of `alternatives`, without case, to be searched for in a folded text."""
    return re.compile("|".join(f"(?:{folded(alternative)})" for alternative in alternatives), re.IGNORECASE)
