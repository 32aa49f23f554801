"""Use cases of a generation that has started: follow it, find it, cancel it."""

import time

from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.generation.follower import Follower
from converse_stream.protocol.errors import NotActive, NotFound
from converse_stream.protocol.events import Message
from converse_stream.protocol.ids import age
from converse_stream.store.generation_record import GenerationRecord


def follow(
    app: Container,
    user: User,
    record: GenerationRecord,
    context: LambdaContext,
    *,
    after: int | None = None,
    client: str | None = None,
    max_seconds: float = float("inf"),
) -> Follower:
    """Returns a follower of a generation. It ends after `max_seconds`, and a margin before Lambda's deadline."""
    seconds = context.get_remaining_time_in_millis() / 1000 - app.settings.deadline_margin_seconds
    return Follower(
        app.generations,
        app.conversations,
        user.key,
        record,
        after=after,
        client=client,
        request_id=context.aws_request_id,
        deadline=time.monotonic() + min(seconds, max_seconds),
    )


def running(app: Container, user: User, conversation_id: str, gid: str | None = None) -> GenerationRecord | None:
    """Returns the generation `gid`, else the active one; None if there is none, or if its log has expired.

    Raises NotFound if the user has no such conversation, or if the generation belongs to another conversation.
    """
    conversation = app.conversations.get(user.key, conversation_id)
    if conversation.deleted or not (conversation.seq or conversation.updated_at):
        raise conversation.not_found()
    gid = gid or conversation.active
    record = app.generations.get_or_reap(user.key, gid) if gid else None
    if record and record.conversation != conversation_id:
        raise NotFound
    return record


def latest(app: Container, user: User, conversation_id: str, *, within: float) -> GenerationRecord | None:
    """Returns the active generation of a conversation, else its last one if that is at most `within` seconds old."""
    conversation, newest = app.conversations.recent(user.key, conversation_id, 1)
    if conversation.deleted:
        return None
    gid = conversation.active
    match newest:
        case [Message(role="assistant") as message] if gid is None and age(message.created_at) < within:
            gid = message.generation_id
    return app.generations.get_or_reap(user.key, gid) if gid else None


def cancel(app: Container, user: User, conversation_id: str, gid: str | None) -> None:
    """Cancels the active generation, if there is one. Raises NotFound, and NotActive if `gid` is another generation."""
    active = app.conversations.get(user.key, conversation_id).active
    record = running(app, user, conversation_id)
    if gid is not None and gid != active:
        raise NotActive
    if record:
        app.generations.cancel(user.key, record)


def cancel_and_wait(app: Container, user: User, gid: str, seconds: float) -> bool:
    """Cancels a generation and waits for its end. Returns whether it ended within `seconds`."""
    if record := app.generations.get(user.key, gid):
        app.generations.cancel(user.key, record)
    return app.generations.wait_for_end(user.key, gid, time.monotonic() + seconds)
