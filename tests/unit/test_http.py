"""Events of the entry points as HTTP requests: valid ones, invalid ones, and their routes."""

import json
from contextlib import nullcontext
from typing import Any

import pytest

from converse_stream.generation.follower import cursor
from converse_stream.http.request import HttpRequest
from converse_stream.http.routing import route
from converse_stream.protocol.errors import BadRequest, MethodNotAllowed, NotFound

ROUTES = {"POST /chat": "send", "GET /chat/{}/stream": "resume", "GET /v1/models/{}": "model"}
EVENT: dict[str, Any] = {
    "rawPath": "/chat",
    "rawQueryString": "stream=true&stream=false&after=",
    "headers": {"Content-Type": "application/json"},
    "requestContext": {"http": {"method": "POST", "sourceIp": "::1"}, "stage": "$default"},
    "body": "{}",
}


def test_last_of_two_query_parameters_with_one_name_is_used() -> None:
    request = HttpRequest.from_event(EVENT)
    assert (request.method, request.path, request.headers) == ("POST", "/chat", {"content-type": "application/json"})
    assert request.query == {"stream": "false"}


@pytest.mark.parametrize(
    ("stage", "path", "expected"),
    [("live", "/live/chat", "/chat"), ("live", "/lively", "/lively"), ("$default", "/chat", "/chat")],
)
def test_path_excludes_the_stage(stage: str, path: str, expected: str) -> None:
    context = {**EVENT["requestContext"], "stage": stage}
    assert HttpRequest.from_event({**EVENT, "rawPath": path, "requestContext": context}).path == expected


@pytest.mark.parametrize(
    ("route_key", "path", "path_parameters", "fits"),
    [
        ("DELETE /conversations/{id}", "/conversations/abcdefgh", {"id": "abcdefgh"}, True),
        ("DELETE /conversations/{id}", "/conversations/abcdefgh", {"id": "abcdefgh?x"}, False),
        ("GET /conversations/{id}", "/conversations/a/messages", {"id": "a/messages"}, False),
        ("GET /conversations/{id}/messages", "/conversations/a/messages", {"id": "a"}, True),
        ("ANY /{proxy+}", "/conversations/a", {"proxy": "conversations/a"}, True),
        ("ANY /{proxy+}", "/conversations/a", {"proxy": "conversations/a?x"}, False),
        ("DELETE /conversations/{id}", "/conversations/a", {"other": "a"}, False),
        ("GET /conversations", "/conversations", {}, True),
    ],
)
def test_path_that_differs_from_the_matched_route_is_refused(
    route_key: str, path: str, path_parameters: dict[str, str], *, fits: bool
) -> None:
    with nullcontext() if fits else pytest.raises(BadRequest):
        HttpRequest.from_event({**EVENT, "routeKey": route_key, "rawPath": path, "pathParameters": path_parameters})


def test_event_of_a_request_contains_only_the_parsed_fields() -> None:
    secrets = {"Authorization": "Bearer unexpected", "X-Bedrock-Api-Key": "unexpected"}
    request = HttpRequest.from_event(EVENT | {"isBase64Encoded": True, "unexpected": 1, "headers": secrets})
    parsed = HttpRequest.from_event(request.as_event(b'{"a": 1}') | {"rawQueryString": "stream=false"})
    assert (parsed.method, parsed.path, parsed.query, parsed.raw_body) == ("POST", "/chat", request.query, '{"a": 1}')
    assert not parsed.is_base64
    assert "unexpected" not in json.dumps(request.as_event(b"{}"))


@pytest.mark.parametrize(
    "change",
    [
        {"requestContext": None},
        {"requestContext": {"http": []}},
        {"requestContext": {"http": {"method": None}}},
        {"requestContext": {"http": {"method": "GET"}, "authorizer": "me"}},
        {"requestContext": {"identity": ["me"]}, "httpMethod": "GET", "path": "/chat"},
        {"requestContext": {}, "httpMethod": "GET", "path": "/chat", "queryStringParameters": "a=b"},
        {"rawPath": 7},
        {"rawQueryString": {"a": "b"}},
        {"headers": ["content-type"]},
        {"body": {"message": "hi"}},
    ],
    ids=str,
)
def test_event_with_another_structure_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="not an HTTP request"):
        HttpRequest.from_event(EVENT | change)


def test_body_with_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(BadRequest, match="not valid Unicode"):
        HttpRequest.from_event(EVENT | {"body": "\ud83d"}).json_body(100)


def route_of(method: str, path: str) -> tuple[str, str]:
    context = {"http": {"method": method}}
    return route(HttpRequest.from_event({"rawPath": path, "requestContext": context}), ROUTES)


def test_route_returns_the_name_and_the_id() -> None:
    assert route_of("GET", "/chat/conversation-1/stream") == ("resume", "conversation-1")
    assert route_of("GET", "/v1/models/claude-3.5") == ("model", "claude-3.5")
    with pytest.raises(MethodNotAllowed):
        route_of("HEAD", "/chat")


@pytest.mark.parametrize("segment", ["", "a/b", "%2e%2e", "a%2Fb", "a b", "x" * 65, "\ud800", "é", "abcdefgh\n", "a#b"])
def test_path_segment_that_is_not_an_id_is_not_found(segment: str) -> None:
    with pytest.raises(NotFound):
        route_of("GET", f"/chat/{segment}/stream")


@pytest.mark.parametrize("path", ["//chat", "/chat/", "/CHAT", "/chat\x00", "/chat/../chat", "*", ""])
def test_path_is_not_normalized(path: str) -> None:
    with pytest.raises(NotFound):
        route_of("POST", path)


@pytest.mark.parametrize(
    "value",
    ["", ":1", "generation", "generation:", "generation:-1", "generation:٣", "generation:9999999999", "a#bcdefgh:1",
     "x" * 2_000 + ":1", "\ud800bcdefgh:1"],
)  # fmt: skip
def test_invalid_cursor_is_none(value: str) -> None:
    assert cursor(value) is None
