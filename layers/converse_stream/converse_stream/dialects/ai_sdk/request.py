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
from converse_stream.protocol.fields import Body, ConversationId, ModelName, ReadableText, UtcOffset
from converse_stream.protocol.options import Options
from converse_stream.settings import Settings

MAX_BODY_BYTES = 4 * 1024 * 1024  # the client sends all messages in each request; Lambda accepts 6 MB

_MessageId = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class _Lenient(Body):
    """Unknown fields are ignored: a front end may have its own."""

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
    model: ModelName | None = None
    options: Options = Options()
    utc_offset: UtcOffset | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """`POST /ai/chat`: the last message of a conversation, which is answered, or answered again.

    The messages before it are not read: the table has them.
    """

    id: str  # set by the client, or by us if the client has loaded the message
    text: str
    conversation: str
    regenerates: bool
    answer: str | None  # the id of the answer to replace, if the request has it
    model: str | None
    options: Options
    utc_offset: str | None

    def key(self, *replaced: str) -> str:
        """The idempotency key of the message's first answer, or of an answer that replaces the answer `replaced`."""
        return hashlib.sha256(json.dumps(["ai-sdk", self.conversation, self.id, *replaced]).encode()).hexdigest()

    def request(self, action: Literal["send", "regenerate"]) -> ChatRequest:
        """The request as of `POST /chat`: to answer the message, or to answer it again."""
        message = {"message": {"text": self.text}} if action == "send" else {}
        return ChatRequest.model_validate(
            {
                **message,
                "action": action,
                "conversationId": self.conversation,
                "model": self.model,
                "options": self.options,
                "utcOffset": self.utc_offset,
            }
        )


def parse_question(request: HttpRequest, settings: Settings) -> Question:
    """The parsed body of `POST /ai/chat`. Raises UnsupportedMediaType, TooLarge, BadRequest."""
    body = parse(AiChatRequest, request.json_body(MAX_BODY_BYTES))
    index = len(body.messages) - 1
    try:
        last = _Question.model_validate(body.messages[index])
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
        raise refusal([{**each, "loc": ("messages", index, *each["loc"])} for each in errors]) from None
    regenerates = body.trigger == "regenerate-message"
    if body.message_id is not None and not regenerates:
        raise BadRequest("A message cannot be edited; send a new one.", field="messageId")
    answer = body.message_id if body.message_id != last.id else None
    text = check_text("\n".join(part.text for part in last.parts), settings.max_message_chars, f"messages.{index}")
    return Question(last.id, text, body.id, regenerates, answer, body.model, body.options, body.utc_offset)
