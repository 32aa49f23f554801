"""The history and the user's profile, read side by side within a budget of time. What else is remembered: `recall`.

A waiting user matters more than a complete memory: what has not come in time, or failed, is left out and named.
"""

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

from chat.events import Message, Progress
from chat.memory.sources import Document, Source
from chat.store.conversations import Conversation, Conversations
from chat.store.facts import NOBODY, Facts, Profile
from chat.store.generations import Generations
from chat.store.head import Head
from chat.store.table import Table
from chat.telemetry import logger


@dataclass(frozen=True, slots=True)
class Memory:
    """`conversation` is None when the history could not be read; `missing` names what could not.

    `sources` are the facts and documents that help with the question; `recall` fills them in.
    """

    conversation: Conversation | None
    history: tuple[Message, ...] = ()
    sources: tuple[Source, ...] = ()
    profile: Profile = NOBODY
    earlier: Head | None = None  # the generation that an earlier send with the same key started
    missing: tuple[str, ...] = ()

    def progress(self) -> list[Progress]:
        """What the waiting user is told: which documents were found, and what is left out."""
        names = dict.fromkeys(source.name for source in self.sources if isinstance(source, Document))
        found = [Progress("search", ", ".join(names))] if names else []
        return found + [Progress("memory", f"{part} left out") for part in self.missing]


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
            profile = pool.submit(Facts(table).profile, user)
            earlier = pool.submit(Generations(table, Conversations(table)).head, user, gid)
            asked: list[Future[Any]] = [history, profile, earlier]
            wait(asked, timeout=self._seconds)
            late = [name for name, future in (("history", history), ("profile", profile)) if not _came(future)]
            for name in late:
                logger.warning("memory left out", extra={"part": name})
            conversation, messages = history.result() if "history" not in late else (None, [])
            known = profile.result() if "profile" not in late else NOBODY
            # When this one did not come either, the start transaction finds out.
            retried = earlier.result() if _came(earlier) else None
            return Memory(conversation, tuple(messages), profile=known, earlier=retried, missing=tuple(late))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _came(future: Future[Any]) -> bool:
    return future.done() and future.exception() is None
