"""Reads JSON bodies into models. Every refusal names its field, in our words instead of pydantic's."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from converse_stream.protocol.errors import BadRequest, TooLarge
from converse_stream.protocol.fields import Body

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


def check_text(text: str, limit: int, field: str) -> str:
    """The text, if the deployment's limit allows it and it says anything at all."""
    if len(text) > limit:
        raise TooLarge(f"{field} is longer than {limit} characters.", field=field)
    if not text.strip():
        raise BadRequest(f"{field} is blank.", field=field)
    return text
