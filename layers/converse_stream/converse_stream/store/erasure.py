"""Deletes a conversation, or all data of a user.

    mark        user: sets the erasure marker (converse_stream.store.erasure_marker), so that nothing new can start
    stop        marks each conversation as deleted, so that nothing can be stored in it, and cancels its generation
    remove      one conversation after another, when its generation has ended: logs, messages, the deletion marker
    complete    user: deletes the facts, then the profile with the erasure marker

The index that lists conversations is eventually consistent. So all conversations are listed again after `INDEX_LAG`.

Each step can be repeated: after a failure, another call continues from the markers. Two concurrent calls are safe. A
late call finds that the other one has completed the erasure. The user's usage stays until it expires after two days:
an erasure must not reset the limits.
"""

import time
from collections.abc import Callable
from typing import Any

from converse_stream.protocol.errors import NotFound, StorageError
from converse_stream.store import erasure_marker, keys
from converse_stream.store.conversations import Conversations
from converse_stream.store.generations import Generations
from converse_stream.store.table import ConditionFailed, Table

INDEX_LAG = 3.0  # seconds by which the index may be late: ten times the usual value


class Erasure:
    """Deletes conversations and users. `user` is a `User.key`, `deadline` a time of the monotonic clock."""

    def __init__(self, table: Table, conversations: Conversations, generations: Generations) -> None:
        self._table = table
        self._conversations = conversations
        self._generations = generations

    def delete_conversation(self, user: str, conversation_id: str, deadline: float) -> bool:
        """Deletes the conversation with its messages. Returns False if that takes longer than `deadline`.

        Another call then continues. The log of a running generation is not deleted: it expires. Raises NotFound and
        StorageError.
        """
        self._stop(user, conversation_id)
        conversations = Conversations(self._table.until(deadline))
        return _in_time(lambda: conversations.remove_messages(user, conversation_id), deadline)

    def erase_user(self, user: str, deadline: float) -> bool:
        """Deletes all data of the user. Returns False if that takes longer than `deadline`.

        Another call then continues. Raises StorageError.
        """
        started_at = erasure_marker.begin(self._table, user)
        return _in_time(lambda: self._erase(user, started_at, deadline), deadline)

    def resume(self, user: str, deadline: float) -> bool:
        """Continues a running erasure, as `erase_user`. Returns True if none is running."""
        started_at = erasure_marker.get(self._table, user)
        return started_at is None or _in_time(lambda: self._erase(user, started_at, deadline), deadline)

    def _erase(self, user: str, started_at: str, deadline: float) -> None:
        table = self._table.until(deadline)
        conversations, erased = Conversations(table), set[str]()
        index_complete_at = time.monotonic() + INDEX_LAG  # then the index has all conversations older than the marker
        complete = False
        try:
            while not complete:
                complete = time.monotonic() > index_complete_at
                remaining = [each.id for each in conversations.all(user) if each.id not in erased]
                running = {each: self._stop_if_erasing(user, each, started_at) for each in remaining}
                for conversation_id, gid in running.items():
                    self._remove(conversations, user, conversation_id, gid, started_at, deadline)
                erased.update(remaining)
                if not complete:
                    time.sleep(max(0.0, min(index_complete_at, deadline) - time.monotonic()) + 0.01)
        except ConditionFailed:  # another call has completed the erasure
            return
        if erasure_marker.get(table, user) == started_at:
            table.clear(keys.facts(user), "F#", "F#~", "ts")
            erasure_marker.end(table, user, started_at)

    def _remove(
        self,
        conversations: Conversations,
        user: str,
        conversation_id: str,
        gid: str | None,
        started_at: str,
        deadline: float,
    ) -> None:
        if gid:
            if not self._generations.wait_for_end(user, gid, deadline):
                raise StorageError
            conversations.remove_log(user, gid)
        conversations.remove_messages(user, conversation_id)
        conversations.remove_marker(
            user, conversation_id, erasure_marker.same_erasure_part(self._table, user, started_at)
        )

    def _stop_if_erasing(self, user: str, conversation_id: str, started_at: str) -> str | None:
        """As `_stop`, with None if the conversation is deleted. Raises ConditionFailed if the erasure has ended."""
        try:
            return self._stop(user, conversation_id, erasure_marker.same_erasure_part(self._table, user, started_at))
        except NotFound:  # the index still lists a deleted conversation
            return None

    def _stop(self, user: str, conversation_id: str, *checks: Any) -> str | None:
        """Marks the conversation as deleted, cancels its running generation and returns the generation's id."""
        running = self._conversations.mark_deleted(user, conversation_id, *checks)
        if running and (record := self._generations.get(user, running)):
            self._generations.cancel(user, record)
        return running


def _in_time(work: Callable[[], None], deadline: float) -> bool:
    """Runs `work`. Returns False if it fails with StorageError after `deadline`."""
    try:
        work()
    except StorageError:
        if time.monotonic() < deadline:
            raise
        return False
    return True
