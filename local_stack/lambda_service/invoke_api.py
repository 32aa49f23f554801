"""Lambda's Invoke API: synchronous invocations, and asynchronous events with retries and dead letters.

https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

import asyncio
import json
import re
import sys
import time
import uuid
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from local_stack.calls import CALLER, CallLog
from local_stack.entry_points.events import PRELUDE_END
from local_stack.entry_points.relay import read_body
from local_stack.http import Request, Responder, json_of
from local_stack.lambda_service.invocation import Answer, Failure, Result, Stream, StreamBroken
from local_stack.lambda_service.pool import EVENT_LIMIT, PayloadTooLarge, Pool, Throttled
from local_stack.template import function_arn

PREFIX = "/2015-03-31/functions/"
PATH = re.compile(f"{PREFIX}([^/]+)/invocations")
RETRY_SECONDS = (1.0, 2.0)  # pauses before the second and the third attempt; in Lambda they are minutes
THROTTLED_SECONDS = 1.0  # first pause of a throttled event; it is doubled each time, up to LONGEST_PAUSE
LONGEST_PAUSE = 300.0
ASYNCHRONOUS_LIMIT = 1024 * 1024  # bytes: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html


@dataclass(frozen=True)
class DeadLetter:
    """A dropped event. `body` is the message that Lambda sends to `queue`.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """

    queue: str
    function: str
    body: str


class InvokeApi:
    """Serves Invoke for all functions of the stack. `dead_letters` has the events that were dropped.

    With `delivers_twice` each asynchronous event is delivered twice. Lambda's documentation says that this can happen.
    """

    def __init__(
        self,
        pools: Mapping[str, Pool],
        retry_seconds: Sequence[float] = RETRY_SECONDS,
        throttled_seconds: float = THROTTLED_SECONDS,
    ) -> None:
        self.delivers_twice = False
        self.dead_letters: list[DeadLetter] = []
        self.calls = CallLog()
        self._pools = pools
        self._retry_seconds = retry_seconds
        self._throttled_seconds = throttled_seconds
        self._events: set[asyncio.Task[None]] = set()

    async def __call__(self, request: Request, responder: Responder) -> None:
        match = PATH.fullmatch(request.path)
        if not match or request.method != "POST":
            await _refuse(responder, 404, "ResourceNotFoundException", f"no such operation: {request.path}")
            return
        name = unquote(match[1]).rpartition(":function:")[2].partition(":")[0]
        pool = self._pools.get(name)
        if pool is None:
            await _refuse(responder, 404, "ResourceNotFoundException", f"Function not found: {function_arn(name)}")
            return
        self.calls.add_invocation(request.header(CALLER), name)
        try:
            payload = await read_body(request) or b"{}"
            json_of(payload)
            if request.header("x-amz-invocation-type") == "Event":
                if len(payload) > ASYNCHRONOUS_LIMIT:
                    await _refuse_size(responder, ASYNCHRONOUS_LIMIT)
                    return
                for _ in range(1 + self.delivers_twice):
                    self._spawn(self._run_event(pool, payload))
                await responder.send(202)
            else:
                await _send(responder, await pool.invoke(payload))
        except ValueError:
            await _refuse(responder, 400, "InvalidRequestContentException", "Could not parse request body into json")
        except PayloadTooLarge:
            await _refuse_size(responder, EVENT_LIMIT)
        except Throttled:
            await _refuse(responder, 429, "TooManyRequestsException", "Rate Exceeded.")

    def _spawn(self, event: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(event)
        self._events.add(task)
        task.add_done_callback(self._events.discard)

    async def _run_event(self, pool: Pool, payload: bytes) -> None:
        """Process an asynchronous event until an attempt succeeds, the last one fails, or the event is too old."""
        function, failure, attempts = pool.function, None, 0
        deadline = time.monotonic() + function.event_age
        pauses = iter(self._retry_seconds[: function.retries])
        while (answer := await self._when_not_throttled(pool, payload, deadline)) is not None:
            if not isinstance(answer, Failure):
                return
            failure, attempts = answer, attempts + 1
            if (pause := next(pauses, None)) is None:
                break
            await asyncio.sleep(pause)
        reason = failure.payload.decode(errors="replace") if failure else "Rate Exceeded."
        print(f"[{function.name}] event dropped: {reason}", file=sys.stderr, flush=True)
        if function.dead_letters:
            body = json.dumps(_record(function.name, payload, failure, attempts, exhausted=attempts > function.retries))
            self.dead_letters.append(DeadLetter(function.dead_letters, function.name, body))

    async def _when_not_throttled(self, pool: Pool, payload: bytes, deadline: float) -> Answer | None:
        """Invoke the function as soon as it is not throttled. Returns None if the event is too old before that."""
        pause = self._throttled_seconds
        while time.monotonic() < deadline:
            try:
                return await pool.invoke(payload)
            except Throttled:
                await asyncio.sleep(min(pause, max(0.0, deadline - time.monotonic())))
                pause = min(2 * pause, LONGEST_PAUSE)
        return None


def _record(function: str, event: bytes, failure: Failure | None, attempts: int, *, exhausted: bool) -> dict[str, Any]:
    """Return Lambda's record of a dropped event. `exhausted`: all attempts have failed; otherwise it was too old."""
    record = {
        "version": "1.0",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "functionArn": f"{function_arn(function)}:$LATEST",
            "condition": "RetriesExhausted" if exhausted else "EventAgeExceeded",
            "approximateInvokeCount": attempts,
        },
        "requestPayload": json.loads(event),
    }
    if failure:
        record["responseContext"] = {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"}
        record["responsePayload"] = json.loads(failure.payload)
    return record


async def _send(responder: Responder, answer: Answer) -> None:
    headers = [("content-type", "application/json"), ("x-amz-executed-version", "$LATEST")]
    match answer:
        case Result():
            await responder.send(200, headers, answer.payload)
        case Failure():
            await responder.send(200, [*headers, ("x-amz-function-error", "Unhandled")], answer.payload)
        case Stream():
            try:
                body = b"".join([chunk async for chunk in answer.chunks()])
            except StreamBroken as error:
                await _send(responder, error.failure)
                return
            await responder.send(200, headers, body.partition(PRELUDE_END)[2] or body)


async def _refuse_size(responder: Responder, limit: int) -> None:
    await _refuse(responder, 413, "RequestTooLargeException", f"Request must be smaller than {limit} bytes")


async def _refuse(responder: Responder, status: int, code: str, message: str) -> None:
    headers = [("content-type", "application/json"), ("x-amzn-errortype", code)]
    await responder.send(status, headers, json.dumps({"Type": "User", "Message": message}).encode())
