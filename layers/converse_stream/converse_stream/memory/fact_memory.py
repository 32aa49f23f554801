"""The user's facts as a `MemoryStore`. They are read from the table and ranked here."""

import time
from collections.abc import Sequence

from converse_stream.aws.embedder import MAX_CHARS, Embedder
from converse_stream.memory.question import Question
from converse_stream.memory.ranking import fit_budget, rank
from converse_stream.store.facts import Facts, SearchableFact
from converse_stream.store.table import Table


class FactMemory:
    """Finds facts of at most `tokens`, with their labels.

    The question is embedded only if the user has more facts, and if there is enough time.
    """

    def __init__(self, table: Table, embedder: Embedder | None, *, tokens: int) -> None:
        self._table = table
        self._embedder = embedder
        self._tokens = tokens

    def search(self, user: str, question: Question, deadline: float) -> Sequence[SearchableFact]:
        """The facts, oldest first, so that a new fact changes the prompt little. Raises StorageError.

        If not all fit, an empty question finds the newest.
        """
        facts = Facts(self._table.until(deadline)).searchable(user)

        def ranked() -> Sequence[SearchableFact]:
            return rank(facts, question.text, self._embed(question, deadline), previous=question.previous)

        return fit_budget(facts, self._tokens, ranked)

    def _embed(self, question: Question, deadline: float) -> bytes | None:
        if self._embedder is None or not question.text or time.monotonic() + self._embedder.seconds > deadline:
            return None
        return self._embedder.embed(question.joined(MAX_CHARS))
