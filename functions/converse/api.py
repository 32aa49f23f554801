"""What the routes share: the resolver, the container, and the request that is being answered."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.openapi.params import Path
from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.http.request import ID, json_bytes

NO_HEADERS: Mapping[str, str] = {}
Id = Annotated[str, Path(pattern=ID)]


@dataclass(frozen=True, slots=True)
class Api:
    """`resolver` holds the request in its context, from `begin` to the end of its route."""

    app: Container
    resolver: APIGatewayHttpResolver

    def begin(self, user: User, context: LambdaContext, headers: Mapping[str, str], body: bytes) -> None:
        """Sets the request that the next route answers."""
        self.resolver.append_context(  # type: ignore[no-untyped-call]  # Powertools ships it untyped
            user=user, context=context, headers=headers, body=body
        )

    @property
    def user(self) -> User:
        """The authenticated user."""
        user: User = self.resolver.context["user"]
        return user

    @property
    def context(self) -> LambdaContext:
        """Lambda's context of this invocation."""
        context: LambdaContext = self.resolver.context["context"]
        return context

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's headers, names in lower case."""
        headers: Mapping[str, str] = self.resolver.context["headers"]
        return headers

    @property
    def body(self) -> bytes:
        """The request's body, empty when there is none."""
        body: bytes = self.resolver.context["body"]
        return body


def reply(body: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> Response[str]:
    """A JSON response that is not cached."""
    return Response(status, "application/json", json_bytes(body).decode(), {"cache-control": "no-store", **headers})


def deletion(api: Api, conversation_id: str | None) -> Response[str]:
    """Deletes the conversation, or everything of the user for None: 204 when done, 202 when a task continues."""
    done = api.app.deletion.run(api.user.key, conversation_id, api.app.settings.buffered_turn_seconds)
    return Response(204, body="") if done else reply({"status": "accepted"}, 202, {"retry-after": "1"})
