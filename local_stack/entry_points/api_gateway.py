"""API Gateway: the HTTP API, which buffers each response, and the REST API in streamed mode."""

import asyncio
import json
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from local_stack.entry_points import cors
from local_stack.entry_points.events import BadResult, Head, answer_of, http_api_event, rest_event
from local_stack.entry_points.relay import read_body, send_answer
from local_stack.entry_points.signatures import Refused, signer
from local_stack.entry_points.throttling import Throttling
from local_stack.http import Request, Responder
from local_stack.lambda_service.invocation import Failure, Result, Stream
from local_stack.lambda_service.pool import PayloadTooLarge, Pool, Throttled
from local_stack.template import HttpApi, RestApi, Route

# Request line and headers together: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-quotas.html
# and api-gateway-execution-service-limits-table.html. No page says with which status more is refused.
HEAD_LIMIT = 10_240
SERVICE = "execute-api"  # that callers sign for
INTEGRATION_SECONDS = 30  # of an HTTP API; a REST API in streamed mode waits as long as the function may run
JSON = ("content-type", "application/json")
PARAMETER = re.compile(r"\{([^}+]+)(\+?)\}")
DEFAULT = "$default"

Match = tuple[Route, dict[str, str]]


class Routes:
    """Finds the route of a request: fixed segments before `{name}` before `{name+}`, a method before ANY.

    Of two greedy paths the longer one is found, `$default` only where no other route matches:
    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-routes.html
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        ranked = sorted(routes, key=_rank)
        self._routes = [(route, re.compile(_pattern(route.path))) for route in ranked]

    def find(self, method: str, path: str) -> Match | None:
        """The route and its path parameters, still percent-encoded."""
        for route, pattern in self._routes:
            found = pattern.fullmatch(path)
            if found and route.method in {method, "ANY", DEFAULT}:
                names = [match[1] for match in PARAMETER.finditer(route.path)]
                return route, dict(zip(names, found.groups(), strict=True))
        return None


class HttpApiServer:
    """An HTTP API. When it has a CORS configuration, the functions' own CORS headers are dropped.

    It answers a preflight by itself only when no route matches OPTIONS. Otherwise the request goes to the route, with
    its authorization: https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-cors.html
    """

    def __init__(self, api: HttpApi, pools: Mapping[str, Pool], seconds: float = INTEGRATION_SECONDS) -> None:
        self._api = api
        self._routes = Routes(api.routes)
        self._throttling = Throttling(api.throttle, api.route_throttles)
        self._pools = pools
        self._seconds = seconds
        self._running: set[asyncio.Task[tuple[Head, bytes]]] = set()

    async def __call__(self, request: Request, responder: Responder) -> None:
        found = self._find(request)
        if self._api.cors and cors.is_preflight(request) and found is None:
            await responder.send(204, cors.preflight_headers(self._api.cors, request))
            return
        head, body = await self._answer(request, found)
        headers = head.headers
        if self._api.cors:
            headers = tuple(pair for pair in headers if not pair[0].lower().startswith("access-control-"))
        await responder.send(head.status, [*headers, *cors.response_headers(self._api.cors, request)], body)

    def _find(self, request: Request) -> Match | None:
        prefix = "" if self._api.stage == "$default" else f"/{self._api.stage}"
        path = request.path.removeprefix(prefix)
        return self._routes.find(request.method, path) if request.path.startswith(prefix) else None

    async def _answer(self, request: Request, found: Match | None) -> tuple[Head, bytes]:
        if request.head_size > HEAD_LIMIT:
            return _message(431, "Request Header Fields Too Large")
        if found is None:
            return _message(404, "Not Found")
        if not self._throttling.admits(found[0].key):
            return _message(429, "Too Many Requests")
        try:
            body, now = await read_body(request), datetime.now(UTC)
            identity = signer(request, body, SERVICE, now) if found[0].signed else None
        except PayloadTooLarge:
            return _message(413, "Request Entity Too Large")
        except Refused:
            return _message(403, "Forbidden")
        event = http_api_event(request, body, now, *found, self._api.stage, identity)
        task = asyncio.create_task(self._invoke(found[0].function, json.dumps(event).encode()))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        done, _ = await asyncio.wait({task}, timeout=self._seconds)
        return task.result() if done else _message(503, "Service Unavailable")  # the function runs on

    async def _invoke(self, function: str, event: bytes) -> tuple[Head, bytes]:
        try:
            answer = await self._pools[function].invoke(event)
            match answer:
                case Result():
                    return answer_of(answer.payload)
                case Failure():
                    reason = answer.error_type
                case Stream():
                    reason = "it streams, which an HTTP API cannot pass on"
        except Throttled:
            return _message(503, "Service Unavailable")
        except PayloadTooLarge:
            return _message(413, "Request Entity Too Large")
        except BadResult as error:
            reason = str(error)
        print(f"[API Gateway] 500: {function}: {reason}", file=sys.stderr, flush=True)
        return _message(500, "Internal Server Error")


class RestApiServer:
    """A REST API in streamed mode. CORS is the function's own affair, but for the OPTIONS mock and refusals."""

    def __init__(self, api: RestApi, pools: Mapping[str, Pool]) -> None:
        self._api = api
        self._routes = Routes(api.routes)
        self._throttling = Throttling(api.throttle)
        self._pools = pools

    async def __call__(self, request: Request, responder: Responder) -> None:
        if request.head_size > HEAD_LIMIT:
            await self._refuse(responder, 431, "Request Header Fields Too Large")
            return
        prefix = f"/{self._api.stage}/"
        found = self._routes.find(request.method, request.path[len(prefix) - 1 :])
        if found is None or not request.path.startswith(prefix):
            await self._refuse(responder, 403, "Missing Authentication Token")
            return
        if self._api.cors and request.method == "OPTIONS":
            await responder.send(204, cors.preflight_headers(self._api.cors, request))
            return
        if not self._throttling.admits(found[0].key):
            await self._refuse(responder, 429, "Too Many Requests")
            return
        try:
            body, now = await read_body(request), datetime.now(UTC)
            identity = signer(request, body, SERVICE, now) if found[0].signed else None
            event = rest_event(request, body, now, *found, self._api.stage, identity)
            answer = await self._pools[found[0].function].invoke(json.dumps(event).encode())
            await send_answer(answer, responder)
        except Refused as error:
            await self._refuse(responder, 403, error.message)
        except Throttled:
            # https://repost.aws/questions/QUfI6bsdd0SOiPeyimzxSkfQ: the gateway makes a 500 of Lambda's 429.
            await self._refuse(responder, 500, "Internal server error")
        except PayloadTooLarge:
            await self._refuse(responder, 413, "Request Too Long")
        except BadResult as error:
            print(f"[REST API] 502: {error}", file=sys.stderr, flush=True)
            await self._refuse(responder, 502, "Internal server error")

    async def _refuse(self, responder: Responder, status: int, text: str) -> None:
        head, body = _message(status, text)
        await responder.send(status, [*head.headers, *self._api.refusals], body)


def _rank(route: Route) -> tuple[bool, bool, list[int], bool]:
    """Sorts routes: the one that is to be found first comes first. Segments are compared from the left."""
    segments = [2 if part.endswith("+}") else int(part.startswith("{")) for part in route.path.split("/")]
    return route.method == DEFAULT, 2 in segments, segments, route.method == "ANY"


def _pattern(path: str) -> str:
    """A route's path as a regular expression with one group for each parameter; `$default` has no path."""
    if not path:
        return ".*"
    parts = PARAMETER.split(path)
    texts, greedy = parts[::3], parts[2::3]
    groups = ["(.+)" if plus else "([^/]+)" for plus in greedy]
    return "".join(re.escape(text) + group for text, group in zip(texts, [*groups, ""], strict=True))


def _message(status: int, text: str) -> tuple[Head, bytes]:
    return Head(status, (JSON,)), json.dumps({"message": text}).encode()
