"""Converts HTTP requests to Lambda events, and Lambda results to HTTP responses.

Payload formats 2.0 (Function URL, HTTP API) and 1.0 (REST API):
https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
"""

import base64
import binascii
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote

from local_stack.entry_points.signatures import Identity
from local_stack.http import Request
from local_stack.template import ACCOUNT, REGION, Route

PRELUDE_END = b"\0" * 8
INTEGRATION_TYPE = "application/vnd.awslambda.http-integration-response"
TEXT_TYPES = frozenset({"application/json", "application/javascript", "application/xml"})
# The entry point sets these headers itself and ignores those of the function.
OWN_HEADERS = frozenset({"connection", "content-length", "date", "transfer-encoding"})
RENAMED_HEADERS = {"www-authenticate": "x-amzn-remapped-www-authenticate"}


class BadResult(Exception):
    """The function's result is not a valid HTTP response."""


@dataclass(frozen=True)
class Head:
    """Status and headers of a response."""

    status: int
    headers: tuple[tuple[str, str], ...]


# Events


def function_url_event(
    request: Request, body: bytes, now: datetime, identity: Identity | None = None
) -> dict[str, Any]:
    domain = f"local.lambda-url.{REGION}.on.aws"
    account = ACCOUNT if identity else "anonymous"
    event = _format_2(request, body, now, domain, "$default", "$default", account, identity)
    if event["cookies"]:
        event["headers"]["cookie"] = "; ".join(event["cookies"])
    else:
        del event["cookies"]
    return event


def http_api_event(
    request: Request,
    body: bytes,
    now: datetime,
    route: Route,
    parameters: Mapping[str, str],
    stage: str,
    identity: Identity | None = None,
) -> dict[str, Any]:
    domain = f"local.execute-api.{REGION}.amazonaws.com"
    event = _format_2(request, body, now, domain, route.key, stage, ACCOUNT, identity)
    # Only an HTTP API decodes the path. It cuts the path at a decoded question mark. Source: captures of live APIs in
    # https://github.com/hotsock/voker/pull/8
    event["rawPath"] = event["requestContext"]["http"]["path"] = unquote(request.path).partition("?")[0]
    if not event["cookies"]:
        del event["cookies"]
    if parameters:
        event["pathParameters"] = {name: unquote(value) for name, value in parameters.items()}
    return event


def rest_event(
    request: Request,
    body: bytes,
    now: datetime,
    route: Route,
    parameters: Mapping[str, str],
    stage: str,
    identity: Identity | None = None,
) -> dict[str, Any]:
    """Return a REST API event. `request.path` starts with the stage; the event's `path` does not.

    Paths stay percent-encoded.
    """
    domain = f"local.execute-api.{REGION}.amazonaws.com"
    query = parse_qsl(request.query, keep_blank_values=True)
    headers = [*_forwarded(request), *request.headers]
    text, encoded = _body(body, is_text=True)
    return {
        "resource": route.path,
        "path": request.path.removeprefix(f"/{stage}"),
        "httpMethod": request.method,
        "headers": dict(headers),
        "multiValueHeaders": _lists(headers),
        "queryStringParameters": dict(query) or None,
        "multiValueQueryStringParameters": _lists(query) or None,
        "pathParameters": dict(parameters) or None,
        "stageVariables": None,
        "requestContext": {
            "accountId": ACCOUNT,
            "apiId": "local",
            "domainName": domain,
            "domainPrefix": "local",
            "extendedRequestId": str(uuid.uuid4()),
            "httpMethod": request.method,
            "identity": _rest_identity(request, identity),
            "path": request.path,
            "protocol": "HTTP/1.1",
            "requestId": str(uuid.uuid4()),
            "requestTime": _clock(now),
            "requestTimeEpoch": int(now.timestamp() * 1000),
            "resourceId": "local",
            "resourcePath": route.path,
            "stage": stage,
        },
        "body": text if body else None,
        "isBase64Encoded": encoded,
    }


def _rest_identity(request: Request, identity: Identity | None) -> dict[str, Any]:
    return {
        "accessKey": identity and identity.access_key,
        "accountId": identity and ACCOUNT,
        "caller": identity and identity.user_id,
        "cognitoIdentityId": None,
        "sourceIp": request.client,
        "user": identity and identity.user_id,
        "userAgent": request.header("user-agent"),
        "userArn": identity and identity.user_arn,
    }


def _format_2(
    request: Request,
    body: bytes,
    now: datetime,
    domain: str,
    route_key: str,
    stage: str,
    account: str,
    identity: Identity | None,
) -> dict[str, Any]:
    headers = {name: ",".join(values) for name, values in _lists(request.headers).items() if name != "cookie"}
    headers |= {"host": domain, **dict(_forwarded(request))}
    query = _lists(parse_qsl(request.query, keep_blank_values=True))
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": request.path,
        "rawQueryString": request.query,
        "cookies": [
            cookie.strip() for name, value in request.headers if name == "cookie" for cookie in value.split(";")
        ],
        "headers": headers,
        "requestContext": {
            "accountId": account,
            "apiId": "local",
            "domainName": domain,
            "domainPrefix": "local",
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": "HTTP/1.1",
                "sourceIp": request.client,
                "userAgent": request.header("user-agent") or "",
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": route_key,
            "stage": stage,
            "time": _clock(now),
            "timeEpoch": int(now.timestamp() * 1000),
        },
        "isBase64Encoded": False,
    }
    if identity:
        event["requestContext"]["authorizer"] = {
            "iam": {
                "accessKey": identity.access_key,
                "accountId": ACCOUNT,
                "callerId": identity.user_id,
                "cognitoIdentity": None,
                "principalOrgId": None,
                "userArn": identity.user_arn,
                "userId": identity.user_id,
            }
        }
    if query:
        event["queryStringParameters"] = {name: ",".join(values) for name, values in query.items()}
    if body:
        event["body"], event["isBase64Encoded"] = _body(body, is_text=_is_text(request.header("content-type")))
    return event


def _is_text(content_type: str | None) -> bool:
    essence = (content_type or "").partition(";")[0].strip().lower()
    return essence.startswith("text/") or essence in TEXT_TYPES


def _body(body: bytes, *, is_text: bool) -> tuple[str, bool]:
    """Return the body of an event, and whether it is in base64."""
    if is_text:
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True


def _forwarded(request: Request) -> list[tuple[str, str]]:
    trace = f"Root=1-{uuid.uuid4().hex[:8]}-{uuid.uuid4().hex[:24]}"
    return [
        ("x-amzn-trace-id", trace),
        ("x-forwarded-for", request.client),
        ("x-forwarded-port", "443"),
        ("x-forwarded-proto", "https"),
    ]


def _lists(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for name, value in pairs:
        grouped.setdefault(name, []).append(value)
    return grouped


def _clock(now: datetime) -> str:
    return now.astimezone(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")


# Responses


def answer_of(result: bytes) -> tuple[Head, bytes]:
    """Convert a buffered result to a response.

    The result is an object with `statusCode`, or any other JSON, which becomes the body of a 200. Raises BadResult.
    """
    try:
        value = json.loads(result)
        if not isinstance(value, dict) or "statusCode" not in value:
            return Head(200, (("content-type", "application/json"),)), result
        body = value.get("body") or ""
        if not isinstance(body, str):
            raise BadResult("body is not a string")
        data = base64.b64decode(body, validate=True) if value.get("isBase64Encoded") else body.encode()
    except (ValueError, binascii.Error) as error:
        raise BadResult(str(error)) from error
    return head_of(value, "application/json"), data


def head_of(value: Any, content_type: str = "application/octet-stream") -> Head:
    """Read status and headers from a prelude or a buffered result.

    They come from `statusCode`, `headers`, `multiValueHeaders` and `cookies`. Raises BadResult.
    """
    try:
        status = int(value.get("statusCode", 200))
        single = value.get("headers") or {}
        multiple = value.get("multiValueHeaders") or {}
        pairs = [(name, _header(single[name])) for name in single if name.lower() not in _lower(multiple)]
        pairs += [(name, _header(item)) for name, items in multiple.items() for item in items]
        pairs += [("set-cookie", str(cookie)) for cookie in value.get("cookies") or []]
    except (AttributeError, TypeError, ValueError) as error:
        raise BadResult(f"not a valid response: {error}") from error
    if not 200 <= status <= 599:
        raise BadResult(f"statusCode is {status}, not 200 to 599")
    kept = [(RENAMED_HEADERS.get(name.lower(), name), text) for name, text in pairs if name.lower() not in OWN_HEADERS]
    if "content-type" not in _lower(name for name, _ in kept):
        kept.append(("content-type", content_type))
    return Head(status, tuple(kept))


def _lower(names: Iterable[str]) -> set[str]:
    return {name.lower() for name in names}


def _header(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if "\r" in text or "\n" in text:
        raise ValueError("a header value has more than one line")
    return text


class Prelude:
    """Parses the prelude of a streamed response: JSON and eight NUL bytes. Chunks may end anywhere."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> tuple[Head, bytes] | None:
        """Return the head and the bytes after the prelude, or None until it is complete. Raises BadResult."""
        self._buffer += data
        text, end, rest = self._buffer.partition(PRELUDE_END)
        if not end:
            return None
        try:
            return head_of(json.loads(text)), rest
        except ValueError as error:
            raise BadResult("the prelude is not valid JSON") from error
