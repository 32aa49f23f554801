"""How long conversations are kept: the times, in `ttl`, at which what is stored of them is over.

The table deletes what is over days late and in no order. So readers look at the time themselves, and a conversation's
own item stays longer than its messages: an id that is used again must not meet old ones.
"""

from dataclasses import dataclass

from converse_stream.store.table import Item

DAY = 24 * 3600
FOREVER_DAYS = 100 * 365  # days; a time all the same, because the item may have an earlier one, which must go
TTL_DELAY = 14 * DAY  # seconds that the table may take; usually it is two days


@dataclass(frozen=True, slots=True)
class Retention:
    """A message is kept for so many days, a conversation for as many since its last change; 0 is for ever.

    `at` is in seconds since the epoch, as is `ttl`.
    """

    days: int = 0

    def of_message(self, at: float) -> int:
        """The `ttl` of a message that is written now."""
        return int(at) + (self.days or FOREVER_DAYS) * DAY

    def of_conversation(self, at: float) -> int:
        """The `ttl` of a conversation that changes now."""
        return self.of_message(at) + TTL_DELAY


def message_expired(item: Item, at: float) -> bool:
    """Whether nobody may read it any more."""
    return "ttl" in item and int(item["ttl"]) <= at


def conversation_expired(item: Item, at: float) -> bool:
    """The same for a conversation's own item."""
    return "ttl" in item and int(item["ttl"]) - TTL_DELAY <= at
