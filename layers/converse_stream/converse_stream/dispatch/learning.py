"""Starts tasks by asynchronous invocations of Lambda. The caller does not wait, and Lambda tries each three times.

`converse_stream.tasks` runs them in invocations of their own. The event of a learning task names the generation and
holds no text, because it may stay in the dead letter queue for two weeks.
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

# Who gets an answer in one piece waits for it, and what is lost is little.
DISPATCH_SECONDS = 1.0  # of the one attempt


class Invoker(Protocol):
    """What we need of boto3's Lambda client."""

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> Mapping[str, Any]:
        """See boto3."""


class Learning:
    """`invoker` is None where nothing is to be learned of anybody; `function` runs the tasks."""

    def __init__(self, invoker: Invoker | None, function: str, flags: FlagProvider) -> None:
        self._invoker = invoker
        self._function = function
        self._flags = flags

    def is_enabled_for(self, user: str) -> bool:
        """Whether the deployment learns from this user; the user may not want it all the same.

        Raises FlagsUnknown: who may be switched off is not learned from until that is known.
        """
        return self._invoker is not None and self._flags.confirmed_for(user).learning

    def dispatch(self, user: User, started: Generation | GenerationRecord) -> None:
        """After an answer that is stored, whoever made it has it learned from. Never raises.

        Not one that the caller's own key has paid for: their budget in dollars does not bound what a lesson costs us.
        """
        if isinstance(started, GenerationRecord) or not isinstance(started.wait(0, 0)[-1].event, Complete):
            return
        if self._invoker is not None and user.bedrock_key is None and self._flags.for_user(user.key).learning:
            try:
                self.start(self._function, {"task": "learn", "user": user.key, "generation": started.generation_id})
            except DispatchFailed as error:
                reason = type(error.__cause__).__name__
                logger.warning(
                    "an answer is not learned from", extra={"generation": started.generation_id, "cause": reason}
                )

    def start(self, function: str, event: Mapping[str, Any]) -> None:
        """Starts a task. Raises HandOverFailed."""
        if self._invoker is None:
            raise DispatchFailed
        start_task(self._invoker, function, event)


def start_task(invoker: Invoker, function: str, event: Mapping[str, Any]) -> None:
    """Invokes the function asynchronously with the event. Raises HandOverFailed."""
    try:
        answer = invoker.invoke(FunctionName=function, InvocationType="Event", Payload=json_bytes(event))
        answer["Payload"].read()  # nothing, but only then is the connection free for the next one
    except (BotoCoreError, ClientError) as error:
        raise DispatchFailed from error
