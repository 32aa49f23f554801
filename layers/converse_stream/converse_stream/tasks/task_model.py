"""The small model, asked one question at a time within a deadline."""

import threading
import time

from converse_stream.aws.cancellation import Cancelled
from converse_stream.model.client import ModelClient
from converse_stream.model.stream import ModelEnd
from converse_stream.model.transport import Call
from converse_stream.prompts.prompt import Prompt, PromptMessage
from converse_stream.protocol.errors import ModelTimeout
from converse_stream.protocol.events import Chunk, Usage
from converse_stream.protocol.options import Options


class TaskModel:
    """`deadline` is a time of the monotonic clock."""

    def __init__(self, models: ModelClient, alias: str, deadline: float) -> None:
        self._models = models
        self._alias = alias
        self._deadline = deadline
        self.spent = Usage()  # what its questions have cost so far

    def __call__(self, system: str, text: str, max_tokens: int, *, facts: str = "") -> str:
        """What the model says; nothing where a filter stopped it. Raises ModelError, ModelTimeout at the deadline."""
        prompt = Prompt(system, (), facts, PromptMessage("user", (text,)))
        options = Options().model_copy(update={"max_tokens": max_tokens, "temperature": 0.0})
        call = Call()
        timer = threading.Timer(max(0.0, self._deadline - time.monotonic()), call.cancel)
        timer.start()
        said = []
        try:
            for event in self._models.answer(prompt, self._alias, options, call):
                if isinstance(event, Chunk):
                    said.append(event.content)
                elif isinstance(event, ModelEnd):
                    self._count(event.usage)
                    said = [] if event.finish_reason == "content-filter" else said
        except Cancelled:
            raise ModelTimeout from None
        finally:
            timer.cancel()
            timer.join()
        return "".join(said)

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
