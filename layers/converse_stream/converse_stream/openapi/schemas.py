"""JSON Schema of requests, answers and events, from pydantic models."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from pydantic_core import core_schema

REF = "#/components/schemas/{model}"


class View(BaseModel):
    """Base of all models of responses and events. A field with the default None may be absent, and is never null."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True)


class _Schemas(GenerateJsonSchema):
    """Schemas without the titles that pydantic derives from field names, and without defaults of None."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002  # pydantic's signature
        return False

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        described = super().default_schema(schema)
        if schema.get("default") is None or isinstance(schema["default"], BaseModel):
            described.pop("default", None)
        return described


class _Views(_Schemas):
    """Schemas that allow additional fields: a later version may send more, and clients ignore unknown ones."""

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        if "default" not in schema or schema["default"] is not None:
            return super().default_schema(schema)
        inner = schema["schema"]
        return self.generate_inner(inner["schema"] if inner["type"] == "nullable" else inner)

    def model_schema(self, schema: core_schema.ModelSchema) -> dict[str, Any]:
        described = super().model_schema(schema)
        described.pop("additionalProperties", None)
        return described


def schemas_of(requests: Iterable[type[BaseModel]], views: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """The schemas of these models and of all models that they use, by name. Raises ValueError for a duplicate name."""
    schemas: dict[str, Any] = {}
    for models, generator in ((requests, _Schemas), (views, _Views)):
        _, found = models_json_schema(
            [(model, "validation") for model in models], ref_template=REF, schema_generator=generator
        )
        definitions = found.get("$defs", {})
        if duplicates := schemas.keys() & definitions.keys():
            raise ValueError(f"two models have the name {', '.join(sorted(duplicates))}")
        schemas |= definitions
    for schema in schemas.values():
        schema.pop("title", None)
    return dict(sorted(schemas.items()))
