"""Generates docs/reference/http.md: the routes with parameters, statuses, headers, bodies and entry points."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tools.reference import api, template
from tools.reference.markdown import StaleTextError, code, codes, link, page, sentence, table
from tools.reference.schemas import Schemas

INTRODUCTION = """\
The same description is at `GET /openapi.json`, as OpenAPI 3.1. Bodies are JSON in UTF-8. Requests with fields that
are not described here are refused, except on `/ai`. Responses may get new fields: ignore those that you do not know."""

ENTRY_POINTS = (
    ("Function URL", "`StreamUrl`", "as a stream, or in one piece if that is asked for"),
    ("API Gateway (HTTP API)", "`HttpApiUrl`", "in one piece, within 30 s"),
    ("API Gateway (REST API), with `RestStreaming=enabled`", "`RestApiUrl`", "as the Function URL, with its routes"),
    ("one host, with `WebHost=enabled`", "`WebHostUrl`", "all routes, each as the entry point in its column"),
)

PATHS = """\
`StreamUrl` ends with a slash: remove it before you add a path. A path that does not exist is answered with 404. A
method that a path does not have is answered with 405 by the functions and with 404 by API Gateway."""

AUTHENTICATION = """\
All routes need a user, unless they are marked as open: a token with `AuthMode=jwt`, an IAM signature with
`AuthMode=iam`. AWS checks signatures itself, on open routes too."""

FUNCTIONS = {"stream": "Function URL", "converse": "API Gateway"}
ORIGINS = {"StreamFunction": "Function URL", "HttpApi": "API Gateway"}
EVENT_STREAM, JSON = "text/event-stream", "application/json"

# The heading of each route, by the first part of its path; several parts may share one.
GROUPS = {
    "chat": "Chat",
    "prompt": "Chat",
    "models": "Chat",
    "conversations": "Conversations",
    "memory": "Memory and profile",
    "profile": "Memory and profile",
    "me": "Memory and profile",
    "ai": "AI SDK",
    "v1": "OpenAI",
    "health": "Operation",
    "openapi.json": "Operation",
}

# The headings of the bodies, and how the paths begin whose bodies come under each: the longest that fits.
BODIES = {"Bodies": "/", "Bodies of the AI SDK": "/ai/", "Bodies of OpenAI": "/v1/"}

Operation = Mapping[str, Any]


def text() -> str:
    """Return the text of the page."""
    schemas, operations = api.schemas(api.HTTP), _operations()
    described = api.document()
    groups: dict[str, list[str]] = {group: [] for group in GROUPS.values()}
    for (method, path), operation in operations.items():
        groups[_group(path)] += _route(schemas, method, path, operation)
    return page(
        "HTTP API",
        INTRODUCTION,
        "## Entry points",
        table(("entry point", "output of the stack", "answers"), ENTRY_POINTS),
        PATHS,
        "## Routes",
        table(
            ("route", "Function URL", "API Gateway", "one host", "description"),
            map(_row, operations, operations.values()),
        ),
        "## Authentication",
        AUTHENTICATION,
        _security(described["components"]["securitySchemes"]),
        "## Headers of requests",
        _request_headers(schemas, operations),
        "## Headers of responses",
        _response_headers(schemas, described["components"]["headers"]),
        *(part for group, parts in groups.items() for part in (f"## {group}", *parts)),
        *_bodies(schemas, operations),
    )


def _operations() -> dict[tuple[str, str], Operation]:
    """Return the operations by method and path, in the order of the groups."""
    order = list(dict.fromkeys(GROUPS.values()))
    operations = {
        (method.upper(), path): operation
        for path, operations in api.document()["paths"].items()
        for method, operation in operations.items()
    }
    return dict(sorted(operations.items(), key=lambda each: order.index(_group(each[0][1]))))


def _group(path: str) -> str:
    try:
        return GROUPS[path.split("/")[1]]
    except KeyError:
        raise StaleTextError(f"http_page.GROUPS: write a heading for {path}") from None


def _row(route: tuple[str, str], operation: Operation) -> Sequence[str]:
    method, path = route
    served = [_served(operation, function) for function in FUNCTIONS]
    return (link(code(f"{method} {path}"), f"{method} {path}"), *served, _host(path), _summary(operation))


def _summary(operation: Operation) -> str:
    """Return the first sentence of the description."""
    return f"{operation['description'].split('. ')[0].removesuffix('.')}."


def _served(operation: Operation, function: str) -> str:
    """Return how a function answers a route, or an empty text if it does not serve it."""
    if function not in operation["tags"]:
        return ""
    content = operation["responses"].get("200", {}).get("content", {})
    if function == "converse" or EVENT_STREAM not in content:
        return "one piece"
    return "stream or one piece" if JSON in content else "stream"


def _host(path: str) -> str:
    return ORIGINS[template.host_origin(path)]


def _replies(operation: Operation) -> dict[str, Mapping[str, Any]]:
    """Return the responses by status, with references resolved."""
    named = api.document()["components"]["responses"]
    return {
        status: named[reply["$ref"].rpartition("/")[2]] if "$ref" in reply else reply
        for status, reply in operation["responses"].items()
    }


def _route(schemas: Schemas, method: str, path: str, operation: Operation) -> Iterator[str]:
    yield f"### {method} {path}"
    yield sentence(operation["description"])
    served = [f"{name} ({_served(operation, key)})" for key, name in FUNCTIONS.items() if key in operation["tags"]]
    is_open = " Open." if operation.get("security") == [] else ""
    yield f"Entry points: {', '.join(served)}; on the one host {_host(path)}.{is_open}"
    if parameters := operation.get("parameters", ()):
        rows = [
            (code(each["name"]), each["in"], schemas.type(each["schema"]), sentence(each["description"]))
            for each in parameters
        ]
        yield table(("parameter", "in", "type", "description"), rows)
    if body := operation.get("requestBody"):
        needed = "" if body["required"] else " It may be empty."
        yield f"Body: {schemas.type(body['content'][JSON]['schema'])}.{needed}"
    replies = _replies(operation).items()
    yield table(
        ("status", "body", "headers", "meaning"),
        [(status, _body(schemas, reply), _headers(reply), _meaning(reply)) for status, reply in replies],
    )


def _body(schemas: Schemas, reply: Mapping[str, Any]) -> str:
    """Return the types of a response's body as text."""
    content = reply.get("content", {})
    types = []
    if stream := content.get(EVENT_STREAM):
        types.append(f"events: {schemas.type(stream['x-eventData'])}")
    if body := content.get(JSON):
        schema = body["schema"]
        kind = schemas.type(schema["allOf"][0] if "allOf" in schema else schema)
        types.append(f"JSON: {kind}" if stream else kind)
    return "; ".join(types)


def _headers(reply: Mapping[str, Any]) -> str:
    return codes(name for name in reply.get("headers", ()) if name != "x-request-id")


def _meaning(reply: Mapping[str, Any]) -> str:
    """Return the description of a successful response, or the codes of an error."""
    match reply.get("content", {}).get(JSON, {}).get("schema", {}):
        case {"allOf": [_, {"properties": {"error": {"properties": {"code": {"enum": names}}}}}]}:
            return codes(names)
    return sentence(reply["description"])


def _security(schemes: Mapping[str, Mapping[str, str]]) -> str:
    rows = []
    for scheme in schemes.values():
        bearer = scheme["type"] == "http"
        name = "Authorization" if bearer else scheme["name"]
        described = "`Bearer` and the token." if bearer else sentence(scheme["description"])
        rows.append((code(name), described))
    return table(("header", "value"), rows)


def _request_headers(schemas: Schemas, operations: Mapping[tuple[str, str], Operation]) -> str:
    headers: dict[str, tuple[str, str]] = {}
    for operation in operations.values():
        for each in operation.get("parameters", ()):
            if each["in"] == "header":
                headers[each["name"]] = (schemas.type(each["schema"]), sentence(each["description"]))
    return table(("header", "type", "description"), [(code(name), *rest) for name, rest in headers.items()])


def _response_headers(schemas: Schemas, headers: Mapping[str, Mapping[str, Any]]) -> str:
    rows = [(code(name), schemas.type(each["schema"]), sentence(each["description"])) for name, each in headers.items()]
    return table(("header", "type", "description"), rows)


def _bodies(schemas: Schemas, operations: Mapping[tuple[str, str], Operation]) -> Iterator[str]:
    """Return the schemas that are not on the page of the events, each under the first heading that uses it."""
    named = api.document()["components"]["schemas"]
    written = {name for name in named if schemas.is_any(name)} | api.described_as_events()
    for heading, start in BODIES.items():
        used = schemas.closure(
            [
                [operation, list(_replies(operation).values())]
                for (_, path), operation in operations.items()
                if start == max((each for each in BODIES.values() if path.startswith(each)), key=len)
            ]
        )
        yield f"## {heading}"
        for name in sorted(used - written):
            yield schemas.section(name, "###")
        written |= used
