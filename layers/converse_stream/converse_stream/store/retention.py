"""Retention: when messages and conversations expire, as their attribute `ttl`.

DynamoDB deletes expired items up to days later and in any order. So readers check the time themselves. A conversation's
own item expires later than its messages: while old messages may exist, its id must not be used for a new conversation.
"""

from dataclasses import dataclass

from converse_stream.store.values import Item

DAY = 24 * 3600
FOREVER_DAYS = 100 * 365  # a `ttl` is always written, to overwrite one of an earlier setting
TTL_DELAY = 14 * DAY  # seconds within which the table deletes an expired item; usually two days


@dataclass(frozen=True, slots=True)
class Retention:
    """A message is kept for `days`, a conversation for `days` after its last change; 0 is without a limit.

    `at` and `ttl` are in seconds since the epoch.
    """

    days: int = 0

    def of_message(self, at: float) -> int:
        """The `ttl` of a message that is written at time `at`."""
        return int(at) + (self.days or FOREVER_DAYS) * DAY

    def of_conversation(self, at: float) -> int:
        """The `ttl` of a conversation that changes at time `at`."""
        return self.of_message(at) + TTL_DELAY


def message_expired(item: Item, at: float) -> bool:
    """Whether the message is expired at time `at`, so that it must not be read."""
    return "ttl" in item and int(item["ttl"]) <= at


def conversation_expired(item: Item, at: float) -> bool:
    """Whether the conversation is expired at time `at`; `item` is META."""
    return "ttl" in item and int(item["ttl"]) - TTL_DELAY <= at
