"""The ledger of an answer that nobody can come back to: only what it cost is kept."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from converse_stream.protocol.events import Message
from converse_stream.protocol.log import Entry
from converse_stream.store.generation_record import End
from converse_stream.store.generation_writer import Signals
from converse_stream.store.table import ConditionFailed, Table
from converse_stream.store.usage import settle_parts


class UsageWriter:
    """Takes the place of a Writer. `slot` is the answer's place among its user's running ones."""

    durable = 0

    def __init__(self, table: Table, user: str, slot: str, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._user = user
        self._slot = slot
        self._clock = clock

    def flush(self, _: Sequence[Entry]) -> Signals:
        """Nobody can ask for it to be stopped."""
        return Signals(cancelled=False, followed=False)

    def finish(self, _: Message, end: End) -> None:
        """Counts it, once however often it is called. Raises StorageError."""
        with suppress(ConditionFailed):  # an attempt that seemed to fail had succeeded
            self._table.transact(settle_parts(self._table, self._user, self._slot, end.usage, self._clock(), once=True))
