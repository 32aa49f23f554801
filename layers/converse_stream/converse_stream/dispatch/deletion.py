"""A deletion that its caller waits for. Where that takes too long or fails, a task goes on with it."""

import time
from collections.abc import Callable

from converse_stream.dispatch.learning import Invoker, start_task
from converse_stream.protocol.errors import DispatchFailed, StorageError
from converse_stream.store.erasure import Erasure
from converse_stream.telemetry import logger


class Deletion:
    """`invoker` makes the client when the first task is started; `function` runs the tasks."""

    def __init__(self, erasure: Erasure, invoker: Callable[[], Invoker], function: str) -> None:
        self._erasure = erasure
        self._invoker = invoker
        self._function = function

    def run(self, user: str, conversation_id: str | None, seconds: float) -> bool:
        """Whether the conversation, or all of the user's for None, is gone within so many seconds.

        If not, a task goes on. Raises NotFound and StorageError.
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
        """Starts a task that goes on with a deletion. Never raises: whoever looks next may start it too."""
        named = {} if conversation_id is None else {"conversation": conversation_id}
        try:
            start_task(self._invoker(), self._function, {"task": "erase", "user": user, **named})
        except DispatchFailed as error:
            logger.warning("a deletion is not handed over", extra={"cause": type(error.__cause__).__name__})
