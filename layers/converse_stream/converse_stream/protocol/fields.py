"""Field types and the base class for the models of request bodies."""

import math
import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

ConversationId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,64}$")]
ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:/_-]{0,255}$")]  # alias, id or ARN
MAX_LENGTH = 1_000_000  # characters of any text; lower limits are settings, which `check_text` checks

_CONTROL = re.compile(r"[\x00-\x08\v\f\x0e-\x1f\x7f-\x9f]")


def _without_controls(text: str) -> str:
    """The text with line feeds for the control characters that break a line, and without the other ones."""
    return _CONTROL.sub(lambda match: "\n" if match[0] in "\v\f\x85" else "", text)


def normalize(text: str) -> str:
    """The text in NFC, without control characters and surrounding space: the form for lists and searches."""
    return unicodedata.normalize("NFC", _without_controls(text)).strip()


def _not_blank(text: str) -> str:
    if not text.strip():
        raise PydanticCustomError("blank", "is blank")
    return text


# Messages keep their form, without control characters. Names and titles, which are listed and searched, are normalized.
ReadableText = Annotated[str, StringConstraints(max_length=MAX_LENGTH), AfterValidator(_without_controls)]
NonBlankText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_LENGTH),
    AfterValidator(_without_controls),
    AfterValidator(_not_blank),
]
Normalized = AfterValidator(normalize)
NonBlankNormalized = AfterValidator(lambda text: _not_blank(normalize(text)))


_UTC_OFFSET = r"^((\+|-)(0[0-9]|1[01]):[0-5][0-9]|\+1[23]:[0-5][0-9]|\+14:00|-12:00)$"


def _utc_offset(text: str) -> str:
    if not re.fullmatch(_UTC_OFFSET, text):
        raise PydanticCustomError("utc_offset", "is not an offset from UTC")
    return text


# The offset of a local time from UTC, in ISO 8601: `+02:00`. It is not the name of a time zone: Lambda's image has no
# database of time zones.
UtcOffset = Annotated[str, AfterValidator(_utc_offset), Field(json_schema_extra={"pattern": _UTC_OFFSET})]


def is_document(value: Any, levels: int = 32) -> bool:
    """Whether Bedrock accepts a value in a JSON document: at most `levels` nested, with finite numbers of 64 bits."""
    match value:
        case dict():
            return levels > 0 and all(is_document(item, levels - 1) for item in value.values())
        case list():
            return levels > 0 and all(is_document(item, levels - 1) for item in value)
        case float():
            return math.isfinite(value)
        case int():
            return -(2**63) <= value < 2**63
    return True


def _document(value: dict[str, Any]) -> dict[str, Any]:
    if not is_document(value):
        raise PydanticCustomError("document", "is nested too deeply, or has a number that is out of range")
    return value


def _object(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("type") != "object":
        raise PydanticCustomError("schema", "must be of type object")
    return schema


Document = Annotated[dict[str, Any], AfterValidator(_document)]
Schema = Annotated[Document, AfterValidator(_object)]  # a JSON Schema of type object


class Body(BaseModel):
    """Base of all request bodies: camelCase in JSON, no unknown fields, no type coercion."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True, frozen=True)
