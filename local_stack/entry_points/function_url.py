"""The Function URL of a function in RESPONSE_STREAM mode."""

import json
import sys
from datetime import UTC, datetime

from local_stack.entry_points import cors
from local_stack.entry_points.events import BadResult, function_url_event
from local_stack.entry_points.relay import read_body, send_answer
from local_stack.entry_points.signatures import Refused, signer
from local_stack.http import Request, Responder
from local_stack.lambda_service.pool import PayloadTooLarge, Pool, Throttled

JSON = ("content-type", "application/json")
THROTTLED = {
    "Reason": "ConcurrentInvocationLimitExceeded",
    "Type": "User",
    "message": "Rate Exceeded.",
}


class FunctionUrl:
    """Serves one function. CORS headers are added to those of the function, as in Lambda."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._cors = pool.function.cors

    async def __call__(self, request: Request, responder: Responder) -> None:
        if self._cors and cors.is_preflight(request):
            await responder.send(200, cors.preflight_headers(self._cors, request))
            return
        added = cors.response_headers(self._cors, request)
        try:
            body, now = await read_body(request), datetime.now(UTC)
            identity = signer(request, body, "lambda", now) if self._pool.function.signed_url else None
            event = function_url_event(request, body, now, identity)
            request_id: str = event["requestContext"]["requestId"]  # a URL's event has the id of its invocation
            answer = await self._pool.invoke(json.dumps(event).encode(), request_id)
            await send_answer(answer, responder, added)
        except Refused as error:
            headers = [JSON, ("x-amzn-errortype", "AccessDeniedException"), *added]
            await responder.send(403, headers, json.dumps({"Message": error.message}).encode())
        except Throttled:
            await responder.send(429, [JSON, *added], json.dumps(THROTTLED).encode())
        except PayloadTooLarge:
            await responder.send(413, [JSON, *added], b'{"Message":"Request Entity Too Large"}')
        except BadResult as error:
            print(f"[Function URL] 502: {error}", file=sys.stderr, flush=True)
            await responder.send(502, [JSON, *added], b"Internal Server Error")
