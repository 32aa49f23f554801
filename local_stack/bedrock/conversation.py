"""What a Converse request says, read as a model would read it."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import starmap
from typing import NamedTuple

from local_stack.bedrock.directives import strip
from local_stack.bedrock.events import Json

# The fences of the prompt: a tag alone on its line. Elsewhere the tag is only spoken of.
_FENCE = re.compile(r"^<(profile|summary|facts|documents)>\n(.*?)\n</\1>$", re.DOTALL | re.MULTILINE)
_LABELLED = re.compile(r"^(?:\[([^\]]+)\]|-) (.*)$", re.MULTILINE)


class Source(NamedTuple):
    """A line of a fence."""

    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """`question` is the last text of the user, `earlier` the texts before it, oldest first, both without directives."""

    system: str
    question: str
    earlier: tuple[str, ...]
    facts: tuple[Source, ...]
    documents: tuple[Source, ...]
    tool_results: tuple[str, ...]


def read(body: Json) -> Conversation:
    system = "\n".join(_texts(body.get("system", [])))
    last = body["messages"][-1]["content"]
    asked = [strip(text) for message in body["messages"] if message["role"] == "user" for text in _own(message)]
    question = strip(directive_text(body))
    texts = [system, *(text for message in body["messages"] for text in _texts(message["content"]))]
    fences = [fence for text in texts for fence in _FENCE.findall(text)]
    fenced = {tag: tuple(starmap(Source, _LABELLED.findall(lines))) for tag, lines in fences}
    return Conversation(
        system=system,
        question=question,
        earlier=tuple(asked[:-1] if question else asked),
        facts=fenced.get("facts", ()),
        documents=fenced.get("documents", ()),
        tool_results=tuple(_result(block["toolResult"]) for block in last if "toolResult" in block),
    )


def directive_text(body: Json) -> str:
    """The text whose directives count: the last of the last message; nothing if that is not the user's."""
    last = body["messages"][-1]
    own = _own(last) if last["role"] == "user" else []
    return own[-1] if own else ""


def _own(message: Json) -> list[str]:
    """A user's texts as they wrote them, without what is fenced."""
    texts = [_FENCE.sub("", text).strip() for text in _texts(message["content"])]
    return [text for text in texts if text]


def judged(body: Json) -> list[str]:
    """What a guardrail looks at: the texts that are wrapped for it; where none is, those of all messages."""
    blocks = [block for message in body["messages"] for block in message["content"]]
    return _texts([block for block in blocks if "guardContent" in block] or blocks)


def text_of(block: Json) -> str | None:
    """The text of a content block that has one."""
    text: str | None = block.get("guardContent", block).get("text")
    return text["text"] if isinstance(text, dict) else text


def _texts(blocks: Iterable[Json]) -> list[str]:
    return [text for block in blocks if (text := text_of(block)) is not None]


def _result(result: Json) -> str:
    return " ".join(block.get("text") or json.dumps(block.get("json")) for block in result["content"])
