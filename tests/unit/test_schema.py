"""A schema as a model's own structured output takes it, by the rules that the stand-in refuses by."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converse_stream.model import options as wishes
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


def ask(schema: dict[str, Any]) -> None:
    """Raises BedrockError where the stand-in's Claude would not take it."""
    text = {"type": "json_schema", "structure": {"jsonSchema": {"name": "answer", "schema": json.dumps(schema)}}}
    messages = [{"role": "user", "content": [{"text": "hi"}]}]
    check_converse("Converse", CLAUDE.id, {"messages": messages, "outputConfig": {"textFormat": text}})


def check(schema: dict[str, Any], model: str = "claude-haiku") -> None:
    wishes.check(CATALOG[model], Options.model_validate({"schema": schema}))


def test_every_object_is_closed_wherever_it_is() -> None:
    near = OBJECT | {"properties": {"additionalProperties": OBJECT, "maximum": {"type": ["object", "null"]}}}
    schema = near | {
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


def test_constraints_that_the_model_does_not_know_are_told_in_words() -> None:
    number = {"type": "integer", "minimum": 1, "description": "Stars.", "format": "int32"}
    listed = {"type": "array", "items": {"type": "string", "format": "date"}, "minItems": 1, "maxItems": 3}
    taken = adapt(OBJECT | {"properties": {"stars": number, "days": listed}})["properties"]
    assert taken["stars"] == {"type": "integer", "description": 'Stars. (minimum: 1, format: "int32")'}
    assert taken["days"] == {
        "type": "array",
        "items": {"type": "string", "format": "date"},
        "minItems": 1,
        "description": "(maxItems: 3)",
    }


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    constraints = st.sets(st.sampled_from(sorted(CONSTRAINTS))).map(lambda names: {n: CONSTRAINTS[n] for n in names})
    leaf = st.builds(lambda kind, more: {"type": kind} | more, st.sampled_from(["string", "integer"]), constraints)

    def around(below: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        named = st.dictionaries(st.sampled_from(["a", "items", "minimum"]), below, max_size=2)
        objects = st.builds(lambda properties, more: OBJECT | {"properties": properties} | more, named, constraints)
        arrays = st.builds(lambda items, more: {"type": "array", "items": items} | more, below, constraints)
        choices = st.builds(
            lambda how, of: {how: of}, st.sampled_from(["anyOf", "oneOf", "allOf"]), st.lists(below, min_size=1)
        )
        return st.one_of(objects, arrays, choices)

    return st.recursive(leaf, around, max_leaves=6)


@given(schemas())
def test_what_is_fitted_is_taken_and_stays(below: dict[str, Any]) -> None:
    schema = OBJECT | {"properties": {"below": below}, "$defs": {"below": below}}
    before = json.dumps(schema)
    ask(adapt(schema))
    assert adapt(adapt(schema)) == adapt(schema)
    assert json.dumps(schema) == before


@pytest.mark.parametrize(
    ("below", "why"),
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
def test_what_cannot_be_fitted_is_refused_by_name(below: Any, why: str) -> None:
    itself = OBJECT | {"properties": {"next": {"$ref": "#/$defs/itself"}}}
    definitions = {"$defs": {"itself": itself}} if "$defs" in repr(below) else {}
    schema = OBJECT | {"properties": {"below": below}} | definitions
    with pytest.raises(BadRequest, match=why) as refused:
        check(schema)
    assert refused.value.field == "options.schema"
    check(schema, "nova-lite")  # a tool's schema is taken as it is


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
def test_the_stand_in_refuses_what_bedrock_refuses(schema: dict[str, Any]) -> None:
    with pytest.raises(BedrockError, match="output_config"):
        ask(schema)
