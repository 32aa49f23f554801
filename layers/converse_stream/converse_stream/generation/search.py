"""A search for documents that goes on while the answer has begun: its client has `start`, and can stop it."""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace

from converse_stream.generation.completion import Completion
from converse_stream.memory.lookup import Memory
from converse_stream.memory.recall import PendingRecall
from converse_stream.model.transport import Call
from converse_stream.protocol.events import Progress


@dataclass(frozen=True, slots=True)
class Search:
    """`asked` is the model's request of `memory`, which is all but the documents; `completed` makes one with them."""

    searching: PendingRecall
    memory: Memory
    asked: Completion
    completed: Callable[[Memory], Completion]

    def wait(self, call: Call) -> Generator[Progress, None, Completion]:
        """Yields what the waiting user is told, and returns the request with what was found. Raises Stopped.

        A knowledge base that hangs costs the search's own budget; a stop of the call ends the wait.
        """
        if not self.searching.ended:
            yield Progress("search")
        with call.on_cancel(self.searching.stop):
            found = self.searching.merged_into(replace(self.memory, missing=()))
        call.pause(0)
        yield from found.progress()
        call.last_received = time.monotonic()  # the model's silence begins here
        return self.asked if found.sources == self.memory.sources else self.completed(found)

    def stop(self) -> None:
        """Nobody waits any more."""
        self.searching.stop()
