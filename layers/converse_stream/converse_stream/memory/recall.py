"""What is remembered of a user and found for a question, searched side by side until a deadline.

It begins when the request is admitted, because a search may be paid for, and runs beside the transaction that starts
the answer: a fast one costs the user nothing, one that hangs what is left of its budget. Facts have what is left of the
lookup's, documents one of their own (`search`).
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol, Self

from converse_stream.aws.deadlines import DeadlineExecutor
from converse_stream.memory.lookup import Memory
from converse_stream.memory.sources import Source
from converse_stream.telemetry import logger


class MemoryStore(Protocol):
    """Something to be searched, from a thread of its own, through a client of `converse_stream.aws.deadlines`.

    Nobody waits for it after `deadline`, a time of the monotonic clock.
    """

    def search(self, user: str, question: str, deadline: float) -> Sequence[Source]:
        """What helps with the question, as it is to be shown to the model. May raise anything."""


class Recall:
    """The stores by what users know them as."""

    def __init__(self, stores: Mapping[str, MemoryStore]) -> None:
        self._stores = stores

    def begin(self, user: str, question: str, deadline: float) -> "PendingRecall":
        """Starts every search."""
        errands = DeadlineExecutor("recall", len(self._stores), deadline)
        searches = {
            name: errands.submit(store.search, user, question, deadline) for name, store in self._stores.items()
        }
        return PendingRecall(errands, searches)


class PendingRecall:
    """Searches under way; leaving the context stops those that nobody has waited for."""

    def __init__(self, errands: DeadlineExecutor, searches: Mapping[str, Future[Sequence[Source]]]) -> None:
        self._errands = errands
        self._searches = searches

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._errands.cancel()

    @property
    def empty(self) -> bool:
        """Whether nothing is searched."""
        return not self._searches

    @property
    def ended(self) -> bool:
        """Whether there is nothing to wait for."""
        return all(search.done() for search in self._searches.values())

    def stop(self) -> None:
        """Nobody waits any more."""
        self._errands.cancel()

    def merged_into(self, memory: Memory) -> Memory:
        """The memory with what was found until the deadline, and the names of what was not. Never raises."""
        ended = self._errands.wait()
        found: list[Source] = []
        missing = list(memory.missing)
        for name, search in self._searches.items():
            failure = _failure(search) if search in ended else "deadline"
            if failure is None:
                found += search.result()
            else:
                logger.warning("memory left out", extra={"part": name, "cause": failure})
                missing.append(name)
        return replace(memory, sources=(*memory.sources, *found), missing=tuple(missing))


def _failure(search: Future[Sequence[Source]]) -> str | None:
    if search.cancelled():
        return "stopped"
    error = search.exception()
    return type(error).__name__ if error else None
