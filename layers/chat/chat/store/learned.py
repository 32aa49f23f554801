"""What was learned of an answer, stored step by step: a step's writes and its mark are one transaction.

The marks are on the generation's head. So however often a task is tried, and wherever it broke off, nothing is stored
twice. And nothing is stored when the head is gone: erasure removes it before it forgets, and wins against a task that
still runs.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from chat.events import Usage
from chat.store.head import key
from chat.store.limits import counted
from chat.store.table import ConditionFailed, Table

_NOT_YET = "attribute_exists(pk) AND NOT contains(learned, :step)"


class Learned:
    """`clock` gives seconds."""

    def __init__(self, table: Table, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._clock = clock

    def store(self, user: str, gid: str, step: str, writes: Sequence[Any], spent: Usage) -> bool:
        """Whether it was stored: not, when the step was taken before or one of the writes found its item changed.

        `spent` is what the step cost; it is counted with the day's use. Raises StorageError.
        """
        values = {":step": step, ":steps": {step}}
        mark = self._table.update(*key(user, gid), "ADD learned :steps", condition=_NOT_YET, values=values)
        try:
            self._table.transact([mark, *writes, *counted(self._table, user, spent, self._clock())])
            return True
        except ConditionFailed:
            return False
