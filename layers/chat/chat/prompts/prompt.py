"""One prompt: the static prefix first, then the history within its budget, then the facts and the new turn.

The order is what caching wants (https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html): what
changes least comes first.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from string import Template
from typing import Any, Literal, TypeAlias

from chat.events import Message
from chat.memory.lookup import Memory
from chat.memory.sources import Document, Source, labelled
from chat.store.facts import Remembered

# Foreign text keeps no bracket that could open or close a fence, look-alikes included.
_BRACKETS = str.maketrans("<>\uff1c\uff1e\u2039\u203a\ufe64\ufe65", "()()()()")
_LABEL = re.compile(r"\[((?:fact|document)[^\]]*)\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ToolUse:
    """The model's wish to use a tool."""

    id: str
    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What the tool with this call's id answered."""

    id: str
    output: str


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool that the model may use; `schema` is JSON Schema of its input."""

    name: str
    description: str
    schema: Mapping[str, Any]


Content: TypeAlias = str | ToolUse | ToolResult


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said in a row, without reasoning; none of the texts is blank."""

    role: Literal["user", "assistant"]
    content: tuple[Content, ...]

    @property
    def texts(self) -> Iterator[str]:
        """What counts as tokens: tools' inputs and outputs too."""
        for content in self.content:
            match content:
                case ToolUse():
                    yield content.name + json.dumps(content.input, ensure_ascii=False)
                case ToolResult():
                    yield content.output
                case text:
                    yield text


@dataclass(frozen=True, slots=True)
class Prompt:
    """`history` and `turn` alternate, beginning with the user; `turn` is the user's and ends with the new message.

    `tool_choice` is a tool's name, `any` for one at least, None for the model's own choice.
    """

    system: str
    history: tuple[Turn, ...]
    facts: str
    turn: Turn
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str | None = None
    documents: str = ""


def build(memory: Memory, message: str, *, assistant: str, history_tokens: int) -> Prompt:
    """The prompt for `message`. What is oldest goes first when the history is over its budget."""
    turns = _alternating(memory.history)
    unanswered = _newest([*turns.pop().texts], history_tokens) if turns and turns[-1].role == "user" else []
    left = history_tokens - sum(map(estimate_tokens, unanswered))
    return Prompt(
        system=_system(memory, assistant),
        history=_within(turns, left),
        facts=_fenced("facts", Remembered, memory),
        documents=_fenced("documents", Document, memory),
        turn=Turn("user", (*unanswered, message)),
    )


def tokens(prompt: Prompt) -> int:
    """Roughly what the whole prompt costs."""
    said = [text for turn in (*prompt.history, prompt.turn) for text in turn.texts]
    tools = [f"{tool.name}{tool.description}{json.dumps(tool.schema, ensure_ascii=False)}" for tool in prompt.tools]
    return sum(map(estimate_tokens, [prompt.system, prompt.facts, prompt.documents, *said, *tools]))


def estimate_tokens(text: str) -> int:
    """Roughly what a model counts: four ASCII characters a token, other scripts about one a token."""
    return -(-quarters(text) // 4)


def quarters(text: str) -> int:
    """The same in quarters of a token, which add up."""
    return 4 * len(text) - 3 * sum(map(str.isascii, text))


def _system(memory: Memory, assistant: str) -> str:
    profile = memory.profile
    text = _template().substitute(assistant=_plain(profile.assistant_name or assistant))
    about = [f"The user's name is {_plain(profile.name)}."] if profile.name else []
    if profile.about:
        about.append(f"About the user: {_plain(profile.about)}")
    return "\n\n".join([text.strip(), *about])


@cache
def _template() -> Template:
    return Template(Path(__file__).with_name("system.md").read_text(encoding="utf-8"))


def fenced(facts: Iterable[str]) -> str:
    """What is known of a user, for a task: one fact a line, between tags that they cannot close."""
    lines = [f"- {_plain(fact)}" for fact in facts]
    return "\n".join(["<facts>", *lines, "</facts>"]) if lines else ""


def _fenced(tag: str, kind: type[Source], memory: Memory) -> str:
    """One line for each, behind its label, so that no source can look like two."""
    own = [(label, source) for label, source in labelled(memory.sources) if isinstance(source, kind)]
    lines = [f"[{label}] {_named(source)}{_plain(source.text)}" for label, source in own]
    return "\n".join([f"<{tag}>", *lines, f"</{tag}>"]) if lines else ""


def _named(source: Source) -> str:
    return f"{_plain(source.name)}: " if isinstance(source, Document) else ""


def _plain(text: str) -> str:
    """Foreign text on one line, unable to open or close a fence, or to label itself."""
    return " ".join(_LABEL.sub(r"(\1)", text.translate(_BRACKETS)).split())


def _newest(texts: Sequence[str], budget: int) -> list[str]:
    """The last of the texts that fit, in their order."""
    kept: list[str] = []
    for text in reversed(texts):
        budget -= estimate_tokens(text)
        if budget < 0:
            break
        kept.append(text)
    return kept[::-1]


def _alternating(messages: Iterable[Message]) -> list[Turn]:
    """Turns by alternating sides: answers without text are dropped, neighbours of one side joined."""
    turns: list[Turn] = []
    for message in messages:
        text = message.text
        if not text.strip():
            continue
        if turns and turns[-1].role == message.role:
            turns[-1] = Turn(message.role, (*turns[-1].content, text))
        else:
            turns.append(Turn(message.role, (text,)))
    return turns


def _within(turns: Sequence[Turn], budget: int) -> tuple[Turn, ...]:
    """The newest turns that fit, beginning with a user's."""
    sizes = [sum(map(estimate_tokens, turn.texts)) for turn in turns]
    total, first = sum(sizes), 0
    while first < len(turns) and (total > budget or turns[first].role == "assistant"):
        total -= sizes[first]
        first += 1
    return tuple(turns[first:])
