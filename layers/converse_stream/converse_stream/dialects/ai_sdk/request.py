"""The request of the npm package `ai`, versions 5 to 7, as its `useChat` sends it."""

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StringConstraints, ValidationError

from converse_stream.http.bodies import ChatRequest
from converse_stream.http.request import HttpRequest
from converse_stream.http.validation import check_text, parse, refusal
from converse_stream.protocol.errors import BadRequest
from converse_stream.protocol.fields import Alias, Body, ConversationId, ReadableText
from converse_stream.protocol.options import Options
from converse_stream.settings import Settings

MAX_BODY_BYTES = 4 * 1024 * 1024  # the client sends all its messages each time; Lambda takes 6 MB

_MessageId = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class _Lenient(Body):
    """A front end's own fields beside the ones we know are its own business."""

    model_config = ConfigDict(extra="ignore")


class _Text(_Lenient):
    type: Literal["text"]
    text: ReadableText


class _Question(_Lenient):
    id: _MessageId
    role: Literal["user"]
    parts: Annotated[list[_Text], Field(max_length=1_000)]


class AiChatRequest(_Lenient):
    """`POST /ai/chat`, as `useChat` sends it. Of `messages` the last is read: a text of the user's, with its id."""

    id: ConversationId
    messages: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=10_000)]
    trigger: Literal["submit-message", "regenerate-message"] = "submit-message"
    message_id: _MessageId | None = None
    model: Alias | None = None
    options: Options = Options()


@dataclass(frozen=True, slots=True)
class Question:
    """`POST /ai/chat`: the last message of a conversation, to be answered, or answered again.

    The messages before it are the client's memory of what is stored here; they are not read.
    """

    id: str  # the client's, or ours where it was loaded from us
    text: str
    conversation: str
    regenerates: bool
    answer: str | None  # the one to be made again, where it is named
    model: str | None
    options: Options

    def key(self, *instead: str) -> str:
        """The idempotency key of its first send, or of the wish for another answer `instead` of a named one."""
        return hashlib.sha256(json.dumps(["ai-sdk", self.conversation, self.id, *instead]).encode()).hexdigest()

    def request(self, action: Literal["send", "regenerate"]) -> ChatRequest:
        """What is asked of us: to answer it, or to answer it again."""
        message = {"message": {"text": self.text}} if action == "send" else {}
        return ChatRequest.model_validate(
            {
                **message,
                "action": action,
                "conversationId": self.conversation,
                "model": self.model,
                "options": self.options,
            }
        )


def parse_question(request: HttpRequest, settings: Settings) -> Question:
    """The body of `POST /ai/chat`. Raises UnsupportedMediaType, TooLarge, BadRequest."""
    body = parse(AiChatRequest, request.json_body(MAX_BODY_BYTES))
    place = len(body.messages) - 1
    try:
        last = _Question.model_validate(body.messages[place])
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        raise refusal([{**each, "loc": ("messages", place, *each["loc"])} for each in errors]) from None
    regenerates = body.trigger == "regenerate-message"
    if body.message_id is not None and not regenerates:
        raise BadRequest("A message cannot be edited; send a new one.", field="messageId")
    answer = body.message_id if body.message_id != last.id else None
    text = check_text("\n".join(part.text for part in last.parts), settings.max_message_chars, f"messages.{place}")
    return Question(last.id, text, body.id, regenerates, answer, body.model, body.options)
