"""Deletions within a request. If one takes too long or fails, a background task continues it."""

import time
from collections.abc import Callable

from converse_stream.dispatch.learning import Invoker, start_task
from converse_stream.protocol.errors import DispatchFailed, StorageError
from converse_stream.store.erasure import Erasure
from converse_stream.telemetry import logger


class Deletion:
    """Runs deletions. `invoker` returns the client for the tasks, and `function` is the task function."""

    def __init__(self, erasure: Erasure, invoker: Callable[[], Invoker], function: str) -> None:
        self._erasure = erasure
        self._invoker = invoker
        self._function = function

    def run(self, user: str, conversation_id: str | None, seconds: float) -> bool:
        """Deletes a conversation, or all data of the user if `conversation_id` is None.

        Returns whether that ended within `seconds`. If not, a task continues it. Raises NotFound and StorageError;
        after the latter a task continues too.
        """
        deadline = time.monotonic() + seconds
        try:
            if conversation_id is None:
                done = self._erasure.erase_user(user, deadline)
            else:
                done = self._erasure.delete_conversation(user, conversation_id, deadline)
        except StorageError:
            self.dispatch(user, conversation_id)
            raise
        if not done:
            self.dispatch(user, conversation_id)
        return done

    def dispatch(self, user: str, conversation_id: str | None) -> None:
        """Starts a task that continues a deletion.

        Never raises: the next request that finds the unfinished deletion starts a task again.
        """
        scope = {} if conversation_id is None else {"conversation": conversation_id}
        try:
            start_task(self._invoker(), self._function, {"task": "erase", "user": user, **scope})
        except DispatchFailed as error:
            logger.warning("deletion task not started", extra={"cause": type(error.__cause__).__name__})
