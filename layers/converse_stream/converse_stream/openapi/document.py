"""The routes as an OpenAPI 3.1 document (https://spec.openapis.org/oas/v3.1.1).

OpenAPI 3.1 has no keyword for the events of a stream. So each `text/event-stream` has the extension `x-eventData`: the
schemas of the `data` of its events. They are JSON of a schema, or a text such as `[DONE]`.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from converse_stream.http.request import json_bytes
from converse_stream.openapi.routes import HEADERS, ROUTES, Parameter, Reply, Route
from converse_stream.openapi.schemas import REF, schemas_of
from converse_stream.protocol.errors import ChatError

ABOUT = """\
Operations with the tag `stream` are served by the Function URL and the REST API, those with the tag `converse` by API
Gateway; with a web host, all of them have one address. A path or a method that is not described here is answered
with 404 or 405.

Clients ignore fields and event types that they do not know. `403` is for requests that do not come through the web
host, if there is one."""
SECURITY: Mapping[str, Any] = {
    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "tokenBesideSignature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Authorization",
        "description": "`Bearer` and the token, where a signature takes the header `Authorization`.",
    },
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "AWS Signature Version 4, for deployments with `AuthMode=iam`.",
    },
}


@cache
def text() -> str:
    """The document as JSON."""
    return json_bytes(document()).decode()


def document() -> dict[str, Any]:
    """The OpenAPI document."""
    errors = _ErrorResponses()
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, errors)
    requests = {route.body for route in ROUTES if route.body}
    views = {model for route in ROUTES for model in _views(route)}
    headers = {name: {"description": words, "schema": schema} for name, (schema, words) in HEADERS.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Converse Stream", "version": "0.2.0", "description": ABOUT},
        "security": [{name: []} for name in SECURITY],
        "paths": paths,
        "components": {
            "schemas": schemas_of(requests, views),
            "responses": errors.named,
            "headers": headers,
            "securitySchemes": SECURITY,
        },
    }


class _ErrorResponses:
    """The error responses of all routes: each set of codes once, with a name."""

    def __init__(self) -> None:
        self.named: dict[str, dict[str, Any]] = {}

    def of(self, route: Route) -> Iterator[tuple[int, dict[str, Any]]]:
        """Each status of the route's errors, with a reference to its response."""
        by_status: dict[int, list[type[ChatError]]] = {}
        for error in route.errors:
            by_status.setdefault(error.status, []).append(error)
        for status, errors in by_status.items():
            described = _error_response(route, status, sorted({error.code for error in errors}))
            name, number = f"{route.error[0].__name__}.{status}", 1
            while self.named.setdefault(name, described) != described:
                number += 1
                name = f"{route.error[0].__name__}.{status}.{number}"
            yield status, {"$ref": f"#/components/responses/{name}"}


def _views(route: Route) -> Iterator[type[BaseModel]]:
    yield from route.error
    for reply in route.replies.values():
        yield from reply.body
        yield from (each for each in reply.events if not isinstance(each, str))


def _operation(route: Route, errors: _ErrorResponses) -> dict[str, Any]:
    replies = {status: _reply(reply) for status, reply in route.replies.items()} | dict(errors.of(route))
    described: dict[str, Any] = {
        "tags": list(route.functions),
        "description": route.summary,
        "responses": {str(status): replies[status] for status in sorted(replies)},
    }
    if route.parameters:
        described["parameters"] = [_parameter(each) for each in route.parameters]
    if route.body:
        content = {"application/json": {"schema": _ref(route.body)}}
        described["requestBody"] = {"required": route.body_required, "content": content}
    if route.is_open:
        described["security"] = []
    return described


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.location,
        "required": parameter.location == "path",
        "schema": parameter.schema,
        "description": parameter.description,
    }


def _reply(reply: Reply) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if reply.body:
        content["application/json"] = {"schema": _any([_ref(model) for model in reply.body])}
    if reply.events:
        data = [{"const": each} if isinstance(each, str) else _ref(each) for each in reply.events]
        content["text/event-stream"] = {"schema": {"type": "string"}, "x-eventData": _any(data)}
    described = {"description": reply.description, "headers": _headers(["x-request-id", *reply.headers])}
    return {**described, "content": content} if content else described


def _error_response(route: Route, status: int, codes: Sequence[str]) -> dict[str, Any]:
    code = {"properties": {"error": {"properties": {"code": {"enum": codes}}}}}
    schema = {"allOf": [_any([_ref(model) for model in route.error]), code]}
    headers = ["x-request-id"]
    if status in (409, 429, 503):
        headers.append("retry-after")
    if status >= 500 and route.path.startswith("/v1/"):
        headers.append("x-should-retry")
    return {
        "description": HTTPStatus(status).phrase,
        "headers": _headers(headers),
        "content": {"application/json": {"schema": schema}},
    }


def _headers(names: Sequence[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": REF.format(model=model.__name__)}


def _any(schemas: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
