"""A request to a model, as a value."""

from collections.abc import Sequence
from dataclasses import dataclass

from converse_stream.memory.sources import Source
from converse_stream.model.options import extra_prompt_tokens
from converse_stream.prompts import prompt
from converse_stream.protocol.options import Options


@dataclass(frozen=True, slots=True)
class Completion:
    """One request to a model: the prompt, the name of the model, and the options.

    `sources` are the sources in the prompt, for citations. If `stream` is false, the model answers in one piece.
    """

    prompt: prompt.Prompt
    model: str
    options: Options
    sources: Sequence[Source] = ()
    stream: bool = True

    @property
    def token_counts(self) -> dict[str, int]:
        """The estimated tokens of each part of the prompt. A schema for the answer counts as a tool."""
        parts = prompt.tokens_by_part(self.prompt)
        return parts | {"tools": parts["tools"] + extra_prompt_tokens(self.options)}

    @property
    def tokens(self) -> int:
        """The estimated tokens of the whole prompt."""
        return sum(self.token_counts.values())


@dataclass(frozen=True, slots=True)
class Preview:
    """The completion that the model would get, and the parts of the memory that were not read in time."""

    completion: Completion
    missing: tuple[str, ...]
