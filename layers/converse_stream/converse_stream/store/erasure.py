"""What users take away: a conversation, or all that there is of them.

    begin     all: the mark that it is erased (converse_stream.store.erasure_mark), so that nothing new can begin
    stop      every conversation is marked, so that nothing can be stored in it; what runs is told to stop
    remove    one after the other, when its answer has ended: logs, messages, the mark
    forget    all: facts, then the profile with the mark

The index that lists conversations may be late, so all of them are listed once more when it has had time.

Each step may be done again, so whatever breaks it off, another call goes on from the marks. Two calls at once do no
harm, and one that is late finds that the other has ended. What a user has used of their limits stays until it expires,
two days later: to erase oneself must not be a way to more.
"""

import time
from collections.abc import Callable
from typing import Any

from converse_stream.protocol.errors import NotFound, StorageError
from converse_stream.store import erasure_mark, keys
from converse_stream.store.conversations import Conversations
from converse_stream.store.generations import Generations
from converse_stream.store.table import ConditionFailed, Table

INDEX_LAG = 3.0  # seconds that the index may be late: ten times what is usual


class Erasure:
    """`user` is a `User.key` everywhere, a deadline a time of the monotonic clock."""

    def __init__(self, table: Table, conversations: Conversations, generations: Generations) -> None:
        self._table = table
        self._conversations = conversations
        self._generations = generations

    def delete_conversation(self, user: str, conversation_id: str, deadline: float) -> bool:
        """Whether the conversation is gone with everything in it by `deadline`; if not, another call goes on.

        The log of a running answer expires. Raises NotFound and StorageError.
        """
        self._stop(user, conversation_id)
        conversations = Conversations(self._table.until(deadline))
        return _in_time(lambda: conversations.remove_messages(user, conversation_id), deadline)

    def erase_user(self, user: str, deadline: float) -> bool:
        """Whether all is gone by `deadline`; if not, another call goes on. Raises StorageError."""
        begun = erasure_mark.begin(self._table, user)
        return _in_time(lambda: self._erase(user, begun, deadline), deadline)

    def resume(self, user: str, deadline: float) -> bool:
        """The same for an erasure that has begun; one that has ended is not begun again."""
        begun = erasure_mark.since(self._table, user)
        return begun is None or _in_time(lambda: self._erase(user, begun, deadline), deadline)

    def _erase(self, user: str, begun: str, deadline: float) -> None:
        table = self._table.until(deadline)
        conversations, erased = Conversations(table), set[str]()
        listed = time.monotonic() + INDEX_LAG  # from then on the index shows all that was there at the mark
        complete = False
        try:
            while not complete:
                complete = time.monotonic() > listed
                left = [each.id for each in conversations.all(user) if each.id not in erased]
                running = {each: self._stop_if(user, each, begun) for each in left}
                for each, gid in running.items():
                    self._remove(conversations, user, each, gid, begun, deadline)
                erased.update(left)
                if not complete:
                    time.sleep(max(0.0, min(listed, deadline) - time.monotonic()) + 0.01)
        except ConditionFailed:  # another call has ended the erasure
            return
        if erasure_mark.since(table, user) == begun:
            table.clear(keys.facts(user), "F#", "F#~", "ts")
            erasure_mark.end(table, user, begun)

    def _remove(
        self,
        conversations: Conversations,
        user: str,
        conversation_id: str,
        gid: str | None,
        begun: str,
        deadline: float,
    ) -> None:
        if gid:
            if not self._generations.wait_for_end(user, gid, deadline):
                raise StorageError
            conversations.remove_log(user, gid)
        conversations.remove_messages(user, conversation_id)
        conversations.remove_mark(user, conversation_id, erasure_mark.same_erasure_part(self._table, user, begun))

    def _stop_if(self, user: str, conversation_id: str, begun: str) -> str | None:
        """Raises ConditionFailed where the erasure of that time has ended."""
        try:
            return self._stop(user, conversation_id, erasure_mark.same_erasure_part(self._table, user, begun))
        except NotFound:  # the index shows what is gone
            return None

    def _stop(self, user: str, conversation_id: str, *checks: Any) -> str | None:
        running = self._conversations.mark_deleted(user, conversation_id, *checks)
        if running and (record := self._generations.get(user, running)):
            self._generations.cancel(user, record)
        return running


def _in_time(work: Callable[[], None], deadline: float) -> bool:
    """Whether the work was done; False where it broke off after its deadline."""
    try:
        work()
    except StorageError:
        if time.monotonic() < deadline:
            raise
        return False
    return True
