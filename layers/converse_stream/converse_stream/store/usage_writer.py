"""The writer of an answer that is not stored: it stores only the usage."""

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
    """A `GenerationWriter` for a generation without a record. `slot` is its slot in the user's rate item."""

    durable = 0

    def __init__(self, table: Table, user: str, slot: str, clock: Callable[[], float] = time.time) -> None:
        self._table = table
        self._user = user
        self._slot = slot
        self._clock = clock

    def flush(self, _: Sequence[Entry]) -> Signals:
        """Does nothing: without a record, the generation cannot be cancelled or followed."""
        return Signals(cancelled=False, followed=False)

    def finish(self, _: Message, end: End) -> None:
        """Counts the usage; once, also if it is called again. Raises StorageError."""
        with suppress(ConditionFailed):  # an earlier attempt that seemed to fail has succeeded
            self._table.transact(settle_parts(self._table, self._user, self._slot, end.usage, self._clock(), once=True))
