"""A request to a model, as a value."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from converse_stream.memory.sources import Source
from converse_stream.model.options import extra_prompt_tokens
from converse_stream.prompts import prompt
from converse_stream.protocol.events import SentPrompt
from converse_stream.protocol.options import Options


@dataclass(frozen=True)
class Completion:
    """One request to a model: the prompt, the name of the model, and the options.

    `sources` are the sources in the prompt, for citations. If `stream` is false, the model answers in one piece.
    `correction` is the factor by which the estimate of the tokens was wrong in the conversation's last answer.
    """

    prompt: prompt.Prompt
    model: str
    options: Options
    sources: Sequence[Source] = ()
    stream: bool = True
    correction: float = 1.0

    @property
    def token_counts(self) -> dict[str, int]:
        """The estimated tokens of each part of the prompt. A schema for the answer counts as a tool."""
        return {part: round(count * self.correction) for part, count in self._estimates.items()}

    @property
    def tokens(self) -> int:
        """The estimated tokens of the whole prompt."""
        return sum(self.token_counts.values())

    @property
    def sent(self) -> SentPrompt:
        """What is stored with the answer, for the prompts after it."""
        return SentPrompt(self.prompt.omitted.messages + 1, sum(self._estimates.values()))

    @cached_property
    def _estimates(self) -> dict[str, int]:
        """The estimated tokens of each part, not corrected."""
        parts = prompt.tokens_by_part(self.prompt)
        return parts | {"tools": parts["tools"] + extra_prompt_tokens(self.options)}


@dataclass(frozen=True, slots=True)
class Preview:
    """The completion that the model would get, and what it would not get of the memory and the history."""

    completion: Completion
    missing: tuple[str, ...]
