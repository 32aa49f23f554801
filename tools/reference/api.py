"""The OpenAPI document for all pages, and which page describes which schema."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from tools.reference import fields, product
from tools.reference.schemas import REF, Schemas, references

HTTP, EVENTS = "http.md", "events.md"
PLAIN = ("PlainContent", "PlainError")


@cache
def document() -> Mapping[str, Any]:
    """Return the OpenAPI document of both functions."""
    described = product.document()
    fields.check(described["components"]["schemas"])
    return described


@cache
def events() -> Mapping[str, str]:
    """Return the schema name of each type of native event, in the order of the document."""
    union = document()["components"]["schemas"]["StreamEvent"]
    types = {name.removeprefix(REF): kind for kind, name in union["discriminator"]["mapping"].items()}
    return {types[name]: name for name in references(union["oneOf"])}


def described_as_events() -> set[str]:
    """Return the names of the schemas that the page of the events describes."""
    return {"StreamEvent", *PLAIN, *events().values()}


def schemas(page: str) -> Schemas:
    """Return the schemas with the links that are right on `page`."""
    event_schemas = described_as_events()
    all_schemas = document()["components"]["schemas"]
    files = {name: EVENTS if name in event_schemas else HTTP for name in all_schemas}
    return Schemas(all_schemas, {name: "" if file == page else file for name, file in files.items()})
