"""The local entry points: events from requests, responses from results, preludes, routes."""

import base64
import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from local_stack.entry_points.api_gateway import Routes
from local_stack.entry_points.events import (
    BadResult,
    Head,
    Prelude,
    answer_of,
    function_url_event,
    http_api_event,
    rest_event,
)
from local_stack.http import Request
from local_stack.template import Route

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def request(method: str = "POST", target: str = "/chat?a=1&a=2&b=", **headers: str) -> Request:
    path, _, query = target.partition("?")
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    no_connection = cast(Any, None)  # no body is read here
    return Request(method, target, path, query, pairs, "10.0.0.1", no_connection)


def test_function_url_event_has_the_fields_of_version_2() -> None:
    incoming = request(content_type="application/json", cookie="a=1; b=2", host="127.0.0.1:8787")
    incoming.headers += [("x-twice", "1"), ("x-twice", "2")]
    event = function_url_event(incoming, b'{"x": 1}', NOW)
    assert event["version"] == "2.0"
    assert (event["rawPath"], event["rawQueryString"]) == ("/chat", "a=1&a=2&b=")
    assert event["queryStringParameters"] == {"a": "1,2", "b": ""}
    assert event["headers"]["x-twice"] == "1,2"
    assert event["headers"]["cookie"] == "a=1; b=2"
    assert event["cookies"] == ["a=1", "b=2"]
    assert event["headers"]["host"] == event["requestContext"]["domainName"] == "local.lambda-url.us-east-1.on.aws"
    assert (event["body"], event["isBase64Encoded"]) == ('{"x": 1}', False)
    assert "authorizer" not in event["requestContext"]
    assert event["requestContext"]["http"]["sourceIp"] == "10.0.0.1"
    assert event["requestContext"]["time"] == "04/Mar/2026:05:06:07 +0000"
    assert event["requestContext"]["timeEpoch"] == 1772600767000


def test_event_of_a_get_request_has_no_body_key() -> None:
    event = function_url_event(request("GET", "/health"), b"", NOW)
    assert not {"body", "cookies", "queryStringParameters"} & event.keys()
    assert event["isBase64Encoded"] is False


@pytest.mark.parametrize(
    ("content_type", "body", "encoded"),
    [
        ("application/json; charset=utf-8", "ü".encode(), False),
        ("text/plain", b"x", False),
        ("application/x-www-form-urlencoded", b"x", True),
        ("application/octet-stream", b"x", True),
        ("", b"x", True),
        ("application/json", b"\xff", True),
    ],
)
def test_body_is_base64_unless_it_is_text(content_type: str, body: bytes, encoded: bool) -> None:
    event = function_url_event(request(content_type=content_type), body, NOW)
    assert event["isBase64Encoded"] is encoded
    assert (base64.b64decode(event["body"]) if encoded else event["body"].encode()) == body


def test_rest_event_keeps_every_value_of_a_header_or_parameter() -> None:
    incoming = request(target="/live/a%20b?q=1&q=2", content_type="application/json")
    incoming.headers += [("x-twice", "1"), ("x-twice", "2")]
    event = rest_event(incoming, b"{}", NOW, Route("ANY", "/{proxy+}", "F"), {"proxy": "a%20b"}, "live")
    assert (event["path"], event["requestContext"]["path"]) == ("/a%20b", "/live/a%20b")
    assert event["pathParameters"] == {"proxy": "a%20b"}
    assert event["multiValueHeaders"]["x-twice"] == ["1", "2"]
    assert event["headers"]["x-twice"] == "2"
    assert event["multiValueQueryStringParameters"] == {"q": ["1", "2"]}
    assert "version" not in event


def test_http_api_decodes_the_path_and_truncates_it_at_a_question_mark() -> None:
    incoming, route = request("GET", "/things/a%20b%3Fx?q=1"), Route("GET", "/things/{id}", "F")
    event = http_api_event(incoming, b"", NOW, route, {"id": "a%20b%3Fx"}, "$default")
    assert event["rawPath"] == event["requestContext"]["http"]["path"] == "/things/a b"
    assert event["pathParameters"] == {"id": "a b?x"}
    assert event["rawQueryString"] == "q=1"
    assert function_url_event(incoming, b"", NOW)["rawPath"] == "/things/a%20b%3Fx"


@pytest.mark.parametrize(
    ("result", "head", "body"),
    [
        ({"hello": 1}, Head(200, (("content-type", "application/json"),)), b'{"hello": 1}'),
        (
            {"statusCode": 201, "headers": {"Content-Type": "text/plain", "X-N": 1}, "cookies": ["a=1"], "body": "x"},
            Head(201, (("Content-Type", "text/plain"), ("X-N", "1"), ("set-cookie", "a=1"))),
            b"x",
        ),
        (
            {"statusCode": 200, "isBase64Encoded": True, "body": "/w=="},
            Head(200, (("content-type", "application/json"),)),
            b"\xff",
        ),
        (
            {"statusCode": 401, "headers": {"content-type": "a/b", "WWW-Authenticate": "Basic", "Date": "today"}},
            Head(401, (("content-type", "a/b"), ("x-amzn-remapped-www-authenticate", "Basic"))),
            b"",
        ),
    ],
)
def test_result_becomes_a_response(result: Any, head: Head, body: bytes) -> None:
    assert answer_of(json.dumps(result).encode()) == (head, body)


@pytest.mark.parametrize(
    "result",
    [
        pytest.param(b"{", id="not-json"),
        pytest.param(b'{"statusCode": "x"}', id="status"),
        pytest.param(b'{"statusCode": 200, "body": {"a": 1}}', id="body-is-an-object"),
        pytest.param(b'{"statusCode": 200, "isBase64Encoded": true, "body": "%"}', id="not-base64"),
        pytest.param(b'{"statusCode": 200, "headers": {"a": "b\\r\\nc: d"}}', id="header-with-a-line-break"),
    ],
)
def test_invalid_result_is_refused(result: bytes) -> None:
    with pytest.raises(BadResult):
        answer_of(result)


PRELUDE = b'{"statusCode": 200, "headers": {"content-type": "text/plain"}}' + b"\0" * 8
PAYLOAD = "\0👋".encode()  # begins with a NUL, directly after the eight NULs of the prelude


@pytest.mark.parametrize("split", range(len(PRELUDE)))
def test_prelude_split_at_any_byte_is_parsed(split: int) -> None:
    prelude, data = Prelude(), PRELUDE + PAYLOAD
    assert prelude.feed(data[:split]) is None
    assert prelude.feed(data[split:]) == (Head(200, (("content-type", "text/plain"),)), PAYLOAD)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/things/all", ("/things/all", {})),
        ("GET", "/things/1", ("/things/{id}", {"id": "1"})),
        ("GET", "/things/a%2Fb", ("/things/{id}", {"id": "a%2Fb"})),
        ("DELETE", "/things/1", ("/things/{id}", {"id": "1"})),
        ("GET", "/parts/2", ("/{rest+}", {"rest": "parts/2"})),
        ("GET", "/things/1/parts", ("/things/{id}/{part+}", {"id": "1", "part": "parts"})),
        ("PATCH", "/nothing", None),
        ("OPTIONS", "/nothing", None),
        ("OPTIONS", "/things/1", ("/things/{id}", {"id": "1"})),
    ],
)
def test_most_specific_route_is_selected(method: str, path: str, expected: tuple[str, dict[str, str]] | None) -> None:
    routes = Routes(
        [
            Route("GET", "/{rest+}", "F"),
            Route("ANY", "/things/{id}", "F"),
            Route("GET", "/things/{id}", "F"),
            Route("GET", "/things/all", "F"),
            Route("GET", "/things/{id}/{part+}", "F"),
        ]
    )
    match = routes.find(method, path)
    assert (match and (match[0].path, match[1])) == expected


@pytest.mark.parametrize(
    ("method", "path", "key"),
    [
        ("GET", "/a/b/c", "ANY /a/b/{rest+}"),
        ("GET", "/a/c", "GET /a/{rest+}"),
        ("GET", "/b", "GET /{rest+}"),
        ("GET", "/", "$default"),
        ("OPTIONS", "/b", "$default"),
    ],
)
def test_most_specific_greedy_route_or_the_default_is_selected(method: str, path: str, key: str) -> None:
    keys = ["$default", "GET /{rest+}", "GET /a/{rest+}", "ANY /a/b/{rest+}"]
    routes = Routes(Route(*route_key.partition(" ")[::2], "F") for route_key in keys)
    match = routes.find(method, path)
    assert match
    assert match[0].key == key
