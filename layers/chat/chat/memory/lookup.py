"""The history and the user's facts, read side by side within a budget of time.

A waiting user matters more than a complete memory: what has not come in time, or failed, is left out and named.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from chat.events import Message
from chat.store.conversations import Conversation, Conversations
from chat.store.facts import NOBODY, Fact, Facts, Profile
from chat.store.generations import Generations
from chat.store.head import Head
from chat.store.table import Table
from chat.telemetry import logger


@dataclass(frozen=True, slots=True)
class Memory:
    """`conversation` is None when the history could not be read; `missing` names what could not."""

    conversation: Conversation | None
    history: tuple[Message, ...] = ()
    facts: tuple[Fact, ...] = ()
    profile: Profile = NOBODY
    earlier: Head | None = None  # the generation that an earlier send with the same key started
    missing: tuple[str, ...] = ()


class Lookup:
    """Reads through a table of its own, whose client's time-outs lie within the budget: its threads end soon too."""

    def __init__(self, table: Table, *, seconds: float, messages: int) -> None:
        self._table = table
        self._seconds = seconds
        self._messages = messages

    def __call__(self, user: str, conversation_id: str, gid: str) -> Memory:
        """Never raises for a table that fails or hangs."""
        pool = ThreadPoolExecutor(3, "lookup")
        try:
            table = self._table.until(time.monotonic() + self._seconds)
            history = pool.submit(Conversations(table).recent, user, conversation_id, self._messages)
            facts = pool.submit(Facts(table).all, user)
            earlier = pool.submit(Generations(table, Conversations(table)).head, user, gid)
            asked: list[Future[Any]] = [history, facts, earlier]
            wait(asked, timeout=self._seconds)
            late = [name for name, future in (("history", history), ("facts", facts)) if not _came(future)]
            for name in late:
                logger.warning("memory left out", extra={"part": name})
            conversation, messages = history.result() if "history" not in late else (None, [])
            known, profile = facts.result() if "facts" not in late else ([], NOBODY)
            # When this one did not come either, the start transaction finds out.
            retried = earlier.result() if _came(earlier) else None
            return Memory(conversation, tuple(messages), tuple(known), profile, retried, tuple(late))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _came(future: Future[Any]) -> bool:
    return future.done() and future.exception() is None
