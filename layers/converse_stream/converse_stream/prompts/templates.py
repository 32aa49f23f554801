"""The texts that we add to prompts, from `<name>.md` in this folder, and fences around texts from outside."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from string import Template

# Brackets that could open or close a fence are replaced in texts from outside: angle brackets, similar quotation marks
# and mathematical signs, in pairs, and their entities. The quotation marks « » are too common and stay.
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

# The start of a label: a square bracket, a word in any script and a number.
_LABEL = re.compile(r"[\[\uff3b\u3010\u3014\u27e6](?= ?[^\W\d]\w* ?\d)")


def render(name: str, **values: str) -> str:
    """The text of `<name>.md`, with each `${value}` filled in."""
    return _template(name).substitute({key: sanitized(value) for key, value in values.items()}).strip()


def fenced(name: str, items: Iterable[tuple[str, str]]) -> str:
    """Texts from outside between `<name>` and `</name>`, each on a line after its mark. Empty without items."""
    lines = [f"{mark} {sanitized(text)}" for mark, text in items]
    return "\n".join([f"<{name}>", *lines, f"</{name}>"]) if lines else ""


def sanitized(text: str) -> str:
    """A text from outside on one line, which cannot open or close a fence or contain a label."""
    visible = _JOINER.sub("", _INVISIBLE.sub("", text))
    without_brackets = _ENTITY.sub(lambda entity: "(" if entity[1] else ")", visible).translate(_BRACKETS)
    return _LABEL.sub("(", " ".join(without_brackets.split()))


@cache
def _template(name: str) -> Template:
    return Template(Path(__file__).with_name(f"{name}.md").read_text(encoding="utf-8"))
