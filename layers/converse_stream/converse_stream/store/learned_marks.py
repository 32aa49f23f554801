"""What was learned of a user's message, stored step by step: a step's writes and its mark are one transaction.

The marks are on the message. So however often a task is tried, wherever it broke off, and however often the message is
answered again, nothing is learned from it twice. And nothing is stored when the message is gone: erasure removes it
before it forgets, and wins against a task that still runs.
"""

from collections.abc import Sequence, Set
from typing import Any

from converse_stream.store import keys
from converse_stream.store.table import ConditionFailed, Table

_THERE = "attribute_exists(pk)"
_NOT_YET = f"{_THERE} AND NOT contains(learned, :step)"


class LearnedMarks:
    """`user` is a `User.key` everywhere, `place` that of the user's message in its conversation."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def steps(self, user: str, conversation_id: str, place: int) -> Set[str]:
        """Those that were taken."""
        item = self._table.get(keys.conversation(user, conversation_id), keys.message(place)) or {}
        return frozenset(item.get("learned", ()))

    def mark(self, user: str, conversation_id: str, place: int, step: str) -> Any:
        """For `store`: the step is taken now."""
        key, values = (keys.conversation(user, conversation_id), keys.message(place)), {":step": step, ":steps": {step}}
        return self._table.update_part(*key, "ADD learned :steps", condition=_NOT_YET, values=values)

    def take_back(self, user: str, conversation_id: str, place: int, step: str) -> None:
        """Stores that the step was not taken after all. Raises StorageError."""
        key = keys.conversation(user, conversation_id), keys.message(place)
        self.store(
            [self._table.update_part(*key, "DELETE learned :steps", condition=_THERE, values={":steps": {step}})]
        )

    def store(self, writes: Sequence[Any]) -> bool:
        """Whether they were stored: all, or none where one found its item changed. Raises StorageError."""
        try:
            self._table.transact(writes)
            return True
        except ConditionFailed:
            return False
