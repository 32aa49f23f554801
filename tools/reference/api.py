"""The routes' description as the pages share it: which page describes which schema."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from tools.reference import fields, product
from tools.reference.schemas import REF, Schemas, references

HTTP, EVENTS = "http.md", "events.md"
PLAIN = ("PlainContent", "PlainError")


@cache
def document() -> Mapping[str, Any]:
    """The OpenAPI document of both functions."""
    described = product.document()
    fields.check(described["components"]["schemas"])
    return described


@cache
def events() -> Mapping[str, str]:
    """The native events: each type with the name of its schema, in the order of their description."""
    union = document()["components"]["schemas"]["StreamEvent"]
    named = {name.removeprefix(REF): kind for kind, name in union["discriminator"]["mapping"].items()}
    return {named[name]: name for name in references(union["oneOf"])}


def described_as_events() -> set[str]:
    """The schemas that the page of the events describes."""
    return {"StreamEvent", *PLAIN, *events().values()}


def schemas(page: str) -> Schemas:
    """The schemas, with links as they are needed on a page."""
    of_events = described_as_events()
    named = document()["components"]["schemas"]
    files = {name: EVENTS if name in of_events else HTTP for name in named}
    return Schemas(named, {name: "" if file == page else file for name, file in files.items()})
