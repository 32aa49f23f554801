"""The search for documents, which may end after the generation has started: the client already has `start`."""

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
    """A running search for documents, and the completion for the case that it finds none.

    `memory` has everything but the documents. `completion` is built from it. `build_completion` builds the completion
    from a memory with documents.
    """

    pending: PendingRecall
    memory: Memory
    completion: Completion
    build_completion: Callable[[Memory], Completion]

    def wait(self, call: Call) -> Generator[Progress, None, Completion]:
        """Waits for the documents: yields progress for the user, and returns the completion with the documents found.

        The wait ends after the time budget of the search at the latest. Raises Cancelled if the call is cancelled.
        """
        if not self.pending.ended:
            yield Progress("search")
        with call.on_cancel(self.pending.cancel):
            memory = self.pending.merged_into(replace(self.memory, missing=()))
        call.pause(0)
        yield from memory.progress()
        call.last_received = time.monotonic()  # the silence of the model is measured from here
        return self.completion if memory.sources == self.memory.sources else self.build_completion(memory)

    def cancel(self) -> None:
        """Cancels the search."""
        self.pending.cancel()
