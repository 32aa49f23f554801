"""Converts JSON Schema to Markdown: a type in a few words, and a table of fields."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tools.reference import fields
from tools.reference.markdown import code, codes, link, sentence, table

Schema = Mapping[str, Any]
REF = "#/components/schemas/"
ANY = "any JSON"


class Schemas:
    """The schemas of an OpenAPI document. `files`: the page that describes each schema; empty for the current page."""

    def __init__(self, schemas: Mapping[str, Schema], files: Mapping[str, str]) -> None:
        self._schemas = schemas
        self._files = files

    def __getitem__(self, name: str) -> Schema:
        return self._schemas[name]

    def closure(self, value: Any) -> set[str]:
        """Return the names of all schemas to which a part of the document refers, directly or indirectly."""
        names: set[str] = set()
        pending = list(references(value))
        while pending:
            if (name := pending.pop()) not in names:
                names.add(name)
                pending += references(self._schemas[name])
        return names

    def link(self, name: str) -> str:
        """Return a link to the description of a schema."""
        return link(code(name), name, self._files.get(name, ""))

    def section(self, name: str, level: str) -> str:
        """Return the section of a schema: heading, description and fields."""
        schema = self._schemas[name]
        described = sentence(schema.get("description", ""))
        body = self.fields(name) if "properties" in schema else sentence(self.type(schema))
        return "\n\n".join(part for part in (f"{level} {name}", described, body) if part)

    def fields(self, name: str) -> str:
        """Return the table of an object's fields. `type` is the first."""
        schema = self._schemas[name]
        required = schema.get("required", ())
        rows = [
            (
                code(field),
                self.type(described),
                "yes" if field in required else "no",
                sentence(fields.text(name, field, described)),
            )
            for field, described in sorted(schema["properties"].items(), key=lambda each: each[0] != "type")
        ]
        return table(("field", "type", "required", "description"), rows)

    def is_any(self, name: str) -> bool:
        """Return whether a schema allows any JSON."""
        return not self._schemas[name].keys() - {"description"}

    def type(self, schema: Schema) -> str:
        """Return the type as text."""
        if "default" in schema:
            rest = {key: value for key, value in schema.items() if key != "default"}
            return f"{self.type(rest)}; default {code(_json(schema['default']))}"
        match schema:
            case {"$ref": reference}:
                name = str(reference).removeprefix(REF)
                return ANY if self.is_any(name) else self.link(name)
            case {"const": value}:
                return code(_json(value))
            case {"enum": values}:
                return codes(map(_json, values))
            case {"anyOf": choices} | {"oneOf": choices}:
                return " or ".join(dict.fromkeys(map(self.type, choices)))
            case {"type": "null"}:
                return code("null")
            case {"type": "array"}:
                of = self.type(schema.get("items", {}))
                return f"list of {f'({of})' if ',' in of else of}{_bounds(schema, 'Items', 'entries')}"
            case {"type": "object", "additionalProperties": Mapping() as values} if values:
                return f"object of {self.type(values)}"
            case {"type": "string"}:
                pattern = f" matching {code(schema['pattern'])}" if "pattern" in schema else ""
                return f"string{pattern}{_bounds(schema, 'Length', 'characters')}"
            case {"type": "integer" | "number" as kind}:
                return f"{kind}{_range(schema)}"
            case {"type": kind}:
                return str(kind)
        return ANY


def references(value: Any) -> Iterator[str]:
    """Yield the names of the schemas to which a part of the document refers directly."""
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str) and reference.startswith(REF):
            yield reference.removeprefix(REF)
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from references(each)


def _json(value: object) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _bounds(schema: Schema, what: str, unit: str) -> str:
    least, most = schema.get(f"min{what}"), schema.get(f"max{what}")
    if least and most:
        return f", {least:,} to {most:,} {unit}"
    if most:
        return f", at most {most:,} {unit}"
    return f", at least {least:,} {unit}" if least else ""


def _range(schema: Schema) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f", {least:,} to {most:,}"
    if least is not None:
        return f", at least {least:,}"
    if (above := schema.get("exclusiveMinimum")) is not None:
        return f", more than {above:,}" + ("" if most is None else f", at most {most:,}")
    return "" if most is None else f", at most {most:,}"
