"""Parses JSON bodies into models. Every error names the wrong field, with a message of our own."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from converse_stream.protocol.errors import BadRequest, TooLarge
from converse_stream.protocol.fields import Body

B = TypeVar("B", bound=Body)

# The messages for the error types of pydantic. `ctx` of the error has the values for the braces.
_MESSAGES = {
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
    "document": "is nested too deeply, or has a number that is out of range",
    "utc_offset": "must be an offset from UTC, from -12:00 to +14:00, such as +02:00",
    "schema": "must be of type object",
    "reasoning": "must be one of {efforts}, or a number of tokens from 1 to {tokens}",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "is out of range",
}


def parse(model: type[B], body: bytes) -> B:
    """Parses a JSON body. Raises BadRequest for the first wrong field."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise refusal(error.errors(include_url=False, include_input=False)) from None


def check_json(body: bytes) -> None:
    """Raises BadRequest if the body is not a JSON object, has lone surrogates, or is nested too deeply."""
    try:
        value = from_json(body, allow_inf_nan=False)
    except ValueError:
        raise BadRequest("The body is not valid JSON.", field="body") from None
    if not isinstance(value, dict):
        raise BadRequest("The body must be an object.", field="body")


def refusal(errors: Sequence[Mapping[str, Any]]) -> BadRequest:
    """Returns the first error of pydantic as a BadRequest."""
    first = errors[0]
    field = ".".join(str(part) for part in first["loc"])[:100]
    if first["type"] == "json_invalid":
        return BadRequest("The body is not valid JSON.", field="body")
    message = _MESSAGES.get(first["type"], "is not valid").format(**first.get("ctx", {}))
    return BadRequest(f"{field or 'The body'} {message}.", field=field or "body")


def check_text(text: str, limit: int, field: str) -> str:
    """Returns the text. Raises TooLarge if it has more than `limit` characters, and BadRequest if it is blank."""
    if len(text) > limit:
        raise TooLarge(f"{field} is longer than {limit} characters.", field=field)
    if not text.strip():
        raise BadRequest(f"{field} is blank.", field=field)
    return text
