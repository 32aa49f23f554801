"""The words that are ours, one file each beside this one, and the fences around those that are not."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from string import Template

# Foreign text keeps no bracket that could open or close a fence, look-alikes included.
_BRACKETS = str.maketrans("<>\uff1c\uff1e\u2039\u203a\ufe64\ufe65\u2329\u232a\u27e8\u27e9\u3008\u3009", "()" * 7)


def render(name: str, **values: str) -> str:
    """The text of `<name>.md`, with each `${value}` filled in."""
    return _template(name).substitute({key: plain(value) for key, value in values.items()}).strip()


def fenced(name: str, lines: Iterable[str]) -> str:
    """Foreign text between `<name>` and `</name>`, an item on each line; empty without lines."""
    inside = [f"- {plain(line)}" for line in lines]
    return "\n".join([f"<{name}>", *inside, f"</{name}>"]) if inside else ""


def plain(text: str) -> str:
    """Foreign text on one line, unable to open or close a fence."""
    return " ".join(text.translate(_BRACKETS).split())


@cache
def _template(name: str) -> Template:
    return Template(Path(__file__).with_name(f"{name}.md").read_text(encoding="utf-8"))
