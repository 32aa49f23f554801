"""Marks on a user's message: the learning steps that are complete. A step is stored with its mark in one transaction.

So nothing is learned twice from a message, also if the task is retried or the message is answered again. Nothing is
stored if the message does not exist: an erasure deletes the messages before the facts, so a task that still runs cannot
store a fact after it.
"""

from collections.abc import Sequence, Set
from typing import Any

from converse_stream.store import keys
from converse_stream.store.table import ConditionFailed, Table

# Named conditions on the user's message.
_EXISTS = "attribute_exists(pk)"
_IS_NOT_MARKED = f"{_EXISTS} AND NOT contains(learned, :step)"


class LearnedMarks:
    """The marks in the table. `user` is a `User.key`, `seq` the number of the user's message in its conversation."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def steps(self, user: str, conversation_id: str, seq: int) -> Set[str]:
        """The steps that are marked."""
        item = self._table.get(keys.conversation(user, conversation_id), keys.message(seq)) or {}
        return frozenset(item.get("learned", ()))

    def mark_part(self, user: str, conversation_id: str, seq: int, step: str) -> Any:
        """For `store`: marks the step, if it is not marked."""
        key, values = (keys.conversation(user, conversation_id), keys.message(seq)), {":step": step, ":steps": {step}}
        return self._table.update_part(*key, "ADD learned :steps", condition=_IS_NOT_MARKED, values=values)

    def unmark(self, user: str, conversation_id: str, seq: int, step: str) -> None:
        """Removes the mark of a step. Raises StorageError."""
        key = keys.conversation(user, conversation_id), keys.message(seq)
        self.store(
            [self._table.update_part(*key, "DELETE learned :steps", condition=_EXISTS, values={":steps": {step}})]
        )

    def store(self, parts: Sequence[Any]) -> bool:
        """Writes the parts in one transaction. Returns False if a condition does not hold. Raises StorageError."""
        try:
            self._table.transact(parts)
            return True
        except ConditionFailed:
            return False
