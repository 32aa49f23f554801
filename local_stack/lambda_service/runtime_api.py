"""The Runtime API of one execution environment.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html and runtimes-custom.html ("response streaming")
"""

import asyncio
import base64
import binascii
import contextlib
import json
import re
import time
from collections.abc import Callable
from enum import Enum

from local_stack.http import Disconnected, Request, Responder, port_of, serve
from local_stack.lambda_service.invocation import Failure, Invocation, Result, Stream

RESULT_LIMIT = 6 * 1024 * 1024 + 100  # bytes of a buffered result; Lambda allows a little more than 6 MB
STREAM_BURST = 6 * 1024 * 1024  # bytes of a stream without a limit of speed
STREAM_RATE = 2 * 1024 * 1024  # bytes per second after that
# If a response is cut, the runtime's request for the next invocation may be received before the end of the response.
OVERTAKE_SECONDS = 1.0
JSON = [("Content-Type", "application/json")]
INVOCATION = re.compile(r"/2018-06-01/runtime/invocation/([^/]+)/(response|error)")
STREAMING_MODE = "streaming"


class State(Enum):
    """The state of a runtime."""

    STARTING = "starting"  # has not requested an invocation yet
    WAITING = "waiting"  # has requested an invocation
    INVOKED = "invoked"  # has an invocation and no response yet
    STREAMING = "streaming"  # is sending the response
    ANSWERED = "answered"  # has sent the response and may still be running


class TokenBucket:
    """Limits the speed at which a streamed response is read."""

    def __init__(self, now: float) -> None:
        self._tokens = float(STREAM_BURST)
        self._at = now

    def delay(self, size: int, now: float) -> float:
        """Return how many seconds to wait after `size` more bytes."""
        self._tokens = min(STREAM_BURST, self._tokens + (now - self._at) * STREAM_RATE) - size
        self._at = now
        return max(0.0, -self._tokens / STREAM_RATE)


class RuntimeApi:
    """Serves one runtime on its own port, with one invocation at a time.

    `on_next` is called each time the runtime requests an invocation.
    """

    def __init__(self, on_next: Callable[[], None]) -> None:
        self.state = State.STARTING
        self.init_failure: Failure | None = None
        self._on_next = on_next
        self._current: Invocation | None = None
        self._dispatched: asyncio.Queue[Invocation | None] = asyncio.Queue()
        self._answered = asyncio.Event()
        self._answered.set()
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        """Start to listen. Returns the value of AWS_LAMBDA_RUNTIME_API."""
        self._server = await serve(self._handle, "127.0.0.1", 0)
        return f"127.0.0.1:{port_of(self._server)}"

    def close(self) -> None:
        if self._server:
            self._server.close()
        self._dispatched.put_nowait(None)

    def dispatch(self, invocation: Invocation) -> None:
        """Give an invocation to the runtime. Its state must be WAITING."""
        self.state = State.INVOKED
        self._answered.clear()
        self._current = invocation
        self._dispatched.put_nowait(invocation)

    async def _handle(self, request: Request, responder: Responder) -> None:
        match request.method, request.path:
            case "GET", "/2018-06-01/runtime/invocation/next":
                await self._serve_next(responder)
            case "POST", "/2018-06-01/runtime/init/error":
                await self._serve_init_error(request, responder)
            case "GET", "/2018-06-01/runtime/restore/next":
                await responder.send(200)
            case "POST", "/2018-06-01/runtime/restore/error":
                await responder.send(202, JSON, b'{"status":"OK"}')
            case "POST", path if route := INVOCATION.fullmatch(path):
                await self._serve_invocation(route[1], route[2], request, responder)
            case _:
                await responder.send(404, JSON, b"{}")

    async def _serve_next(self, responder: Responder) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._answered.wait(), OVERTAKE_SECONDS)
        if self.state in {State.INVOKED, State.STREAMING}:
            await self._refuse(responder, 403, "InvalidStateTransition", "the invocation has no response yet")
            return
        self.state = State.WAITING
        self._on_next()
        invocation = await self._dispatched.get()
        if invocation is None:
            raise ConnectionAbortedError("the environment is closed")
        headers = [
            ("Content-Type", "application/json"),
            ("Lambda-Runtime-Aws-Request-Id", invocation.request_id),
            ("Lambda-Runtime-Deadline-Ms", str(int(invocation.deadline * 1000))),
            ("Lambda-Runtime-Invoked-Function-Arn", invocation.arn),
            ("Lambda-Runtime-Trace-Id", invocation.trace_id),
            ("Lambda-Runtime-Invocation-Id", invocation.invocation_id),
        ]
        await responder.send(200, headers, invocation.payload)

    async def _serve_init_error(self, request: Request, responder: Responder) -> None:
        body = await request.read()
        if self.state is not State.STARTING:
            await self._refuse(responder, 403, "InvalidStateTransition", "the runtime has started")
            return
        self.init_failure = Failure(_error_type(request), body)
        await responder.send(202, JSON, b'{"status":"OK"}')

    async def _serve_invocation(self, request_id: str, what: str, request: Request, responder: Responder) -> None:
        invocation = self._current
        mode = request.header("lambda-runtime-function-response-mode")
        echoed = request.header("lambda-runtime-invocation-id")
        if invocation is None or request_id != invocation.request_id or self.state is State.ANSWERED:
            await self._refuse(
                responder, 400, "InvalidRequestID", "the request id is unknown, or its invocation has ended"
            )
        elif echoed not in {None, "", invocation.invocation_id}:
            await self._refuse(responder, 400, "InvalidInvocationID", "not the invocation id of this invocation")
        elif self.state is not State.INVOKED:
            await self._refuse(responder, 403, "InvalidStateTransition", f"{what} is not allowed while streaming")
        elif what == "error":
            await self._take_error(invocation, request, responder)
        elif mode == STREAMING_MODE:
            await self._take_stream(invocation, request, responder)
        elif mode:
            await self._refuse(responder, 400, "InvalidFunctionResponseMode", f"unknown mode {mode}")
        else:
            await self._take_result(invocation, request, responder)

    async def _take_error(self, invocation: Invocation, request: Request, responder: Responder) -> None:
        invocation.finish(Failure(_error_type(request), await request.read()))
        self._set_answered()
        await responder.send(202, JSON, b'{"status":"OK"}')

    async def _take_result(self, invocation: Invocation, request: Request, responder: Responder) -> None:
        payload = await request.read()
        self._set_answered()
        if len(payload) > RESULT_LIMIT:
            message = f"Response payload size exceeded maximum allowed payload size ({RESULT_LIMIT} bytes)."
            invocation.finish(Failure.of("Function.ResponseSizeTooLarge", message))
            await self._refuse(responder, 413, "ResponseSizeTooLarge", message)
            return
        if not invocation.answer.done():
            invocation.answer.set_result(Result(payload))
        await responder.send(202, JSON, b'{"status":"OK"}')

    async def _take_stream(self, invocation: Invocation, request: Request, responder: Responder) -> None:
        if invocation.answer.done():  # its deadline has passed meanwhile
            return
        self.state = State.STREAMING
        stream = Stream(request.header("content-type") or "application/octet-stream")
        invocation.answer.set_result(stream)
        bucket = TokenBucket(time.monotonic())
        try:
            async for chunk in request.chunks():
                stream.feed(chunk)
                if delay := bucket.delay(len(chunk), time.monotonic()):
                    await asyncio.sleep(delay)
            stream.end(_error_in_trailers(request))
        except Disconnected:
            stream.end(Failure.of("Runtime.TruncatedResponse", "the runtime closed the connection before the end"))
            raise
        finally:
            self._set_answered()
        await responder.send(202, [*JSON, ("Connection", "close")], b'{"status":"OK"}')

    def _set_answered(self) -> None:
        self.state = State.ANSWERED
        self._answered.set()

    async def _refuse(self, responder: Responder, status: int, error_type: str, message: str) -> None:
        await responder.send(status, JSON, json.dumps({"errorType": error_type, "errorMessage": message}).encode())


def _error_type(request: Request) -> str:
    return request.header("lambda-runtime-function-error-type") or "Runtime.Unknown"


def _error_in_trailers(request: Request) -> Failure | None:
    """Return the failure that a runtime reports in the trailers: an error type, and JSON in base64."""
    trailers = dict(request.trailers)
    error_type = trailers.get("lambda-runtime-function-error-type")
    if error_type is None:
        return None
    try:
        return Failure(
            error_type, base64.b64decode(trailers.get("lambda-runtime-function-error-body", ""), validate=True)
        )
    except binascii.Error:
        return Failure.of(error_type, "the error body in the trailers is not base64")
