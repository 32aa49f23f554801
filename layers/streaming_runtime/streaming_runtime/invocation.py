"""What the runtime knows about the invocation that it answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .caller import Caller
from .response import StreamingResponse
from .settings import Settings


@dataclass(slots=True, eq=False)
class Invocation:
    """`deadline` is in seconds since the epoch. `answered`: the response was sent while the handler ran. `failed`: it
    was sent, and the client was told that it failed.
    """

    request_id: str
    invocation_id: str | None = None
    deadline: float = float("inf")
    event: object = None
    caller: Caller = Caller.DIRECT
    after: Sequence[Callable[[], object]] = ()
    answered: bool = False
    failed: bool = False

    def is_streamed(self, response: StreamingResponse, settings: Settings) -> bool:
        """Whether the response is sent as a stream."""
        return self.caller in settings.streaming and (response.raw or self.caller is not Caller.DIRECT)

    def answers_errors(self, settings: Settings) -> bool:
        """Whether an error is sent as an HTTP response. Otherwise it is reported as an error of the invocation."""
        return self.caller in settings.streaming and self.caller is not Caller.DIRECT and not self.is_replay

    @property
    def is_replay(self) -> bool:
        """Whether a stored event of a Function URL is processed again, for example by an asynchronous invocation.

        The event of a Function URL has the request id of its own invocation:
        https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-request-payload
        """
        if self.caller is not Caller.FUNCTION_URL or not isinstance(self.event, dict):
            return False
        of_event: object = self.event["requestContext"].get("requestId", self.request_id)
        return of_event != self.request_id
