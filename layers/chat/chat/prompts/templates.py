"""The words that are ours, one file each beside this one, and the fences around those that are not."""

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from string import Template

# Foreign text keeps no bracket that could open or close a fence, look-alikes included.
_BRACKETS = str.maketrans("<>\uff1c\uff1e\u2039\u203a\ufe64\ufe65\u2329\u232a\u27e8\u27e9\u3008\u3009", "()" * 7)
_LABEL = re.compile(r"\[((?:fact|document)[^\]]*)\]", re.IGNORECASE)


def render(name: str, **values: str) -> str:
    """The text of `<name>.md`, with each `${value}` filled in."""
    return _template(name).substitute({key: plain(value) for key, value in values.items()}).strip()


def fenced(name: str, items: Iterable[tuple[str, str]]) -> str:
    """Foreign texts between `<name>` and `</name>`, each on a line behind its mark; empty without any."""
    lines = [f"{mark} {plain(text)}" for mark, text in items]
    return "\n".join([f"<{name}>", *lines, f"</{name}>"]) if lines else ""


def plain(text: str) -> str:
    """Foreign text on one line, unable to open or close a fence, or to label itself."""
    return " ".join(_LABEL.sub(r"(\1)", text.translate(_BRACKETS)).split())


@cache
def _template(name: str) -> Template:
    return Template(Path(__file__).with_name(f"{name}.md").read_text(encoding="utf-8"))
