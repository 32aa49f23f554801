"""The request bodies of the native routes. Unknown fields are refused, and every size has a limit."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import StringConstraints

from converse_stream.http.request import HttpRequest
from converse_stream.http.validation import check_text, parse
from converse_stream.protocol.errors import BadRequest
from converse_stream.protocol.fields import (
    MAX_LENGTH,
    Body,
    ConversationId,
    ModelName,
    NonBlankNormalized,
    NonBlankText,
    Normalized,
    UtcOffset,
)
from converse_stream.protocol.ids import new_id
from converse_stream.protocol.options import Options
from converse_stream.settings import Settings


class NewMessage(Body):
    """The user's message."""

    text: NonBlankText


class ChatRequest(Body):
    """`POST /chat`. `regenerate` replaces the last answer, `continue` continues it."""

    message: NewMessage | None = None
    action: Literal["send", "regenerate", "continue"] = "send"
    conversation_id: ConversationId | None = None
    model: ModelName | None = None
    options: Options = Options()
    utc_offset: UtcOffset | None = None


class CancelRequest(Body):
    """`POST /chat/{conversation}/cancel`. Without an id, the running generation is cancelled."""

    generation_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")] | None = None


Title = Annotated[str, StringConstraints(min_length=1, max_length=200), NonBlankNormalized]


class NewConversation(Body):
    """`POST /conversations`. The client may choose the id."""

    id: ConversationId | None = None
    title: Title | None = None


class ConversationChange(Body):
    """`PATCH /conversations/{id}`."""

    title: Title


class NewFact(Body):
    """`POST /memory`."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_LENGTH), NonBlankNormalized]
    kind: Literal["fact", "preference"] = "fact"


# Restricted to the characters of a name: it is in every prompt, and background tasks learn it from messages.
AssistantName = Annotated[str, StringConstraints(pattern=r"^[^\W_][\w .'\u2019-]{0,39}$"), Normalized]


class NewProfile(Body):
    """`PUT /profile`: the name of the user, the name of the assistant for this user, and more about the user."""

    name: Annotated[str, StringConstraints(max_length=100), Normalized] | None = None
    assistant_name: AssistantName | None = None
    about: Annotated[str, StringConstraints(max_length=1_000), Normalized] | None = None
    learning: bool | None = None  # stays as it is if it is absent: a form may not have this field


class ProfileChange(NewProfile):
    """`PATCH /profile`: the fields to change. Null removes a text; for `learning` it changes nothing."""


IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,128}")
CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Send:
    """The identity of a send: the idempotency key, and a fingerprint of the body without `utcOffset`."""

    key: str
    fingerprint: str


def parse_send(headers: Mapping[str, str], body: ChatRequest) -> Send:
    """Returns the send of a request. Without the header, its key is a new one. Raises BadRequest."""
    key = headers.get("idempotency-key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise BadRequest("Idempotency-Key must be 1 to 128 visible characters.", field="idempotency-key")
    content = body.model_dump_json(exclude={"utc_offset"})  # the same send, also if the user's clock has changed
    return Send(key or new_id(), hashlib.sha256(content.encode()).hexdigest()[:32])


def parse_client_id(headers: Mapping[str, str]) -> str | None:
    """The id of the browser tab, None without the header. Raises BadRequest."""
    client = headers.get("x-client-id")
    if client is not None and not CLIENT_ID.fullmatch(client):
        raise BadRequest("X-Client-Id must be 1 to 64 letters, digits, - or _.", field="x-client-id")
    return client


def parse_chat(request: HttpRequest, settings: Settings) -> ChatRequest:
    """Parses the body of `POST /chat`. Raises UnsupportedMediaType, TooLarge, BadRequest."""
    return check_chat(parse(ChatRequest, request.json_body(settings.max_body_bytes)), settings)


def parse_cancel(request: HttpRequest, settings: Settings) -> CancelRequest:
    """Parses the body of a cancel request, which may be empty. Raises what `parse_chat` raises."""
    return parse(CancelRequest, request.json_body(settings.max_body_bytes)) if request.raw_body else CancelRequest()


def check_chat(body: ChatRequest, settings: Settings) -> ChatRequest:
    """Returns the body, if it fits its action and is within the limits. Raises BadRequest, TooLarge."""
    if body.action == "send":
        if body.message is None:
            raise BadRequest("message is required.", field="message")
        check_text(body.message.text, settings.max_message_chars, "message.text")
    elif body.message is not None:
        raise BadRequest(f"message is not allowed with action {body.action}.", field="message")
    elif body.conversation_id is None:
        raise BadRequest("conversationId is required.", field="conversationId")
    return body
