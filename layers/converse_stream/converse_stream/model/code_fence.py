"""Removes the Markdown code fence that some models put around JSON. Pure."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

_FENCE = "```"
_MAY_END = re.compile(r"\s*`{0,3}\s*\Z")  # text that may be the end of a fenced block


def without_code_fence(raw: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The same stream events. The lines of the fence are removed from text that begins with one."""
    text = _FencedText()
    for event in raw:
        match event:
            case {"contentBlockDelta": {"delta": {"text": piece}, "contentBlockIndex": index}}:
                rest = text.take(piece)
            case {"contentBlockStop": {"contentBlockIndex": index}}:
                rest = text.end()
            case _:
                yield event
                continue
        if rest:
            yield {"contentBlockDelta": {"contentBlockIndex": index, "delta": {"text": rest}}}
        if "contentBlockStop" in event:
            yield event


@dataclass(slots=True)
class _FencedText:
    """Holds back the start of the text until it is clear whether it is fenced, then what may be the closing line."""

    held: str = ""
    is_fenced: bool | None = None  # None while it is not clear

    def take(self, piece: str) -> str:
        text, self.held = self.held + piece, ""
        if self.is_fenced is None:
            start = text.lstrip()
            if start.startswith(_FENCE):
                _, newline, content = start.partition("\n")
                self.is_fenced = True if newline else None
                text = content if newline else text
            elif not _FENCE.startswith(start):
                self.is_fenced = False
        if self.is_fenced is False:
            return text
        if self.is_fenced is None:
            self.held = text
            return ""
        end = _MAY_END.search(text)
        cut = end.start() if end else len(text)
        self.held = text[cut:]
        return text[:cut]

    def end(self) -> str:
        rest, self.held = self.held, ""
        return "" if self.is_fenced and _FENCE in rest else rest
