"""What a model is asked, as a value."""

from collections.abc import Sequence
from dataclasses import dataclass

from converse_stream.memory.sources import Source
from converse_stream.model.options import weight
from converse_stream.prompts import prompt
from converse_stream.protocol.options import Options


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model is asked: the prompt, the model's alias and how it should answer.

    `sources` are in the prompt; `stream` false asks for one piece.
    """

    prompt: prompt.Prompt
    model: str
    options: Options
    sources: Sequence[Source] = ()
    stream: bool = True

    @property
    def token_counts(self) -> dict[str, int]:
        """Roughly its tokens by part; a schema for the answer counts as a tool."""
        parts = prompt.parts(self.prompt)
        return parts | {"tools": parts["tools"] + weight(self.options)}

    @property
    def tokens(self) -> int:
        """Roughly the tokens of all of it."""
        return sum(self.token_counts.values())


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be asked, and what of the memory did not come in time."""

    completion: Completion
    missing: tuple[str, ...]
