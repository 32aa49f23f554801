"""Calls the small model for background tasks."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from converse_stream.aws.cancellation import Cancelled
from converse_stream.model.client import ModelClient
from converse_stream.model.stream import ModelEnd
from converse_stream.model.transport import Call
from converse_stream.prompts.prompt import Prompt, PromptMessage
from converse_stream.protocol.errors import ModelTimeout
from converse_stream.protocol.events import Chunk, Usage
from converse_stream.protocol.options import Options


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
        """The model's answer; empty if a filter stopped it. With a `schema` it is JSON.

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
        try:
            for event in self._models.answer(prompt, self._name, options, call):
                if isinstance(event, Chunk):
                    pieces.append(event.content)
                elif isinstance(event, ModelEnd):
                    self._count(event.usage)
                    pieces = [] if event.finish_reason == "content-filter" else pieces
        except Cancelled:
            raise ModelTimeout from None
        finally:
            timer.cancel()
            timer.join()
        return "".join(pieces)

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
