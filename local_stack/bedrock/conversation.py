"""What a Converse request says, read as a model would read it."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from local_stack.bedrock.directives import strip
from local_stack.bedrock.events import Json

# The fences of the prompt: a tag alone on its line. Elsewhere the tag is only spoken of.
_FENCE = re.compile(r"^<(profile|summary|facts|documents)>\n(.*?)\n</\1>$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Conversation:
    """`question` is the last text of the user, `earlier` the texts before it, oldest first, both without directives."""

    system: str
    question: str
    earlier: tuple[str, ...]
    facts: tuple[str, ...]
    tool_results: tuple[str, ...]


def read(body: Json) -> Conversation:
    system = "\n".join(_texts(body.get("system", [])))
    last = body["messages"][-1]["content"]
    asked = [strip(text) for message in body["messages"] if message["role"] == "user" for text in _own(message)]
    question = strip(directive_text(body))
    everything = [system, *(text for message in body["messages"] for text in _texts(message["content"]))]
    return Conversation(
        system=system,
        question=question,
        earlier=tuple(asked[:-1] if question else asked),
        facts=tuple(fact for text in everything for fact in _facts(text)),
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


def _texts(blocks: Iterable[Json]) -> list[str]:
    return [block["text"] for block in blocks if "text" in block]


def _facts(text: str) -> list[str]:
    lines = [line for tag, fenced in _FENCE.findall(text) if tag == "facts" for line in fenced.splitlines()]
    return [line.strip().removeprefix("-").strip() for line in lines if line.strip()]


def _result(result: Json) -> str:
    return " ".join(block.get("text") or json.dumps(block.get("json")) for block in result["content"])
