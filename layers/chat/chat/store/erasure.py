"""What users take away: a conversation, or all that there is of them.

    stop      every conversation is marked, so that nothing can begin or be stored in it; what runs is told to stop
    remove    one after the other, when its answer has ended: logs, messages, the mark
    forget    facts and profile

Each step may be done again, so whatever breaks it off, another call goes on. What a user has used of their limits stays
until it expires, two days later: to erase oneself must not be a way to more.
"""

import time
from dataclasses import replace

from chat.errors import NotFound, StorageError
from chat.store import keys
from chat.store.conversations import Conversation, Conversations
from chat.store.generations import Generations
from chat.store.table import Table


class Erasure:
    """`user` is a `User.key` everywhere."""

    def __init__(self, table: Table, conversations: Conversations, generations: Generations) -> None:
        self._table = table
        self._conversations = conversations
        self._generations = generations

    def conversation(self, user: str, conversation_id: str) -> None:
        """One conversation with everything in it; the log of a running answer expires. Raises NotFound."""
        running = self._stop(user, conversation_id)
        self._conversations.remove_messages(user, conversation_id, running)

    def everything(self, user: str, deadline: float) -> bool:
        """Whether all is gone by `deadline`, a time of the monotonic clock; if not, another call goes on."""
        table = self._table.until(deadline)
        conversations = Conversations(table)
        try:
            for each in [self._stopped(user, each, deadline) for each in list(conversations.all(user))]:
                if each.active:
                    if not self._generations.ended(user, each.active, deadline):
                        return False
                    conversations.remove_log(user, each.active)
                conversations.remove_messages(user, each.id)
                conversations.remove_mark(user, each.id)
            table.clear(keys.facts(user), "F#", keys.PROFILE)
        except StorageError:
            if time.monotonic() < deadline:
                raise
            return False
        return True

    def _stopped(self, user: str, known: Conversation, deadline: float) -> Conversation:
        if known.deleted:
            return known
        if time.monotonic() > deadline:
            raise StorageError
        try:
            return replace(known, active=self._stop(user, known.id))
        except NotFound:  # the index has not heard of it yet
            return known

    def _stop(self, user: str, conversation_id: str) -> str | None:
        running = self._conversations.mark_deleted(user, conversation_id)
        if running and (head := self._generations.head(user, running)):
            self._generations.cancel(user, head)
        return running
