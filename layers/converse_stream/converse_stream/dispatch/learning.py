"""Starts tasks as asynchronous invocations of Lambda. The caller does not wait, and Lambda tries each task three times.

`converse_stream.tasks` runs the tasks. The event of a learning task has the id of the generation and no text, because
it may stay in the dead letter queue for two weeks.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from converse_stream.auth import User
from converse_stream.flags.feature_flags import FlagProvider
from converse_stream.generation.generation import Generation
from converse_stream.http.request import json_bytes
from converse_stream.protocol.errors import DispatchFailed
from converse_stream.protocol.events import Complete
from converse_stream.store.generation_record import GenerationRecord
from converse_stream.telemetry import logger

# Time for the only attempt. It is short: clients of answers in one piece wait for it, and a lost task is no great loss.
DISPATCH_SECONDS = 1.0


class Invoker(Protocol):
    """Starts invocations of Lambda functions, as `converse_stream.aws.functions` does."""

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> Mapping[str, Any]:
        """Starts an invocation. Raises the errors of botocore."""


class Learning:
    """Starts learning tasks. `invoker` is None if learning is disabled. `function` is the task function."""

    def __init__(self, invoker: Invoker | None, function: str, flags: FlagProvider) -> None:
        self._invoker = invoker
        self._function = function
        self._flags = flags

    def is_enabled_for(self, user: str) -> bool:
        """Whether the deployment and the flags allow learning from this user. The profile may still forbid it.

        Raises FlagsUnavailable if the flags could not be read: a user may be excluded by them.
        """
        return self._invoker is not None and self._flags.confirmed_for(user).learning

    def dispatch(self, user: User, started: Generation | GenerationRecord) -> None:
        """Starts the learning task for a stored answer, if this invocation generated it. Never raises.

        There is no task if the request had its own Bedrock key: the budget of the user does not limit its costs then.
        """
        if isinstance(started, GenerationRecord) or not isinstance(started.wait(0, 0)[-1].event, Complete):
            return
        if self._invoker is not None and user.bedrock_key is None and self._flags.for_user(user.key).learning:
            try:
                self.start(self._function, {"task": "learn", "user": user.key, "generation": started.generation_id})
            except DispatchFailed as error:
                reason = type(error.__cause__).__name__
                logger.warning(
                    "learning task not started", extra={"generation": started.generation_id, "cause": reason}
                )

    def start(self, function: str, event: Mapping[str, Any]) -> None:
        """Starts a task. Raises DispatchFailed."""
        if self._invoker is None:
            raise DispatchFailed
        start_task(self._invoker, function, event)


def start_task(invoker: Invoker, function: str, event: Mapping[str, Any]) -> None:
    """Invokes the function asynchronously with the event. Raises DispatchFailed."""
    try:
        response = invoker.invoke(FunctionName=function, InvocationType="Event", Payload=json_bytes(event))
        response["Payload"].read()  # it is empty, but this returns the connection to the pool
    except (BotoCoreError, ClientError) as error:
        raise DispatchFailed from error
