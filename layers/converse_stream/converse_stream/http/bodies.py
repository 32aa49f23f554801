"""What callers may send. Unknown fields are refused, every size is bounded, and every refusal names its field."""

import hashlib
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError, from_json

from converse_stream.http.request import ID, HttpRequest
from converse_stream.protocol.errors import BadRequest, TooLarge
from converse_stream.protocol.ids import new_id
from converse_stream.settings import Settings

ConversationId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
Alias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
MAX_LENGTH = 1_000_000  # the hard ceiling of a text; the deployment's own limits are settings, checked in `bounded`

_CONTROL = re.compile(r"[\x00-\x08\v\f\x0e-\x1f\x7f-\x9f]")


def _readable(text: str) -> str:
    """Without control characters: some break a line, the others say nothing to a reader or a model."""
    return _CONTROL.sub(lambda found: "\n" if found[0] in "\v\f\x85" else "", text)


def normal(text: str) -> str:
    """As it is listed and compared: NFC, without control characters and space around it."""
    return unicodedata.normalize("NFC", _readable(text)).strip()


def _said(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "is blank")
    return text


# What is said is kept as it was sent, but for control characters; what is shown in lists and looked for is normal.
Said = Annotated[str, StringConstraints(max_length=MAX_LENGTH), AfterValidator(_readable)]
Text = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_LENGTH), AfterValidator(_readable), AfterValidator(_said)
]
Normal = AfterValidator(normal)
Named = AfterValidator(lambda text: _said(normal(text)))


def fits(value: Any, levels: int = 32) -> bool:
    """Whether Bedrock takes it as part of a document: nested no deeper than so, and numbers that others can read."""
    match value:
        case dict():
            return levels > 0 and all(fits(each, levels - 1) for each in value.values())
        case list():
            return levels > 0 and all(fits(each, levels - 1) for each in value)
        case float():
            return math.isfinite(value)
        case int():
            return -(2**63) <= value < 2**63
    return True


def _document(value: dict[str, Any]) -> dict[str, Any]:
    if not fits(value):
        raise PydanticCustomError("document", "nests too deep, or has a number that is out of range")
    return value


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("type") != "object":
        raise PydanticCustomError("schema", "must be of type object")
    return schema


Document = Annotated[dict[str, Any], AfterValidator(_document)]
Schema = Annotated[Document, AfterValidator(_object)]  # JSON Schema of an answer


class Body(BaseModel):
    """Base of every request: camelCase on the wire, no unknown fields, no coercion."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, frozen=True)


class NewMessage(Body):
    """The user's message."""

    text: Text


class Options(Body):
    """How the model should answer; the model's own defaults where nothing is said."""

    max_tokens: int | None = Field(default=None, ge=1, le=200_000)
    temperature: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    top_p: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    stop: (
        Annotated[list[Annotated[str, StringConstraints(min_length=1, max_length=100)]], Field(max_length=4)] | None
    ) = None
    reasoning: Literal["low", "medium", "high"] | None = None
    service_tier: Literal["priority", "flex"] | None = None
    latency: Literal["optimized"] | None = None
    answer_schema: Schema | None = Field(default=None, alias="schema")  # the answer's text is JSON of this schema


class ChatRequest(Body):
    """`POST /chat`. `regenerate` answers the last message again, `continue` goes on with the last answer."""

    message: NewMessage | None = None
    action: Literal["send", "regenerate", "continue"] = "send"
    conversation_id: ConversationId | None = None
    model: Alias | None = None
    options: Options = Options()


class CancelRequest(Body):
    """`POST /chat/{conversation}/cancel`; nothing named means whatever is being made."""

    generation_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")] | None = None


Title = Annotated[str, StringConstraints(min_length=1, max_length=200), Named]


class NewConversation(Body):
    """`POST /conversations`; the id may be the caller's."""

    id: ConversationId | None = None
    title: Title | None = None


class ConversationChange(Body):
    """`PATCH /conversations/{id}`."""

    title: Title


class NewFact(Body):
    """`POST /memory`."""

    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_LENGTH), Named]
    kind: Literal["fact", "preference"] = "fact"


# A name and no more: it is in every prompt, and may be learned from what the user says.
AssistantName = Annotated[str, StringConstraints(pattern=r"^[^\W_][\w .'\u2019-]{0,39}$"), Normal]


class NewProfile(Body):
    """`PUT /profile`: how the user wants to be addressed, and what the assistant is called for them."""

    name: Annotated[str, StringConstraints(max_length=100), Normal] | None = None
    assistant_name: AssistantName | None = None
    about: Annotated[str, StringConstraints(max_length=1_000), Normal] | None = None
    learning: bool | None = None  # where nothing is said, the user's choice stays as it is: forms may not know of it


class ProfileChange(NewProfile):
    """`PATCH /profile`: what is to change of it. Null takes a text away, and changes nothing of `learning`."""


class TitleTask(Body):
    """Direct invocation: a title for a conversation that begins with `text`."""

    task: Literal["title"]
    text: Text


class ClassifyTask(Body):
    """Direct invocation: the one of `labels` that fits `text` best."""

    task: Literal["classify"]
    text: Text
    labels: Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=50)]], Field(min_length=2, max_length=20)
    ]


class LearnTask(Body):
    """Handed over after an answer: what is there to be learned from `generation`, one of `user`'s by its key."""

    task: Literal["learn"]
    user: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    generation: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]


class EraseTask(Body):
    """Handed over when a deletion takes too long: it goes on, in one conversation or with all of the user's."""

    task: Literal["erase"]
    user: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    conversation: Annotated[str, StringConstraints(pattern=ID)] | None = None


IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,128}")
CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

B = TypeVar("B", bound=Body)

# pydantic's error types, in our words; `ctx` fills the braces.
_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not a known field",
    "string_type": "must be a string",
    "string_too_short": "must not be empty",
    "string_too_long": "is longer than {max_length} characters",
    "string_pattern_mismatch": "has characters or a length that are not allowed",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "list_type": "must be a list",
    "too_long": "has more than {max_length} entries",
    "too_short": "has fewer than {min_length} entries",
    "literal_error": "must be one of {expected}",
    "model_type": "must be an object",
    "model_attributes_type": "must be an object",
    "string_unicode": "is not valid Unicode",
    "blank": "is blank",
    "document": "nests too deep, or has a number that is out of range",
    "schema": "must be of type object",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "is out of range",
}


def parse(model: type[B], body: bytes) -> B:
    """Raises BadRequest, which names the first wrong field."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise refusal(error.errors(include_url=False, include_input=False)) from None


@dataclass(frozen=True, slots=True)
class Send:
    """What makes two sends the same: the caller's key, and what was said with it."""

    key: str
    fingerprint: str


def send_of(headers: Mapping[str, str], body: ChatRequest) -> Send:
    """The caller's idempotency key, or one of our own, which protects from nothing. Raises BadRequest."""
    key = headers.get("idempotency-key")
    if key is not None and not IDEMPOTENCY_KEY.fullmatch(key):
        raise BadRequest("Idempotency-Key must be 1 to 128 visible characters.", field="idempotency-key")
    return Send(key or new_id(), hashlib.sha256(body.model_dump_json().encode()).hexdigest()[:32])


def client_of(headers: Mapping[str, str]) -> str | None:
    """What a browser tab calls itself. Raises BadRequest."""
    client = headers.get("x-client-id")
    if client is not None and not CLIENT_ID.fullmatch(client):
        raise BadRequest("X-Client-Id must be 1 to 64 letters, digits, - or _.", field="x-client-id")
    return client


def check_json(body: bytes) -> None:
    """Raises BadRequest for what is not a JSON object: lone surrogates and bottomless nesting included."""
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise BadRequest("The body is not valid JSON.", field="body") from None
    if not isinstance(value, dict):
        raise BadRequest("The body must be an object.", field="body")


def refusal(errors: Sequence[Mapping[str, Any]]) -> BadRequest:
    """The first of pydantic's errors as one of ours."""
    first = errors[0]
    field = ".".join(str(step) for step in first["loc"])[:100]
    if first["type"] == "json_invalid":
        return BadRequest("The body is not valid JSON.", field="body")
    words = _WORDS.get(first["type"], "is not valid").format(**first.get("ctx", {}))
    return BadRequest(f"{field or 'The body'} {words}.", field=field or "body")


def bounded(text: str, limit: int, field: str) -> str:
    """The text, if the deployment's limit allows it and it says anything at all."""
    if len(text) > limit:
        raise TooLarge(f"{field} is longer than {limit} characters.", field=field)
    if not text.strip():
        raise BadRequest(f"{field} is blank.", field=field)
    return text


def parse_chat(request: HttpRequest, settings: Settings) -> ChatRequest:
    """The body of `POST /chat`. Raises UnsupportedMediaType, TooLarge, BadRequest."""
    return checked_chat(parse(ChatRequest, request.json_body(settings.max_body_bytes)), settings)


def parse_cancel(request: HttpRequest, settings: Settings) -> CancelRequest:
    """The body of a cancel, which may be empty."""
    return parse(CancelRequest, request.json_body(settings.max_body_bytes)) if request.raw_body else CancelRequest()


def checked_chat(body: ChatRequest, settings: Settings) -> ChatRequest:
    """The same, if it makes sense and is within the deployment's limits."""
    if body.action == "send":
        if body.message is None:
            raise BadRequest("message is required.", field="message")
        bounded(body.message.text, settings.max_message_chars, "message.text")
    elif body.message is not None:
        raise BadRequest(f"message cannot go with action {body.action}.", field="message")
    elif body.conversation_id is None:
        raise BadRequest("conversationId is required.", field="conversationId")
    return body
