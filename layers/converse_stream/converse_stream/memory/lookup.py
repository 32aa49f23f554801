"""Reads the history, the profile and the record of an earlier send in parallel, until a deadline.

A read that fails or is late is left out, and the client gets its name: a fast answer is more important than a complete
memory. Facts and documents are read by `recall`.
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

LOOKUPS = 3  # parallel reads of the table


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known before an answer. `conversation` is None if the history could not be read.

    `missing` has the names of the reads that failed or were late. `sources` are the facts and documents that are
    relevant to the question; `recall` adds them.
    """

    conversation: Conversation | None
    history: tuple[Message, ...] = ()
    sources: tuple[Source, ...] = ()
    profile: Profile = EMPTY_PROFILE
    earlier: GenerationRecord | None = None  # of an earlier request with the same idempotency key
    missing: tuple[str, ...] = ()
    earlier_was_read: bool = True  # False if `earlier` could not be read

    @property
    def first_message(self) -> int:
        """The number of the first message of the history. The answer of a running generation has a number too."""
        if self.conversation is None:
            return 1
        stored = self.conversation.seq - (1 if self.conversation.active else 0)
        return max(1, stored - len(self.history) + 1)

    def may_have_started(self, gid: str) -> bool:
        """Whether an earlier request may have started this generation although `earlier` is None.

        So it is if the record could not be read, or if the history has the generation: it may be read later than the
        record.
        """
        active = self.conversation.active if self.conversation else None
        return not self.earlier_was_read or gid in (active, *(message.generation_id for message in self.history))

    def progress(self) -> list[Progress]:
        """The `progress` events: the documents that were found, and the parts that are left out."""
        names = dict.fromkeys(source.name for source in self.sources if isinstance(source, Document))
        found = [Progress("search", ", ".join(names))] if names else []
        return found + [Progress("memory", f"{part} left out", missing=part) for part in self.missing]

    def updated_with(self, newer: "Memory") -> "Memory":
        """This memory with the history of a second lookup. If that was late, the first history stays, as incomplete."""
        if "history" in newer.missing:
            return replace(self, missing=tuple(dict.fromkeys((*self.missing, "history"))))
        return replace(newer, profile=self.profile, missing=self.missing)


class Lookup:
    """Looks up the memory. The table's client must have short timeouts."""

    def __init__(self, table: Table, *, messages: int) -> None:
        self._table = table
        self._messages = messages

    def __call__(self, user: str, conversation_id: str, gid: str, deadline: float) -> Memory:
        """The memory as read until `deadline`, a time of the monotonic clock. Does not raise if the table fails."""
        table, executor = self._table.until(deadline), DeadlineExecutor("lookup", LOOKUPS, deadline)
        history = executor.submit(Conversations(table).recent, user, conversation_id, self._messages)
        profile = executor.submit(Facts(table).profile, user)
        earlier = executor.submit(Generations(table, Conversations(table)).get, user, gid)
        succeeded = {read for read in executor.wait() if read.exception() is None}
        missing = [name for name, read in (("history", history), ("profile", profile)) if read not in succeeded]
        for name in missing:
            logger.warning("memory left out", extra={"part": name})
        conversation, messages = history.result() if "history" not in missing else (None, [])
        return Memory(
            conversation,
            tuple(messages),
            profile=profile.result() if "profile" not in missing else EMPTY_PROFILE,
            earlier=earlier.result() if earlier in succeeded else None,
            missing=tuple(missing),
            earlier_was_read=earlier in succeeded,
        )
