"""Requests as the doors hand them over, and as nobody should."""

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


def test_of_two_parameters_of_one_name_the_last_counts() -> None:
    request = HttpRequest.from_event(EVENT)
    assert (request.method, request.path, request.headers) == ("POST", "/chat", {"content-type": "application/json"})
    assert request.query == {"stream": "false"}


@pytest.mark.parametrize(
    ("stage", "path", "without"),
    [("live", "/live/chat", "/chat"), ("live", "/lively", "/lively"), ("$default", "/chat", "/chat")],
)
def test_a_stage_is_not_part_of_the_path(stage: str, path: str, without: str) -> None:
    context = {**EVENT["requestContext"], "stage": stage}
    assert HttpRequest.from_event({**EVENT, "rawPath": path, "requestContext": context}).path == without


@pytest.mark.parametrize(
    ("route_key", "path", "matched", "fits"),
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
def test_the_path_is_the_one_that_the_gateway_matched(
    route_key: str, path: str, matched: dict[str, str], *, fits: bool
) -> None:
    with nullcontext() if fits else pytest.raises(BadRequest):
        HttpRequest.from_event({**EVENT, "routeKey": route_key, "rawPath": path, "pathParameters": matched})


def test_what_it_is_for_others_is_what_we_read_of_it() -> None:
    secrets = {"Authorization": "Bearer surprise", "X-Bedrock-Api-Key": "surprise"}
    request = HttpRequest.from_event(EVENT | {"isBase64Encoded": True, "surprise": 1, "headers": secrets})
    again = HttpRequest.from_event(request.as_event(b'{"a": 1}') | {"rawQueryString": "stream=false"})
    assert (again.method, again.path, again.query, again.raw_body) == ("POST", "/chat", request.query, '{"a": 1}')
    assert not again.is_base64
    assert "surprise" not in json.dumps(request.as_event(b"{}"))


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
def test_an_event_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="not an HTTP request"):
        HttpRequest.from_event(EVENT | change)


def test_a_body_with_half_a_character_is_refused() -> None:
    with pytest.raises(BadRequest, match="not valid Unicode"):
        HttpRequest.from_event(EVENT | {"body": "\ud83d"}).json_body(100)


def at(method: str, path: str) -> tuple[str, str]:
    context = {"http": {"method": method}}
    return route(HttpRequest.from_event({"rawPath": path, "requestContext": context}), ROUTES)


def test_a_route_and_its_id() -> None:
    assert at("GET", "/chat/conversation-1/stream") == ("resume", "conversation-1")
    assert at("GET", "/v1/models/claude-3.5") == ("model", "claude-3.5")
    with pytest.raises(MethodNotAllowed):
        at("HEAD", "/chat")


@pytest.mark.parametrize("inside", ["", "a/b", "%2e%2e", "a%2Fb", "a b", "x" * 65, "\ud800", "é", "abcdefgh\n", "a#b"])
def test_what_cannot_be_an_id_is_nothing(inside: str) -> None:
    with pytest.raises(NotFound):
        at("GET", f"/chat/{inside}/stream")


@pytest.mark.parametrize("path", ["//chat", "/chat/", "/CHAT", "/chat\x00", "/chat/../chat", "*", ""])
def test_a_path_is_taken_as_it_is(path: str) -> None:
    with pytest.raises(NotFound):
        at("POST", path)


@pytest.mark.parametrize(
    "value",
    ["", ":1", "generation", "generation:", "generation:-1", "generation:٣", "generation:9999999999", "a#bcdefgh:1",
     "x" * 2_000 + ":1", "\ud800bcdefgh:1"],
)  # fmt: skip
def test_a_cursor_that_is_none_of_ours(value: str) -> None:
    assert cursor(value) is None
