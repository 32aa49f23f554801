"""The history and the user's profile, read side by side until a deadline. What else is remembered: `recall`.

A waiting user matters more than a complete memory: what has not come in time, or failed, is left out and named.
"""

from dataclasses import dataclass, replace

from converse_stream.aws.deadlines import DeadlineExecutor
from converse_stream.memory.sources import Document, Source
from converse_stream.protocol.events import Message, Progress
from converse_stream.store.conversations import Conversation, Conversations
from converse_stream.store.facts import EMPTY_PROFILE, Facts, Profile
from converse_stream.store.generation_record import GenerationRecord
from converse_stream.store.generations import Generations
from converse_stream.store.table import Table
from converse_stream.telemetry import logger

LOOKUPS = 3  # reads of the table side by side


@dataclass(frozen=True, slots=True)
class Memory:
    """`conversation` is None when the history could not be read; `missing` names what could not.

    `sources` are the facts and documents that help with the question; `recall` fills them in.
    """

    conversation: Conversation | None
    history: tuple[Message, ...] = ()
    sources: tuple[Source, ...] = ()
    profile: Profile = EMPTY_PROFILE
    earlier: GenerationRecord | None = None  # the generation that an earlier send with the same key started
    missing: tuple[str, ...] = ()
    earlier_was_read: bool = True  # False when `earlier` could not be read

    def may_have_started(self, gid: str) -> bool:
        """Whether an earlier send may have started this generation, although `earlier` is None.

        The head did not come, or the history, which may be newer than the head, has traces of it.
        """
        active = self.conversation.active if self.conversation else None
        return not self.earlier_was_read or gid in (active, *(message.generation_id for message in self.history))

    def progress(self) -> list[Progress]:
        """What the waiting user is told: which documents were found, and what is left out."""
        names = dict.fromkeys(source.name for source in self.sources if isinstance(source, Document))
        found = [Progress("search", ", ".join(names))] if names else []
        return found + [Progress("memory", f"{part} left out", missing=part) for part in self.missing]

    def updated_with(self, newer: "Memory") -> "Memory":
        """With the history of a second look; where that came too late, with the first one's, which lacks the newest."""
        if "history" in newer.missing:
            return replace(self, missing=tuple(dict.fromkeys((*self.missing, "history"))))
        return replace(newer, profile=self.profile, missing=self.missing)


class Lookup:
    """Reads through a table whose client is impatient."""

    def __init__(self, table: Table, *, messages: int) -> None:
        self._table = table
        self._messages = messages

    def __call__(self, user: str, conversation_id: str, gid: str, deadline: float) -> Memory:
        """What came until `deadline`, a time of the monotonic clock. Never raises for a table that fails or hangs."""
        table, errands = self._table.until(deadline), DeadlineExecutor("lookup", LOOKUPS, deadline)
        history = errands.submit(Conversations(table).recent, user, conversation_id, self._messages)
        profile = errands.submit(Facts(table).profile, user)
        earlier = errands.submit(Generations(table, Conversations(table)).get, user, gid)
        came = {errand for errand in errands.wait() if errand.exception() is None}
        late = [name for name, errand in (("history", history), ("profile", profile)) if errand not in came]
        for name in late:
            logger.warning("memory left out", extra={"part": name})
        conversation, messages = history.result() if "history" not in late else (None, [])
        known = profile.result() if "profile" not in late else EMPTY_PROFILE
        retried = earlier.result() if earlier in came else None
        return Memory(
            conversation,
            tuple(messages),
            profile=known,
            earlier=retried,
            missing=tuple(late),
            earlier_was_read=earlier in came,
        )
