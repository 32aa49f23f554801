"""JSON schemas as a model's own structured output takes them: closed objects, and few constraints. Pure.

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
_SILENT = frozenset({"$schema", "$id", "$comment", "additionalProperties"})  # say nothing to a model


class UnsupportedSchema(ValueError):
    """A schema that cannot be put so; the message says what it has or does."""


def adapt(schema: Schema) -> Schema:
    """The same with every object closed; constraints that the model does not know stand in descriptions.

    Raises UnsupportedSchema.
    """
    _check_references(schema)
    return _adapt(schema)


def _adapt(schema: Any) -> Schema:
    if not isinstance(schema, dict):
        raise UnsupportedSchema("has a schema that is no object")
    taken: Schema = {}
    told: Schema = {}  # in the description
    for name, value in schema.items():
        if name in ("properties", *_DEFINITIONS) and isinstance(value, dict):
            taken[name] = {each: _adapt(below) for each, below in value.items()}
        elif name in _CHOICES and isinstance(value, list):
            taken[_CHOICES[name]] = list(map(_adapt, value))
        elif name == "items":
            taken[name] = _adapt(value)
        elif name in _KEPT or (name == "format" and value in _FORMATS) or (name == "minItems" and value in (0, 1)):
            taken[name] = value
        elif name not in _SILENT:
            told[name] = value
    if "$ref" in schema:  # stands alone, but for what it may refer to
        return {"$ref": schema["$ref"]} | {name: taken[name] for name in _DEFINITIONS if name in taken}
    if "object" in _types(schema) or schema.keys() & {"properties", "additionalProperties"}:
        if schema.get("additionalProperties", False) is not False:
            raise UnsupportedSchema("has an object with additionalProperties")
        taken["additionalProperties"] = False
    if told:
        words = ", ".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in told.items())
        taken["description"] = " ".join(filter(None, [taken.get("description"), f"({words})"]))
    return taken


def _types(schema: Schema) -> list[Any]:
    kind = schema.get("type")
    return kind if isinstance(kind, list) else [kind]


def _check_references(schema: Schema) -> None:
    """Raises UnsupportedSchema for a schema that refers to itself, or to what is not among its own definitions."""
    places = {"#": {name: value for name, value in schema.items() if name not in _DEFINITIONS}}
    for group in _DEFINITIONS:
        if isinstance(defined := schema.get(group), dict):
            places |= {f"#/{group}/{name}": below for name, below in defined.items()}
    named = {place: set(_references(below)) for place, below in places.items()}
    if any(names - places.keys() for names in named.values()):
        raise UnsupportedSchema("refers to something that is not in its $defs")
    try:
        TopologicalSorter(named).prepare()
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
