"""HTTP requests in one form, from the events of all entry points.

Function URLs and HTTP APIs use payload 2.0, REST APIs payload 1.0
(https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html and apigateway-develop-integrations-lambda.html).
"""

import base64
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import parse_qs

from pydantic import SecretStr

from converse_stream.protocol.errors import BadRequest, ChatError, Forbidden, TooLarge, UnsupportedMediaType
from converse_stream.settings import Settings

EXPOSED_HEADERS = "retry-after,x-adapted,x-request-id,x-vercel-ai-ui-message-stream"
VIEWER_ADDRESS = "x-viewer-address"  # trusted only if the request has the secret of the web host
ORIGIN_SECRET = "x-origin-secret"  # noqa: S105 - the header's name
BEDROCK_KEY = "x-bedrock-api-key"
# Bytes of token and key together. API Gateway allows 10,240 for all headers and the request line
# (https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html); the rest is for the headers
# that browsers, clients and CloudFront add.
CREDENTIALS_LIMIT = 7 * 1024
CREDENTIALS = ("authorization", "x-authorization", BEDROCK_KEY)
ID = r"^[A-Za-z0-9._-]{1,64}$"  # of a path parameter

# JSON is always UTF-8 (RFC 8259), so no other charset is accepted.
_JSON = re.compile(r"application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?;?\s*", re.IGNORECASE)
_PARAMETER = re.compile(r"\{([^}+]+)(\+?)\}")  # in the route key of an HTTP API
BEDROCK_API_KEY = re.compile(r"[\x21-\x7e]{1,4096}")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """An HTTP request. Header names are in lower case, and `path` has no stage."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw_body: str  # as in the event
    is_base64: bool
    context: Mapping[str, Any]  # `requestContext` of the event: has the identity of the caller
    is_rest: bool  # payload 1.0: the function has to add the CORS headers

    @classmethod
    def from_event(cls, event: Any) -> Self:
        """Returns the request of an event. Raises BadRequest for an event that is not an HTTP request."""
        event = _fields(event)
        context = _fields(event.get("requestContext"))
        headers = {str(name).lower(): str(value) for name, value in _fields(event.get("headers") or {}).items()}
        for identity in ("authorizer", "identity"):
            _fields(context.get(identity) or {})  # `auth` reads it
        if "http" in context:
            http, stage = _fields(context["http"]), context.get("stage")
            query = {name: values[-1] for name, values in parse_qs(_text(event.get("rawQueryString") or "")).items()}
            method, path, is_rest = _text(http.get("method")), _text(event.get("rawPath")), False
            path = path.removeprefix(f"/{stage}") if path.startswith(f"/{stage}/") else path
            _check_matched(event, path)
        else:
            parameters = _fields(event.get("queryStringParameters") or {})
            query = {str(name): str(value) for name, value in parameters.items()}
            method, path, is_rest = _text(event.get("httpMethod")), _text(event.get("path")), True
        body = _text(event.get("body") or "")
        return cls(method, path, query, headers, body, bool(event.get("isBase64Encoded")), context, is_rest)

    def as_event(self, body: bytes) -> dict[str, Any]:
        """The request as an event of payload 2.0 with a JSON body, for the router. It has no credentials."""
        return {
            "rawPath": self.path,
            "queryStringParameters": dict(self.query),
            "headers": {"content-type": "application/json"},
            "requestContext": {"http": {"method": self.method}, "stage": "$default"},
            "body": body.decode(),
            "isBase64Encoded": False,
        }

    def address(self, *, behind_web_host: bool) -> str:
        """The IP address of the client. Behind the web host, a header of the web host has it."""
        if behind_web_host:
            return self.headers.get(VIEWER_ADDRESS, "")
        source = self.context.get("identity") if self.is_rest else self.context.get("http")
        return str((source or {}).get("sourceIp", ""))

    def bedrock_key(self) -> SecretStr | None:
        """The Bedrock API key in the headers, None without one. Raises BadRequest, whose message never has the key."""
        key = self.headers.get(BEDROCK_KEY)
        if key is not None and not BEDROCK_API_KEY.fullmatch(key):
            raise BadRequest("X-Bedrock-Api-Key must be 1 to 4096 visible characters.", field=BEDROCK_KEY)
        if key is not None and sum(len(self.headers.get(name, "")) for name in CREDENTIALS) > CREDENTIALS_LIMIT:
            message = f"X-Bedrock-Api-Key and Authorization must be at most {CREDENTIALS_LIMIT} characters together."
            raise BadRequest(message, field=BEDROCK_KEY)
        return SecretStr(key) if key is not None else None

    def json_body(self, limit: int) -> bytes:
        """The body of a JSON request, `limit` bytes at most. Raises UnsupportedMediaType, TooLarge, BadRequest."""
        if not _JSON.fullmatch(self.headers.get("content-type", "").strip()):
            raise UnsupportedMediaType(field="content-type")
        body = self._decoded()
        if len(body) > limit:
            raise TooLarge(f"The body is larger than {limit} bytes.", field="body")
        return body

    def _decoded(self) -> bytes:
        try:
            return base64.b64decode(self.raw_body, validate=True) if self.is_base64 else self.raw_body.encode()
        except UnicodeEncodeError:
            raise BadRequest("The body is not valid Unicode.", field="body") from None
        except ValueError:
            raise BadRequest("The body is not valid base64.", field="body") from None

    def cors(self, allowed: Iterable[str]) -> dict[str, str]:
        """The CORS headers of the response, empty if the origin is not allowed, or if the entry point adds them."""
        origin = self.headers.get("origin")
        if not self.is_rest or origin is None or origin not in allowed:
            return {}
        return {
            "access-control-allow-origin": origin,
            "access-control-expose-headers": EXPOSED_HEADERS,
            "vary": "origin",
        }


def check_origin(request: HttpRequest, settings: Settings) -> None:
    """Raises Forbidden if there is a web host and the request did not come through it."""
    secret = request.headers.get(ORIGIN_SECRET, "").encode("utf-8", "replace")
    if settings.origin_secret and not hmac.compare_digest(secret, settings.origin_secret.encode()):
        raise Forbidden


def _check_matched(event: Mapping[str, Any], path: str) -> None:
    """Raises BadRequest if `path` is not the path that API Gateway matched.

    An HTTP API decodes `rawPath` and cuts it at a decoded question mark. So `rawPath` could name another conversation
    than the one that the route matched.
    """
    matched = _fields(event.get("pathParameters") or {})
    if not matched:
        return

    def value(parameter: re.Match[str]) -> str:
        text = _text(matched.get(parameter[1]))
        return text if parameter[2] or "/" not in text else ""

    if _PARAMETER.sub(value, _text(event.get("routeKey")).partition(" ")[2]) != path:
        raise BadRequest("The path has encoded characters that are not allowed.", field="path")


def _fields(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadRequest("This is not an HTTP request.")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadRequest("This is not an HTTP request.")
    return value


def json_bytes(value: object) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def error_body(error: ChatError, request_id: str) -> bytes:
    """The body of an error response."""
    return json_bytes(error.body(request_id))
