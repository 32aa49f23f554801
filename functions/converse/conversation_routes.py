"""Conversations: their list, their messages, and changes of one."""

from typing import Annotated, Any

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Query

from api import Api, Id, deletion, reply
from converse_stream import service
from converse_stream.dialects import native
from converse_stream.http import cursors
from converse_stream.http.bodies import ConversationChange, NewConversation
from converse_stream.protocol.ids import new_id
from converse_stream.store.conversations import Conversation

Limit = Annotated[int, Query(ge=1, le=100)]
Cursor = Annotated[str | None, Query(max_length=300)]


def add_routes(api: Api) -> None:
    """Adds the routes to the resolver."""
    app, resolver = api.app, api.resolver

    @resolver.get("/conversations")
    def conversations(limit: Limit = 50, cursor: Cursor = None) -> Response[str]:
        """Returns the user's conversations, latest change first."""
        before = cursors.read_change(cursor) if cursor else None
        page, more = app.conversations.page(api.user.key, limit=limit, before=before)
        items = [_conversation(conversation) for conversation in page]
        return reply({"conversations": items} | ({"cursor": cursors.write(*more)} if more else {}))

    @resolver.post("/conversations")
    def create_conversation(body: NewConversation) -> Response[str]:
        """Creates a conversation before its first message."""
        return reply(_conversation(app.conversations.create(api.user.key, body.id or new_id(), body.title)), 201)

    @resolver.get("/conversations/<conversation>")
    def get_conversation(conversation: Id) -> Response[str]:
        """Returns one conversation; `active` is the id of its running generation."""
        known = app.conversations.get(api.user.key, conversation)
        if known.deleted or known.updated_at is None:
            raise known.not_found()
        running = service.running(app, api.user, conversation)
        active = running.gid if running and running.status == "run" else None
        return reply(_conversation(known) | ({"active": active} if active else {}))

    @resolver.patch("/conversations/<conversation>")
    def rename_conversation(conversation: Id, body: ConversationChange) -> Response[str]:
        """Sets the title."""
        return reply(_conversation(app.conversations.rename(api.user.key, conversation, body.title)))

    @resolver.delete("/conversations/<conversation>")
    def delete_conversation(conversation: Id) -> Response[str]:
        """Deletes the conversation with its messages and cancels a running generation."""
        return deletion(api, conversation)

    @resolver.get("/conversations/<conversation>/messages")
    def messages(conversation: Id, limit: Limit = 50, cursor: Cursor = None) -> Response[str]:
        """Returns the latest messages, oldest first; `cursor` leads to older ones."""
        before = cursors.read_seq(cursor) if cursor else None
        page, older = app.conversations.messages(api.user.key, conversation, limit=limit, before=before)
        items = [native.message(message) for message in page]
        return reply({"messages": items} | ({"cursor": cursors.write(older)} if older else {}))


def _conversation(known: Conversation) -> dict[str, Any]:
    title = {"title": known.name} if known.name else {}
    return {"id": known.id, "updatedAt": known.updated_at, **title}
