"""Searches the memory stores (facts, documents) in parallel, until a deadline.

The searches start when the request is admitted, because they may be billed. They run at the same time as the
transaction that starts the generation. So a fast search does not delay the answer, and a slow one delays it until its
deadline at most. Facts have the deadline of the lookup, documents have their own (`generation.search`).
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol, Self

from converse_stream.aws.deadlines import DeadlineExecutor
from converse_stream.memory.lookup import Memory
from converse_stream.memory.question import Question
from converse_stream.memory.sources import Source
from converse_stream.telemetry import logger


class MemoryStore(Protocol):
    """A store of facts or documents that can be searched.

    Each search runs in its own thread, with a client of `converse_stream.aws.deadlines`. The result is ignored after
    `deadline`, a time of the monotonic clock.
    """

    def search(self, user: str, question: Question, deadline: float) -> Sequence[Source]:
        """The sources that are relevant to the question, in their order in the prompt. May raise any exception."""


class Recall:
    """The memory stores, by the names that clients get as `missing`."""

    def __init__(self, stores: Mapping[str, MemoryStore]) -> None:
        self._stores = stores

    def begin(self, user: str, question: Question, deadline: float) -> "PendingRecall":
        """Starts all searches."""
        executor = DeadlineExecutor("recall", len(self._stores), deadline)
        searches = {
            name: executor.submit(store.search, user, question, deadline) for name, store in self._stores.items()
        }
        return PendingRecall(executor, searches)


class PendingRecall:
    """Running searches. Leaving the context cancels those that have not ended."""

    def __init__(self, executor: DeadlineExecutor, searches: Mapping[str, Future[Sequence[Source]]]) -> None:
        self._executor = executor
        self._searches = searches

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.cancel()

    @property
    def empty(self) -> bool:
        """Whether there are no searches."""
        return not self._searches

    @property
    def ended(self) -> bool:
        """Whether all searches have ended."""
        return all(search.done() for search in self._searches.values())

    def cancel(self) -> None:
        """Cancels the searches that have not ended."""
        self._executor.cancel()

    def merged_into(self, memory: Memory) -> Memory:
        """The memory with the sources found until the deadline, and the names of the late or failed stores as missing.

        Does not raise.
        """
        ended = self._executor.wait()
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
