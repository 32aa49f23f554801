"""Parses a Converse request: the question, earlier questions, and the sections of the prompt."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import starmap
from typing import NamedTuple

from local_stack.bedrock.directives import strip
from local_stack.bedrock.events import Json

# A section of the prompt. Its tags are alone on their lines; elsewhere they are ordinary text. They may have a number.
_SECTION = re.compile(
    r"^<((profile|summary|facts|document)(?:-[0-9a-f]{8})?)>\n(.*?)\n</\1>$", re.DOTALL | re.MULTILINE
)
_FACT = re.compile(r"^(?:\[([^\]]+)\]|-) (?:\(\d{4}-\d\d\) )?(.*)$", re.MULTILINE)
_DOCUMENT = re.compile(r"\[([^\]]+)\] (.*)\n([\s\S]*)")
_TODAY = re.compile(r"Today is \w+, \d+ \w+ \d+, \d\d:\d\d \(UTC\S*\)\.")


class Source(NamedTuple):
    """A fact, or a document with its name."""

    label: str
    text: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The parsed request.

    `question`: the user's last text. `earlier_questions`: the texts before it, oldest first. Both are without
    directives. `facts` and `documents`: those of the sections. `tool_results`: those of the last message.
    """

    system: str
    question: str
    earlier_questions: tuple[str, ...]
    facts: tuple[Source, ...]
    documents: tuple[Source, ...]
    tool_results: tuple[str, ...]


def parse_conversation(body: Json) -> Conversation:
    """Parse a valid Converse request."""
    system = "\n".join(_texts(body.get("system", [])))
    last = body["messages"][-1]["content"]
    users = [message for message in body["messages"] if message["role"] == "user"]
    questions = [strip(text) for message in users for text in _user_texts(message)]
    question = strip(_last_text(body))
    texts = [system, *(text for message in body["messages"] for text in _texts(message["content"]))]
    sections = [(name, content) for text in texts for _, name, content in _SECTION.findall(text)]
    facts = [fact for name, content in sections if name == "facts" for fact in _FACT.findall(content)]
    documents = [_DOCUMENT.fullmatch(content) for name, content in sections if name == "document"]
    return Conversation(
        system=system,
        question=question,
        earlier_questions=tuple(questions[:-1] if question else questions),
        facts=tuple(starmap(Source, facts)),
        documents=tuple(Source(match[1], match[3], match[2]) for match in documents if match),
        tool_results=tuple(strip(_result(block["toolResult"])) for block in last if "toolResult" in block),
    )


def directive_text(body: Json) -> str:
    """Return the text whose directives are used: the last text of the last message, if that is a user message.

    If that has only results of tools, the text of the last result.
    """
    results = [_result(block["toolResult"]) for block in body["messages"][-1]["content"] if "toolResult" in block]
    return _last_text(body) or (results[-1] if results else "")


def _last_text(body: Json) -> str:
    last = body["messages"][-1]
    texts = _user_texts(last) if last["role"] == "user" else []
    return texts[-1] if texts else ""


def _user_texts(message: Json) -> list[str]:
    """Return the texts of a user message without what the prompt adds: the date, and texts that begin a section."""
    texts = [text.strip() for text in _texts(message["content"])]
    return [text for text in texts if text and not _SECTION.match(text) and not _TODAY.fullmatch(text)]


def guarded_texts(body: Json) -> list[str]:
    """Return the texts that a guardrail checks: those in `guardContent` blocks, or all texts if there are none."""
    blocks = [block for message in body["messages"] for block in message["content"]]
    return _texts([block for block in blocks if "guardContent" in block] or blocks)


def text_of(block: Json) -> str | None:
    """Return the text of a content block, or None if it has none."""
    text: str | None = block.get("guardContent", block).get("text")
    return text["text"] if isinstance(text, dict) else text


def _texts(blocks: Iterable[Json]) -> list[str]:
    return [text for block in blocks if (text := text_of(block)) is not None]


def _result(result: Json) -> str:
    return " ".join(block.get("text") or json.dumps(block.get("json")) for block in result["content"])
