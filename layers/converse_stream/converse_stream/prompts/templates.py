"""The texts that we add to prompts, from `<name>.md` in this folder, and fences around texts from outside.

A numbered fence is in the last turn. Its tags have a number that is made for the request, so no text can contain them,
and the text in it keeps its form. A plain fence is in a part of the prompt that the model caches, where a new number
would change the prefix. Its texts are on one line each and have no angle brackets.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from string import Template

# Brackets that could open or close a plain fence: angle brackets, similar quotation marks and mathematical signs, in
# pairs, and their entities. The quotation marks « » are too common and stay.
_PAIRS = (
    "<>\uff1c\uff1e\ufe64\ufe65\u2039\u203a\u2329\u232a\u27e8\u27e9\u3008\u3009\u300a\u300b\u27ea\u27eb\ufe3d\ufe3e"
    "\ufe3f\ufe40\u276c\u276d\u276e\u276f\u2770\u2771\u29fc\u29fd\u2991\u2992\u02c2\u02c3\u1438\u1433\u22d6\u22d7"
    "\u226a\u226b\u226e\u226f"
)
_BRACKETS = str.maketrans(_PAIRS, "()" * (len(_PAIRS) // 2))
_ENTITY = re.compile(r"&(?:(lt|#0*60|#x0*3c)|gt|#0*62|#x0*3e)(?:;|(?![\w=]))", re.IGNORECASE)

# Invisible characters, which could hide a text or split a label. Joiners between joining letters and in emoji stay.
_INVISIBLE = re.compile(
    r"[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e0fff]"
)
_JOINER = re.compile(r"(?:(?<=[\x00-\x7f])|^)[\u200c\u200d]|[\u200c\u200d](?=[\x00-\x7f\u200c\u200d]|$)")

# A label is a square bracket, one of our words and a number: `[fact 1]`. The text after a bracket is compared without
# signs, spaces and accents, and with the Latin letters that Cyrillic, Greek and small capital letters look like.
_SQUARE = r"\[\uff3b\u3010\u3014\u27e6"
_AFTER_SQUARE = re.compile(rf"[{_SQUARE}](?=([^{_SQUARE}\]]{{1,48}}))")
_LABEL = re.compile(r"[\W_]*(?:{}|{})[\W_]*(?:s[\W_]*)?\d".format(*map(r"[\W_]*".join, ("fact", "document"))), re.I)
_LATIN = str.maketrans(
    "\u0430\u0251\u03b1\u0441\u03c3\u0442\u03c4\u0501\u043e\u03bf\u0435\u03b5\u043c\u043f\u03b7\u03c5"
    "\u0455\u0493\u0192\u1d00\u1d04\u1d05\u1d07\ua730\u1d0d\u0274\u1d0f\ua731\u1d1b\u1d1c",
    "aaaccttdooeemnnusffacdefmnostu",
)


def render(name: str, **values: str) -> str:
    """The text of `<name>.md`, with each `${value}` filled in."""
    return _template(name).substitute({key: sanitized(value) for key, value in values.items()}).strip()


def fenced(name: str, items: Iterable[tuple[str, str]]) -> str:
    """Texts from outside in a plain fence, each on a line after its mark. Empty without items."""
    lines = [f"{mark} {sanitized(text)}" for mark, text in items]
    return "\n".join([f"<{name}>", *lines, f"</{name}>"]) if lines else ""


def numbered_fence(name: str, number: str, text: str) -> str:
    """A text in a numbered fence. What is in it from outside must be `readable`."""
    return f"<{name}-{number}>\n{text}\n</{name}-{number}>"


def readable(text: str, number: str) -> str:
    """A text from outside for the fence with this number: only labels, invisible characters and the number change."""
    return _without_labels(_visible(text).replace(number, "-" * len(number)))


def sanitized(text: str) -> str:
    """A text from outside on one line, which cannot open or close a plain fence or contain a label."""
    without_brackets = _ENTITY.sub(lambda entity: "(" if entity[1] else ")", _visible(text)).translate(_BRACKETS)
    return _without_labels(" ".join(without_brackets.split()))


def _visible(text: str) -> str:
    return _JOINER.sub("", _INVISIBLE.sub("", text))


def _without_labels(text: str) -> str:
    return _AFTER_SQUARE.sub(lambda square: "(" if _is_label(square[1]) else square[0], text)


def _is_label(after_bracket: str) -> bool:
    if after_bracket.isascii():
        return bool(_LABEL.match(after_bracket))
    return bool(_LABEL.match(unicodedata.normalize("NFKD", after_bracket).casefold().translate(_LATIN)))


@cache
def _template(name: str) -> Template:
    return Template(Path(__file__).with_name(f"{name}.md").read_text(encoding="utf-8"))
