"""What a model is to read, as a value, and what it weighs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from converse_stream.protocol.tokens import estimate_tokens


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


MAX_BYTES_PER_TOKEN = 8  # of UTF-8 in a token, on the average of a long text

Content: TypeAlias = str | ToolUse | ToolResult


@dataclass(frozen=True, slots=True)
class PromptMessage:
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

    @property
    def tokens(self) -> int:
        """Roughly what it costs."""
        return sum(map(estimate_tokens, self.texts))


@dataclass(frozen=True, slots=True)
class Prompt:
    """`history` and `turn` alternate, beginning with the user; `turn` is the user's and ends with the new message.

    `summary` is of what came before the history, `facts` of the user, `documents` were found for the message; each is
    fenced, or empty. `tool_choice` is a tool's name, `any` for one at least, None for the model's own choice. `stored`
    says that the history is ours: a guardrail has judged what is in it.
    """

    system: str
    history: tuple[PromptMessage, ...]
    facts: str
    turn: PromptMessage
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str | None = None
    summary: str = ""
    documents: str = ""
    stored: bool = False


def lowest_tokens(prompt: Prompt) -> int:
    """The fewest tokens that any model can count for the whole prompt."""
    texts = [prompt.system, *_tools(prompt), prompt.summary, prompt.facts, prompt.documents, *prompt.turn.texts]
    texts += [text for turn in prompt.history for text in turn.texts]
    return sum(len(text.encode(errors="replace")) for text in texts) // MAX_BYTES_PER_TOKEN


def tokens(prompt: Prompt) -> int:
    """Roughly what the whole prompt costs."""
    return sum(parts(prompt).values())


def parts(prompt: Prompt) -> dict[str, int]:
    """The same by part."""
    return {
        "system": estimate_tokens(prompt.system),
        "tools": sum(map(estimate_tokens, _tools(prompt))),
        "history": sum(turn.tokens for turn in prompt.history),
        "summary": estimate_tokens(prompt.summary),
        "facts": estimate_tokens(prompt.facts),
        "documents": estimate_tokens(prompt.documents),
        "message": prompt.turn.tokens,
    }


def _tools(prompt: Prompt) -> list[str]:
    return [f"{tool.name}{tool.description}{json.dumps(tool.schema, ensure_ascii=False)}" for tool in prompt.tools]
