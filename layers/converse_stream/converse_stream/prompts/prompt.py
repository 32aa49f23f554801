"""The prompt of a model call as a value, and its size in tokens."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from converse_stream.protocol.events import RedactedReasoning
from converse_stream.protocol.tokens import estimate_tokens


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A call of a tool by the model."""

    id: str
    name: str
    input: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of the tool call with this id."""

    id: str
    output: str


@dataclass(frozen=True, slots=True)
class SignedReasoning:
    """A reasoning block of the model with this id (as in `ReasoningSignature`). The text may be empty."""

    text: str
    signature: str
    model: str


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool that the model may use. `schema` is the JSON Schema of its input."""

    name: str
    description: str
    schema: Mapping[str, Any]


MAX_BYTES_PER_TOKEN = 8  # the average size of a token in a long text, in bytes of UTF-8

Content: TypeAlias = str | ToolUse | ToolResult | SignedReasoning | RedactedReasoning


@dataclass(frozen=True)
class PromptMessage:
    """One turn: adjacent messages of one role. No text is blank, and reasoning is not the only content."""

    role: Literal["user", "assistant"]
    content: tuple[Content, ...]

    @property
    def texts(self) -> Iterator[str]:
        """The texts that count as tokens for each model, with the input and output of tools."""
        for content in self.content:
            match content:
                case ToolUse():
                    yield content.name + json.dumps(content.input, ensure_ascii=False)
                case ToolResult():
                    yield content.output
                case str():
                    yield content

    @cached_property
    def tokens(self) -> int:
        """The estimated tokens of the turn, with its reasoning."""
        reasoning = [content.text for content in self.content if isinstance(content, SignedReasoning)]
        return sum(map(estimate_tokens, [*self.texts, *reasoning]))


@dataclass(frozen=True, slots=True)
class Omitted:
    """What the history lacks: the first `messages` of the conversation, and parts of long messages if `shortened`.

    `summarized` is true if the prompt has a summary of earlier messages.
    """

    messages: int = 0
    summarized: bool = False
    shortened: bool = False


NOTHING_OMITTED = Omitted()


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt. The roles of `history` and `turn` alternate; `turn` has the role user and ends with the new message.

    `today` says the date. `summary` is of the messages before the history, `facts` are about the user, `documents` are
    relevant to the message; these three are fenced. Each of the four may be empty, and is sent between the history and
    the turn. `tool_choice` is the name of a tool, `any` for at least one call, None for the model's choice. `prefill`
    is the start of the answer, which the model continues. `stored` is true if the history comes from the table: then a
    guardrail has already checked it.
    """

    system: str
    history: tuple[PromptMessage, ...]
    facts: str
    turn: PromptMessage
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str | None = None
    today: str = ""
    summary: str = ""
    documents: str = ""
    prefill: str = ""
    stored: bool = False
    omitted: Omitted = NOTHING_OMITTED


def lowest_tokens(prompt: Prompt) -> int:
    """A lower bound of the prompt's tokens, for any model."""
    texts = [prompt.system, *_tools(prompt), prompt.today, prompt.summary, prompt.facts, prompt.documents]
    texts += [prompt.prefill, *(text for turn in (*prompt.history, prompt.turn) for text in turn.texts)]
    return sum(len(text.encode(errors="replace")) for text in texts) // MAX_BYTES_PER_TOKEN


def tokens(prompt: Prompt) -> int:
    """The estimated tokens of the whole prompt."""
    return sum(tokens_by_part(prompt).values())


def tokens_by_part(prompt: Prompt) -> dict[str, int]:
    """The estimated tokens of each part of the prompt."""
    return {
        "system": estimate_tokens(prompt.system),
        "tools": tool_tokens(prompt),
        "history": sum(turn.tokens for turn in prompt.history),
        "summary": estimate_tokens(prompt.summary),
        "facts": estimate_tokens(prompt.facts),
        "documents": estimate_tokens(prompt.documents),
        "message": estimate_tokens(prompt.today) + prompt.turn.tokens + estimate_tokens(prompt.prefill),
    }


def tool_tokens(prompt: Prompt) -> int:
    """The estimated tokens of the tools."""
    return sum(map(estimate_tokens, _tools(prompt)))


def _tools(prompt: Prompt) -> list[str]:
    return [f"{tool.name}{tool.description}{json.dumps(tool.schema, ensure_ascii=False)}" for tool in prompt.tools]
