"""A search for documents that goes on while the answer has begun: its client has `start`, and can stop it."""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from chat.events import Progress
from chat.memory.lookup import Memory
from chat.memory.recall import Recalling
from chat.model.transport import Call

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Search(Generic[T]):
    """`completed` makes the model's request of a memory; `memory` is all of it but the documents."""

    searching: Recalling
    memory: Memory
    completed: Callable[[Memory], T]

    def wait(self, call: Call) -> Generator[Progress, None, T]:
        """Yields what the waiting user is told, and returns the request with what was found. Raises Stopped.

        A knowledge base that hangs costs the search's own budget; a stop of the call ends the wait.
        """
        if not self.searching.ended:
            yield Progress("search")
        with call.stopping(self.searching.stop):
            found = self.searching.into(replace(self.memory, missing=()))
        call.pause(0)
        yield from found.progress()
        call.heard = time.monotonic()  # the model's silence begins here
        return self.completed(found)

    def stop(self) -> None:
        """Nobody waits any more."""
        self.searching.stop()
