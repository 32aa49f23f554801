"""The user's facts as a `MemoryStore`: read from the table, ranked here."""

import time
from collections.abc import Sequence

from converse_stream.aws.embedder import Embedder
from converse_stream.memory.ranking import fitting, ranked
from converse_stream.store.facts import Facts, SearchableFact
from converse_stream.store.table import Table


class FactMemory:
    """At most `tokens` of facts, labels included.

    The question is embedded only where there are more, and there is the time.
    """

    def __init__(self, table: Table, embedder: Embedder | None, *, tokens: int) -> None:
        self._table = table
        self._embedder = embedder
        self._tokens = tokens

    def search(self, user: str, question: str, deadline: float) -> Sequence[SearchableFact]:
        """Oldest first, so that what is new hardly moves the rest. Raises StorageError."""
        facts = Facts(self._table.until(deadline)).searchable(user)
        return fitting(facts, self._tokens, lambda: ranked(facts, question, self._embedded(question, deadline)))

    def _embedded(self, question: str, deadline: float) -> bytes | None:
        if self._embedder is None or time.monotonic() + self._embedder.seconds > deadline:
            return None
        return self._embedder.embed(question)
