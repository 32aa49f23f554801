"""A small model with scripted answers, for tests of tasks without a server."""

import time
from collections.abc import Generator
from typing import Any

from converse_stream.model.stream import ModelEnd
from converse_stream.prompts.prompt import Prompt
from converse_stream.protocol.errors import ModelError
from converse_stream.protocol.events import Chunk, Usage
from converse_stream.protocol.options import Options
from converse_stream.tasks.task_model import TaskModel

CUT, FILTERED = "length", "content-filter"


class ScriptedModel:
    """Gives the answers in order: a text, a text with its finish reason, or an error. The last one is repeated."""

    def __init__(self, *answers: str | tuple[str, str] | ModelError) -> None:
        self._answers = list(answers)
        self.prompts: list[Prompt] = []
        self.options: list[Options] = []

    def answer(self, prompt: Prompt, _: str, options: Options, __: Any) -> Generator[Chunk | ModelEnd, None, None]:
        self.prompts.append(prompt)
        self.options.append(options)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, ModelError):
            raise answer
        text, reason = (answer, "stop") if isinstance(answer, str) else answer
        yield Chunk(text)
        yield ModelEnd(reason, Usage())

    @property
    def texts(self) -> list[str]:
        """The text of each request's message."""
        return [str(prompt.turn.content[0]) for prompt in self.prompts]

    @property
    def task(self) -> TaskModel:
        models: Any = self
        return TaskModel(models, "small", time.monotonic() + 60)
