"""One HTTP request with all that its route needs, and the shapes of its answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream import service
from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.dialects import sse
from converse_stream.generation.generation import Generation
from converse_stream.http.bodies import parse_client_id
from converse_stream.http.request import HttpRequest, json_bytes
from converse_stream.store.generation_record import GenerationRecord
from streaming_runtime import StreamingResponse

JSON = {"content-type": "application/json", "cache-control": "no-store"}

Work: TypeAlias = Sequence[Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Exchange:
    """`named` is what stands in the path for the route's `{}`; `headers` go with every answer."""

    app: Container
    request: HttpRequest
    user: User
    context: LambdaContext
    named: str
    headers: Mapping[str, str]

    def source(self, started: Generation | GenerationRecord, after: int | None = None) -> sse.Source:
        """A turn that begins here, or a view of one that began elsewhere, from behind a position."""
        if isinstance(started, Generation):
            return started
        client = parse_client_id(self.request.headers)
        following = service.follow(self.app, self.user, started, self.context, after=after, client=client)
        following.attach()
        return following

    def after(self, started: Generation | GenerationRecord) -> Work:
        """What is left to be done when the answer has been sent."""
        return [partial(self.app.learning.dispatch, self.user, started)]

    def stream(
        self,
        source: sse.Source,
        dialect: sse.Dialect,
        headers: Mapping[str, str] = sse.HEADERS,
        after: Work = (),
    ) -> StreamingResponse:
        """The source as it speaks, in a dialect."""
        return StreamingResponse(sse.frames(source, dialect), headers={**headers, **self.headers}, after=after)

    def json(self, body: object, status: int = 200, after: Work = ()) -> StreamingResponse:
        """An answer in one piece that no cache keeps."""
        return StreamingResponse([json_bytes(body)], status=status, headers={**JSON, **self.headers}, after=after)

    def nothing(self) -> StreamingResponse:
        """There is nothing to follow."""
        return StreamingResponse([], status=204, headers=self.headers)
