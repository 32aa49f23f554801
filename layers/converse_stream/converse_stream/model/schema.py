"""Adapts JSON schemas to the structured output of models: closed objects, and few constraints. Pure.

https://platform.claude.com/docs/en/build-with-claude/structured-outputs (JSON Schema limitations), which Bedrock's
https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html repeats.
"""

import json
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any

Schema = dict[str, Any]

_KEPT = frozenset({"type", "enum", "const", "title", "description", "required"})
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
_DEFINITIONS = ("$defs", "definitions")
_CHOICES = {"anyOf": "anyOf", "oneOf": "anyOf", "allOf": "allOf"}
_DROPPED = frozenset({"$schema", "$id", "$comment", "additionalProperties"})  # no information for a model


class UnsupportedSchema(ValueError):
    """The schema cannot be adapted. The message says what it has or does."""


def adapt(schema: Schema) -> Schema:
    """The schema with all objects closed. Constraints that the model does not support are moved to the descriptions.

    Raises UnsupportedSchema.
    """
    _check_references(schema)
    return _adapt(schema)


def _adapt(schema: Any) -> Schema:
    if not isinstance(schema, dict):
        raise UnsupportedSchema("has a schema that is no object")
    adapted: Schema = {}
    moved: Schema = {}  # to the description
    for name, value in schema.items():
        if name in ("properties", *_DEFINITIONS) and isinstance(value, dict):
            adapted[name] = {each: _adapt(below) for each, below in value.items()}
        elif name in _CHOICES and isinstance(value, list):
            adapted[_CHOICES[name]] = list(map(_adapt, value))
        elif name == "items":
            adapted[name] = _adapt(value)
        elif name in _KEPT or (name == "format" and value in _FORMATS) or (name == "minItems" and value in (0, 1)):
            adapted[name] = value
        elif name not in _DROPPED:
            moved[name] = value
    if "$ref" in schema:  # without other keywords, except definitions
        return {"$ref": schema["$ref"]} | {name: adapted[name] for name in _DEFINITIONS if name in adapted}
    if "object" in _types(schema) or schema.keys() & {"properties", "additionalProperties"}:
        if schema.get("additionalProperties", False) is not False:
            raise UnsupportedSchema("has an object with additionalProperties")
        adapted["additionalProperties"] = False
    if moved:
        words = ", ".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in moved.items())
        adapted["description"] = " ".join(filter(None, [adapted.get("description"), f"({words})"]))
    return adapted


def _types(schema: Schema) -> list[Any]:
    kind = schema.get("type")
    return kind if isinstance(kind, list) else [kind]


def _check_references(schema: Schema) -> None:
    """Raises UnsupportedSchema if the schema refers to itself, or to something that is not in its definitions."""
    schemas = {"#": {name: value for name, value in schema.items() if name not in _DEFINITIONS}}
    for group in _DEFINITIONS:
        if isinstance(defined := schema.get(group), dict):
            schemas |= {f"#/{group}/{name}": below for name, below in defined.items()}
    references = {pointer: set(_references(below)) for pointer, below in schemas.items()}
    if any(pointers - schemas.keys() for pointers in references.values()):
        raise UnsupportedSchema("refers to something that is not in its $defs")
    try:
        TopologicalSorter(references).prepare()
    except CycleError:
        raise UnsupportedSchema("refers to itself") from None


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(name := value.get("$ref"), str):
            yield name
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _references(each)
