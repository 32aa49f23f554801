"""What is remembered of a user and found for a question, searched side by side within a budget of time.

It begins when the request is admitted, because a search may be paid for, and runs beside the transaction that starts
the answer: a fast one costs the user nothing, one that hangs the rest of its budget.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from typing import Protocol

from chat.memory.lookup import Memory
from chat.memory.sources import Source
from chat.telemetry import logger


class MemoryStore(Protocol):
    """Something to be searched, from a thread of its own.

    It must come back by itself soon after `deadline`, a time of the monotonic clock: nobody waits for it any more.
    """

    def search(self, user: str, question: str, deadline: float) -> Sequence[Source]:
        """What helps with the question, as it is to be shown to the model. May raise anything."""


class Recall:
    """The stores by what users know them as, and the seconds that they may cost the waiting user."""

    def __init__(self, stores: Mapping[str, MemoryStore], *, seconds: float) -> None:
        self._stores = stores
        self._seconds = seconds

    def begin(self, user: str, question: str) -> "Recalling":
        """Starts every search."""
        deadline = time.monotonic() + self._seconds
        pool = ThreadPoolExecutor(len(self._stores), "recall")
        searches = {name: pool.submit(store.search, user, question, deadline) for name, store in self._stores.items()}
        pool.shutdown(wait=False)  # its threads end with their searches
        return Recalling(searches, deadline)


class Recalling:
    """Searches under way."""

    def __init__(self, searches: Mapping[str, Future[Sequence[Source]]], deadline: float) -> None:
        self._searches = searches
        self._deadline = deadline

    def into(self, memory: Memory) -> Memory:
        """The memory with what was found until the deadline, and the names of what was not. Never raises."""
        wait(self._searches.values(), timeout=self._deadline - time.monotonic())
        found: list[Source] = []
        missing = list(memory.missing)
        for name, search in self._searches.items():
            if search.done() and search.exception() is None:
                found += search.result()
            else:
                cause = type(search.exception()).__name__ if search.done() else "deadline"
                logger.warning("memory left out", extra={"part": name, "cause": cause})
                missing.append(name)
        return replace(memory, sources=tuple(found), missing=tuple(missing))
