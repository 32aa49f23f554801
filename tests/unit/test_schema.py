"""Schemas converted for structured output, checked by the validation of the stand-in."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converse_stream.model import options as model_options
from converse_stream.model.catalog import Catalog
from converse_stream.model.schema import adapt
from converse_stream.protocol.errors import BadRequest
from converse_stream.protocol.options import Options
from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.validation import check_converse

CATALOG = Catalog("us")
CLAUDE = CATALOG["claude-haiku"]
OBJECT = {"type": "object"}
CONSTRAINTS = {
    "minimum": 1, "maximum": 5, "exclusiveMaximum": 6, "multipleOf": 2, "minLength": 1, "maxLength": 9, "maxItems": 3,
    "minItems": 2, "uniqueItems": True, "pattern": "^a", "format": "regex", "minProperties": 1, "default": 1,
}  # fmt: skip


def check_by_stand_in(schema: dict[str, Any]) -> None:
    """Raises BedrockError if the stand-in's Claude refuses the schema."""
    text = {"type": "json_schema", "structure": {"jsonSchema": {"name": "answer", "schema": json.dumps(schema)}}}
    messages = [{"role": "user", "content": [{"text": "hi"}]}]
    check_converse("Converse", CLAUDE.id, {"messages": messages, "outputConfig": {"textFormat": text}})


def check(schema: dict[str, Any], model: str = "claude-haiku") -> None:
    model_options.check(CATALOG[model], Options.model_validate({"schema": schema}))


def test_every_object_at_any_depth_allows_no_additional_properties() -> None:
    properties_schema = OBJECT | {
        "properties": {"additionalProperties": OBJECT, "maximum": {"type": ["object", "null"]}}
    }
    schema = properties_schema | {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {"a": OBJECT, "b": {"items": {"$ref": "#/$defs/a", "description": "x"}}},
        "anyOf": [{"properties": {}}, {"oneOf": [OBJECT]}],
    }
    closed = OBJECT | {"additionalProperties": False}
    assert adapt(schema) == closed | {
        "properties": {
            "additionalProperties": closed,
            "maximum": {"type": ["object", "null"], "additionalProperties": False},
        },
        "$defs": {"a": closed, "b": {"items": {"$ref": "#/$defs/a"}}},
        "anyOf": [{"properties": {}, "additionalProperties": False}, {"anyOf": [closed]}],
    }


def test_unsupported_constraints_become_part_of_the_description() -> None:
    number = {"type": "integer", "minimum": 1, "description": "Stars.", "format": "int32"}
    listed = {"type": "array", "items": {"type": "string", "format": "date"}, "minItems": 1, "maxItems": 3}
    properties = adapt(OBJECT | {"properties": {"stars": number, "days": listed}})["properties"]
    assert properties["stars"] == {"type": "integer", "description": 'Stars. (minimum: 1, format: "int32")'}
    assert properties["days"] == {
        "type": "array",
        "items": {"type": "string", "format": "date"},
        "minItems": 1,
        "description": "(maxItems: 3)",
    }


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    constraints = st.sets(st.sampled_from(sorted(CONSTRAINTS))).map(lambda names: {n: CONSTRAINTS[n] for n in names})
    leaf = st.builds(lambda kind, more: {"type": kind} | more, st.sampled_from(["string", "integer"]), constraints)

    def nested(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        named = st.dictionaries(st.sampled_from(["a", "items", "minimum"]), inner, max_size=2)
        objects = st.builds(lambda properties, more: OBJECT | {"properties": properties} | more, named, constraints)
        arrays = st.builds(lambda items, more: {"type": "array", "items": items} | more, inner, constraints)
        choices = st.builds(
            lambda how, of: {how: of}, st.sampled_from(["anyOf", "oneOf", "allOf"]), st.lists(inner, min_size=1)
        )
        return st.one_of(objects, arrays, choices)

    return st.recursive(leaf, nested, max_leaves=6)


@given(schemas())
def test_fitted_schema_is_accepted_and_fitting_is_idempotent(inner: dict[str, Any]) -> None:
    schema = OBJECT | {"properties": {"inner": inner}, "$defs": {"inner": inner}}
    before = json.dumps(schema)
    check_by_stand_in(adapt(schema))
    assert adapt(adapt(schema)) == adapt(schema)
    assert json.dumps(schema) == before


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        (OBJECT | {"additionalProperties": True}, "additionalProperties"),
        (OBJECT | {"additionalProperties": {"type": "string"}}, "additionalProperties"),
        ({"type": "array", "items": {"additionalProperties": {}}}, "additionalProperties"),
        ({"$ref": "https://example.org/schema"}, "not in its"),
        ({"$ref": "#/$defs/itself"}, "refers to itself"),
        ({"$ref": "#"}, "refers to itself"),
        (True, "no object"),
    ],
)
def test_schema_that_cannot_be_fitted_is_refused_with_the_reason(inner: Any, reason: str) -> None:
    itself = OBJECT | {"properties": {"next": {"$ref": "#/$defs/itself"}}}
    definitions = {"$defs": {"itself": itself}} if "$defs" in repr(inner) else {}
    schema = OBJECT | {"properties": {"inner": inner}} | definitions
    with pytest.raises(BadRequest, match=reason) as error:
        check(schema)
    assert error.value.field == "options.schema"
    check(schema, "nova-lite")  # the schema of a tool needs no conversion


@pytest.mark.parametrize(
    "schema",
    [
        OBJECT,
        OBJECT | {"additionalProperties": False, "properties": {"a": {"type": "integer", "minimum": 1}}},
        OBJECT | {"additionalProperties": False, "$defs": {"a": {"type": "array", "items": OBJECT}}},
        OBJECT | {"additionalProperties": False, "anyOf": [{"type": "array", "minItems": 2}]},
        OBJECT | {"additionalProperties": False, "oneOf": []},
    ],
)
def test_stand_in_refuses_the_schemas_that_bedrock_refuses(schema: dict[str, Any]) -> None:
    with pytest.raises(BedrockError, match="output_config"):
        check_by_stand_in(schema)
