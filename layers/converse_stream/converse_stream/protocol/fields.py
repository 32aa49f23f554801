"""Field types of everything that comes from outside, and the base of its models."""

import math
import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

ConversationId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
Alias = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$")]
MAX_LENGTH = 1_000_000  # the hard ceiling of a text; the deployment's own limits are settings, checked in `check_text`

_CONTROL = re.compile(r"[\x00-\x08\v\f\x0e-\x1f\x7f-\x9f]")


def _readable(text: str) -> str:
    """Without control characters: some break a line, the others say nothing to a reader or a model."""
    return _CONTROL.sub(lambda found: "\n" if found[0] in "\v\f\x85" else "", text)


def normalize(text: str) -> str:
    """As it is listed and compared: NFC, without control characters and space around it."""
    return unicodedata.normalize("NFC", _readable(text)).strip()


def _said(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "is blank")
    return text


# What is said is kept as it was sent, but for control characters; what is shown in lists and looked for is normal.
ReadableText = Annotated[str, StringConstraints(max_length=MAX_LENGTH), AfterValidator(_readable)]
NonBlankText = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_LENGTH), AfterValidator(_readable), AfterValidator(_said)
]
Normalized = AfterValidator(normalize)
NonBlankNormalized = AfterValidator(lambda text: _said(normalize(text)))


def is_document(value: Any, levels: int = 32) -> bool:
    """Whether Bedrock takes it as part of a document: nested no deeper than so, and numbers that others can read."""
    match value:
        case dict():
            return levels > 0 and all(is_document(each, levels - 1) for each in value.values())
        case list():
            return levels > 0 and all(is_document(each, levels - 1) for each in value)
        case float():
            return math.isfinite(value)
        case int():
            return -(2**63) <= value < 2**63
    return True


def _document(value: dict[str, Any]) -> dict[str, Any]:
    if not is_document(value):
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
