"""Finds what was asked for in answers of the small model, which may add thinking, tags, Markdown or a preface. Pure."""

import re
from typing import Any

from pydantic_core import from_json

from converse_stream.protocol.fields import normalize

_THINKING = r"(?:think|thinking|thought|reasoning|reflection|analysis|scratchpad)"
_THOUGHTS = re.compile(rf"<{_THINKING}>.*?(?:</{_THINKING}>|\Z)", re.DOTALL | re.IGNORECASE)
_END_OF_THOUGHTS = re.compile(rf"\A.*</{_THINKING}>", re.DOTALL | re.IGNORECASE)  # some templates open the tag
_FENCE = re.compile(r"^\s*```[\w-]*\s*$", re.MULTILINE)
# Opening quotation marks and emphasis, each with its closing ones: " ' ` *, those of several languages, and CJK.
_PAIRS = {mark: mark for mark in "\"'`*"} | {
    "\u201c": "\u201d",
    "\u201e": "\u201c\u201d",
    "\u2018": "\u2019",
    "\u201a": "\u2018\u2019",
    "\u00ab": "\u00bb",
    "\u00bb": "\u00ab",
    "\u2039": "\u203a",
    "\u300c": "\u300d",
    "\u300e": "\u300f",
}
_QUOTES = "[\"'\u201c\u201d]"
_MARK = re.compile(r"\A(?:#{1,6}|[-*•])\s+")  # of a heading or a list


def visible_text(answer: str) -> str:
    """The answer without the model's thinking and without the lines of Markdown code fences."""
    text = _END_OF_THOUGHTS.sub("", _THOUGHTS.sub("", normalize(answer)))
    return _FENCE.sub("", text).strip()


def tagged(text: str, *names: str) -> str:
    """What is between the last `<name>` and `</name>` with one of the names; the whole text if there is none."""
    found = re.findall(rf"<({'|'.join(names)})>(.*?)</\1>", text, re.DOTALL | re.IGNORECASE)
    return found[-1][1].strip() if found else text


def json_field(text: str, name: str) -> str | None:
    """The string `name` of the JSON object in the text. Empty if the object has none, None if there is no object."""
    try:
        parsed: Any = from_json(text[text.find("{") : text.rfind("}") + 1])
    except ValueError:
        parsed = None
    if isinstance(parsed, dict) and parsed:
        values = {str(key).casefold(): value for key, value in parsed.items()}
        if name in values or text.startswith("{"):
            value = values.get(name, next(iter(values.values())) if len(values) == 1 else None)
            value = value if isinstance(value, str) else ""
            inner = json_field(value, name) if value.startswith("{") else None  # JSON in JSON
            return value if inner is None else inner
    # JSON with wrong quotation marks, or cut off
    if re.match(rf"\W*\{{\s*{_QUOTES}?{name}\b", text, re.IGNORECASE):
        almost = rf"{name}{_QUOTES}?\s*:\s*{_QUOTES}(.*){_QUOTES}\s*,?\s*\}}"
        found = re.search(almost, text, re.DOTALL | re.IGNORECASE)
        return found[1] if found else ""
    return None


def bare(line: str) -> str:
    """The line without the Markdown and the quotation marks around all of it."""
    while (stripped := _without_pair(_MARK.sub("", line)).strip()) != line:
        line = stripped
    return line


def _without_pair(line: str) -> str:
    """The line without its first and last character, if these are a pair with nothing of its kind in between."""
    if line.startswith("**") and line.endswith("**") and len(line) > 4 and "**" not in line[2:-2]:
        return line[2:-2]
    closing = _PAIRS.get(line[:1], "")
    inner = line[1:-1]
    if len(line) > 2 and line[-1] in closing and not any(mark in inner for mark in (line[0], *closing)):
        return inner
    return line
