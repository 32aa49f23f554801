"""Calls the small model for background tasks."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from converse_stream.aws.cancellation import Cancelled
from converse_stream.model.client import ModelClient
from converse_stream.model.stream import ModelEnd
from converse_stream.model.transport import Call
from converse_stream.prompts.prompt import Prompt, PromptMessage
from converse_stream.protocol.errors import ModelTimeout
from converse_stream.protocol.events import Chunk, FinishReason, Usage
from converse_stream.protocol.options import Options


@dataclass(frozen=True, slots=True)
class TaskAnswer:
    """The text of an answer, which is empty if a filter stopped it, and how it ended."""

    text: str
    finish_reason: FinishReason

    @property
    def is_cut(self) -> bool:
        """Whether the answer ends at the limit of its tokens."""
        return self.finish_reason == "length"

    @property
    def is_filtered(self) -> bool:
        """Whether a filter stopped the answer."""
        return self.finish_reason == "content-filter"


class TaskModel:
    """The small model, until `deadline`, a time of the monotonic clock."""

    def __init__(self, models: ModelClient, name: str, deadline: float) -> None:
        self._models = models
        self._name = name
        self._deadline = deadline
        self.spent = Usage()  # by all calls so far

    def __call__(
        self, system: str, text: str, max_tokens: int, *, facts: str = "", schema: Mapping[str, Any] | None = None
    ) -> str:
        """The text of the model's answer. See `answer`."""
        return self.answer(system, text, max_tokens, facts=facts, schema=schema).text

    def answer(
        self, system: str, text: str, max_tokens: int, *, facts: str = "", schema: Mapping[str, Any] | None = None
    ) -> TaskAnswer:
        """The model's answer. With a `schema` it is JSON, but a model may answer with something else.

        Raises ModelError, and ModelTimeout at the deadline.
        """
        prompt = Prompt(system, (), facts, PromptMessage("user", (text,)))
        # Adapted to the model: without thinking or with the lowest effort, whose tokens are reserved beside the answer.
        update = {"max_tokens": max_tokens, "temperature": 0.0, "reasoning": "none", "answer_schema": schema}
        options = Options().model_copy(update=update)
        call = Call()
        timer = threading.Timer(max(0.0, self._deadline - time.monotonic()), call.cancel)
        timer.start()
        pieces: list[str] = []
        finish_reason: FinishReason = "stop"
        try:
            for event in self._models.answer(prompt, self._name, options, call):
                if isinstance(event, Chunk):
                    pieces.append(event.content)
                elif isinstance(event, ModelEnd):
                    self._count(event.usage)
                    finish_reason = event.finish_reason
        except Cancelled:
            raise ModelTimeout from None
        finally:
            timer.cancel()
            timer.join()
        answer = TaskAnswer("".join(pieces), finish_reason)
        return replace(answer, text="") if answer.is_filtered else answer

    def _count(self, usage: Usage) -> None:
        spent = self.spent
        self.spent = Usage(
            input_tokens=spent.input_tokens + usage.input_tokens,
            output_tokens=spent.output_tokens + usage.output_tokens,
            cache_read_tokens=spent.cache_read_tokens + usage.cache_read_tokens,
            cache_write_tokens=spent.cache_write_tokens + usage.cache_write_tokens,
            basis="exact",
            cost=(spent.cost or 0) + (usage.cost or 0),
        )
