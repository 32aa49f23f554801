"""Emulates CloudFront: one host, which forwards each request to an origin that depends on the path.

https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/RequestAndResponseBehaviorCustomOrigin.html
"""

import asyncio
import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from local_stack.entry_points.distribution import Distribution
from local_stack.http import Handler, Headers, Request, Responder

VIEWER_ADDRESS = "x-viewer-address"  # set by the distribution's function, which does not run here
# "Maximum length of a request and maximum length of a URL"
REQUEST_LIMIT = 20_480
URL_LIMIT = 8_192
# https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/custom-error-pages-expiration.html
ERROR_SECONDS = 10.0
KEPT_UNLESS_FORBIDDEN = frozenset({404, 410, 414, 501})  # Cache-Control may forbid to keep these...
ALWAYS_KEPT = frozenset({500, 502, 503, 504})  # ...for these it is ignored, whatever the cache policy is
FORBIDS = ("no-store", "no-cache", "private")
TEXT = ("content-type", "text/plain")


class Answer(NamedTuple):
    """A whole response."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class OriginResponder(Responder):
    """What an origin writes its response to: it is passed on to the viewer.

    `deadline` is when the origin has been silent for too long; never while the viewer takes what it has sent.
    """

    def __init__(self, viewer: Responder, seconds: float) -> None:
        self.writer = viewer.writer
        self.status = 0  # until the response starts
        self._headers: tuple[tuple[str, str], ...] = ()
        self._body = bytearray()  # of an error; other bodies are not kept
        self._complete = False
        self._viewer = viewer
        self._seconds = seconds
        self._abandoned = False
        self.deadline = time.monotonic() + seconds

    def override(self, headers: Headers) -> None:
        self._viewer.override(headers)

    async def start(self, status: int, headers: Headers = ()) -> None:
        self._check()
        self.status, self._headers = status, tuple(headers)
        self.deadline = math.inf
        await self._viewer.start(status, self._headers)
        self.deadline = time.monotonic() + self._seconds

    async def write(self, data: bytes) -> None:
        self._check()
        if self.status >= 400:
            self._body += data
        self.deadline = math.inf
        await self._viewer.write(data)
        self.deadline = time.monotonic() + self._seconds

    async def end(self) -> None:
        self._check()
        self._complete = True
        await self._viewer.end()

    def abort(self) -> None:
        self._viewer.abort()

    async def closed(self) -> None:
        await self._viewer.closed()

    @property
    def error(self) -> Answer | None:
        """The whole response, if it is an error."""
        if self.status < 400 or not self._complete:
            return None
        kept = (pair for pair in self._headers if pair[0].lower() != "content-length")
        return Answer(self.status, tuple(kept), bytes(self._body))

    def abandon(self) -> None:
        """Take nothing more from the origin."""
        self._abandoned = True

    def _check(self) -> None:
        if self._abandoned:
            raise ConnectionAbortedError("CloudFront has closed the connection")


class CloudFront:
    """Serves a distribution. `origins` has a handler for each of its origins. Only errors are cached."""

    def __init__(
        self, distribution: Distribution, origins: Mapping[str, Handler], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._distribution = distribution
        self._origins = origins
        self._clock = clock
        self._errors: dict[tuple[str, str], tuple[float, Answer]] = {}  # and until when they are kept
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, request: Request, responder: Responder) -> None:
        if request.head_size > REQUEST_LIMIT or len(_url(request)) > URL_LIMIT:
            await responder.send(413, [TEXT, ("connection", "close")], b"Request Entity Too Large\n")
            return
        behavior = self._distribution.behavior(request.path)
        responder.override(behavior.headers)
        if request.method not in behavior.methods:
            await responder.send(403, [TEXT], b"This method is not allowed here.\n")
        elif request.method == "GET" and request.has_body:  # "GET requests that include a body"
            await responder.send(403, [TEXT], b"A GET request has no body here.\n")
        elif kept := self._kept(request):
            await responder.send(kept.status, [*kept.headers, ("x-cache", "Error from cloudfront")], kept.body)
        else:
            await self._forward(request, responder, behavior.origin)

    async def _forward(self, request: Request, viewer: Responder, name: str) -> None:
        origin = self._distribution.origins[name]
        added = dict([(VIEWER_ADDRESS, request.client), *origin.headers])
        kept = [pair for pair in request.headers if pair[0] not in added]  # a viewer cannot set them
        forwarded = dataclasses.replace(request, headers=[*kept, *added.items()])
        responder = OriginResponder(viewer, origin.read_seconds)
        task = asyncio.ensure_future(self._origins[name](forwarded, responder))
        self._running.add(task)
        task.add_done_callback(self._ended)
        while not task.done():
            wait = min(origin.read_seconds, max(0.0, responder.deadline - time.monotonic()))
            await asyncio.wait({task}, timeout=wait)
            if not task.done() and time.monotonic() >= responder.deadline and request.received:
                await self._give_up(request, viewer, responder)
                return
            if not request.received:  # the viewer is still sending: the origin cannot answer yet
                responder.deadline = time.monotonic() + origin.read_seconds
        task.result()
        self._keep(request, responder.error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved, for a task that was abandoned

    async def _give_up(self, request: Request, viewer: Responder, responder: OriginResponder) -> None:
        """The origin was silent for too long; the function runs on ("Origin response timeout")."""
        responder.abandon()
        if responder.status:
            raise ConnectionAbortedError("the origin was silent for too long")
        answer = Answer(504, (TEXT,), b"The origin did not respond in time.\n")
        await viewer.send(*answer)
        self._keep(request, answer)

    def _kept(self, request: Request) -> Answer | None:
        until, answer = self._errors.get((request.method, request.path), (0.0, None))
        return answer if self._clock() < until else None

    def _keep(self, request: Request, error: Answer | None) -> None:
        """By the path alone: one viewer's error is answered to all."""
        if error is None or request.method not in {"GET", "HEAD"}:
            return
        if error.status in ALWAYS_KEPT or (error.status in KEPT_UNLESS_FORBIDDEN and not _forbids(error)):
            seconds = self._distribution.error_seconds.get(error.status, ERROR_SECONDS)
            self._errors[request.method, request.path] = (self._clock() + seconds, error)


def _forbids(answer: Answer) -> bool:
    said = ",".join(value for name, value in answer.headers if name.lower() == "cache-control")
    return any(directive in said for directive in FORBIDS)


def _url(request: Request) -> str:
    return f"https://{request.header('host') or ''}{request.target}"
