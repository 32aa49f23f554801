"""Lambda events and bytes of HTTP requests: valid, almost valid, and invalid."""

import base64
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.fuzz.bodies import (
    CONVERSATION,
    GENERATION,
    ROUTES,
    arbitrary,
    bodies,
    ids,
    mutated,
    nothing,
    optional,
    tasks,
    texts,
    to_json,
)

segments = st.one_of(
    ids,
    st.sampled_from(
        [CONVERSATION, ".", "..", "%2e%2e", "%2F", "a/b", "", " ", "x" * 65, "x" * 5_000, "%ff", "\ud800", "~META"]
    ),
    st.text(max_size=12),
)
values = st.one_of(texts, st.sampled_from(["1", "100", "101", "-1", "0", "9" * 5_000, "1e3", "true"]))
cursors = st.one_of(
    st.sampled_from([f"{GENERATION}:{position}" for position in ("0", "٣", "-1", "999999999", "9999999999", "b", "")]),
    st.sampled_from([":5", "a#bcdefgh:1", "x" * 5_000 + ":1", "\ud800:1"]),
    st.binary(max_size=30).map(lambda data: base64.urlsafe_b64encode(data).decode()),
    st.sampled_from([[1], [10**9], [True], ["2026-11-21T00:00:00.000Z", CONVERSATION], [1e400], {}, [[[]]]]).map(
        lambda fields: base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")
    ),
    values,
)
queries = optional(stream=values, dialect=values, after=cursors, limit=values, cursor=cursors)
headers = optional(
    **{
        "idempotency-key": texts,
        "x-bedrock-api-key": texts,
        "x-client-id": texts,
        "last-event-id": cursors,
        "x-dev-user": st.sampled_from(["mallory", "", "a b", "x" * 100, "é", "\ud800"]),
        "origin": texts,
        "authorization": texts,
        "content-encoding": st.just("gzip"),
        "x-origin-secret": texts,
    }
)
types = st.one_of(
    *[st.just("application/json")] * 9,
    st.sampled_from(["Container/JSON; charset=UTF-8", "application/json; charset=latin-1", "text/plain", "", "\ud800"]),
    st.sampled_from(["application/json, text/plain", "multipart/form-data; boundary=x"]),
)
methods = st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "get", "", "BREW"])


@st.composite
def http_events(draw: DrawFn, function: str) -> Any:
    """An event as an entry point makes it, for one of the function's routes or a similar path."""
    routes_with_body = [route for route in ROUTES[function] if route[1] is not nothing]
    route, shape = draw(st.sampled_from(ROUTES[function] + 3 * routes_with_body))
    method, _, pattern = route.partition(" ")
    path = pattern.replace("{}", draw(segments)) if draw(st.integers(0, 2)) else pattern.replace("{}", CONVERSATION)
    if draw(st.integers(0, 15)) == 0:
        method = draw(methods)
    if draw(st.integers(0, 15)) == 0:
        variants = ["/" + path, path + "/", path.upper(), path.replace("/", "%2f"), path + "\x00", path + "\n", "", "*"]
        path = draw(st.sampled_from(variants))
    query = draw(queries)
    body = None if shape is nothing else draw(bodies(shape))
    sent = draw(headers) | {"content-type": draw(types)}
    event: dict[str, Any] = {"headers": sent, "isBase64Encoded": False}
    if body is not None:
        try:
            event["body"] = body.decode()
        except UnicodeDecodeError:
            event |= {"body": base64.b64encode(body).decode(), "isBase64Encoded": True}
    if draw(st.integers(0, 4)) == 0:
        identity = {"sourceIp": "127.0.0.1"}
        event |= {"httpMethod": method, "path": path, "queryStringParameters": query or None}
        event |= {"requestContext": {"stage": "live", "identity": identity}, "pathParameters": None}
    else:
        raw = "&".join(f"{name}={quote(value, errors='replace')}" for name, value in query.items())
        event |= {"version": "2.0", "rawPath": path, "rawQueryString": raw, "queryStringParameters": query}
        context = {"http": {"method": method, "path": path, "sourceIp": "::1"}, "stage": "$default"}
        event |= {"requestContext": context, "routeKey": "$default"}
    return event


@st.composite
def any_events(draw: DrawFn, function: str, *, with_tasks: bool) -> Any:
    """HTTP events, mutated ones, tasks, and arbitrary JSON."""
    kind = draw(st.integers(0, 9))
    if kind < 5:
        return draw(http_events(function))
    if kind < 8:
        return draw(mutated(draw(http_events(function))))
    if kind == 8 and with_tasks:
        return draw(mutated(draw(tasks)))
    return draw(arbitrary)


INSERTIONS = st.one_of(
    st.binary(max_size=8),
    st.sampled_from(
        [b"\r\n", b"\n", b"\r\n\r\n", b"\x00", b"\x16\x03\x01", b"Transfer-Encoding: chunked\r\n", b": ", b" "]
    ),
    st.sampled_from([b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Expect: 100-continue\r\n", b"a" * 70_000]),
    st.sampled_from(
        [b"Transfer-Encoding: gzip\r\n", b"Upgrade: h2c\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"HTTP/0.9"]
    ),
)


@dataclass(frozen=True, slots=True)
class Payload:
    """An event as the Runtime API sends it."""

    json: str

    def __repr__(self) -> str:
        return f"{self.json[:2_000]!r} ({len(self.json)})"


def payloads(function: str, *, with_tasks: bool) -> SearchStrategy[Payload]:
    """Events for the function, as JSON; with tasks only for the function that runs them."""
    return any_events(function, with_tasks=with_tasks).map(lambda event: Payload(to_json(event)))


@st.composite
def raw_requests(draw: DrawFn, prefix: bytes) -> bytes:
    """The bytes of an HTTP request, valid or with a few random changes; `prefix` is the path of the stage."""
    event = draw(http_events(draw(st.sampled_from(sorted(ROUTES)))))
    http = event["requestContext"].get("http") or {"method": event["httpMethod"], "path": event["path"]}
    method, target = (http[name].encode("utf-8", "replace") for name in ("method", "path"))
    query = event.get("rawQueryString", "").encode()
    body = event.get("body", "").encode("utf-8", "replace")
    sent = {**event["headers"], "host": "localhost", "connection": "close", "content-length": str(len(body))}
    lines = [b"%b %b%b?%b HTTP/1.1" % (method, prefix, target, query)]
    lines += [name.encode() + b": " + value.encode("utf-8", "replace") for name, value in sent.items()]
    data = b"\r\n".join([*lines, b"", body])
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, min(len(data), 400)))
        data = data[:at] + draw(INSERTIONS) + data[at + draw(st.integers(0, 5)) :]
    return data
