"""What a user's answers cost, by day."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from chat.events import Message, Usage
from chat.ids import now
from chat.log import Entry
from chat.store import keys
from chat.store.head import End
from chat.store.table import Table
from chat.store.writer import Signals

KEPT = 2 * 24 * 3600  # seconds that a day's count is kept


def counted(table: Table, user: str, usage: Usage, at: float) -> Any:
    """For `transact`: adds one answer to its day; `at` is in seconds since the epoch."""
    return table.update(
        keys.limits(user),
        keys.day(now()[:10]),
        "ADD requests :one, tokens_in :in, tokens_out :out SET #ttl = :ttl",
        values={
            ":one": 1,
            ":in": usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
            ":out": usage.output_tokens,
            ":ttl": int(at) + KEPT,
        },
        names={"#ttl": "ttl"},
    )


class Unstored:
    """The ledger of an answer that nobody can come back to: only what it cost is kept."""

    durable = 0

    def __init__(self, table: Table, user: str, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._user = user
        self._clock = clock

    def flush(self, _: Sequence[Entry]) -> Signals:
        """Nobody can ask for it to be stopped."""
        return Signals(cancelled=False, followed=False)

    def finish(self, _: Message, end: End) -> None:
        """Counts it. Raises StorageError."""
        self._table.transact([counted(self._table, self._user, end.usage, self._clock())])
