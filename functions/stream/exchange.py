"""One HTTP request with everything that its route needs, and its kinds of response."""

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

NO_HEADERS: Mapping[str, str] = {}
JSON = {"content-type": "application/json", "cache-control": "no-store"}

Work: TypeAlias = Sequence[Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Exchange:
    """`path_id` is the id in the path, empty without one; `headers` are sent with every response."""

    app: Container
    request: HttpRequest
    user: User
    context: LambdaContext
    path_id: str
    headers: Mapping[str, str]

    def source(self, started: Generation | GenerationRecord, after: int | None = None) -> sse.Source:
        """The generation, or a follower of one that another invocation runs, from a position on."""
        if isinstance(started, Generation):
            return started
        client = parse_client_id(self.request.headers)
        follower = service.follow(self.app, self.user, started, self.context, after=after, client=client)
        follower.attach()
        return follower

    def after(self, started: Generation | GenerationRecord) -> Work:
        """The work to do when the response has been sent."""
        return [partial(self.app.learning.dispatch, self.user, started)]

    def stream(
        self,
        source: sse.Source,
        dialect: sse.Dialect,
        headers: Mapping[str, str] = sse.HEADERS,
        after: Work = (),
    ) -> StreamingResponse:
        """The events of the source as a stream, in a dialect."""
        return StreamingResponse(sse.frames(source, dialect), headers={**headers, **self.headers}, after=after)

    def json(
        self, body: object, status: int = 200, after: Work = (), headers: Mapping[str, str] = NO_HEADERS
    ) -> StreamingResponse:
        """A JSON response that is not cached."""
        headers = {**JSON, **headers, **self.headers}
        return StreamingResponse([json_bytes(body)], status=status, headers=headers, after=after)

    def no_content(self) -> StreamingResponse:
        """204: there is nothing to follow."""
        return StreamingResponse([], status=204, headers=self.headers)
