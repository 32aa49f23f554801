"""The response to a caller that reads streams, if the handler or the body fails before the first chunk."""

import json
import logging
from collections.abc import Callable
from typing import TypeVar

from .invocation import Invocation
from .logs import log
from .response import ENDS_PROCESS, StreamingResponse, read_whole

ErrorResponse = Callable[[object, str], StreamingResponse]
_F = TypeVar("_F", bound=ErrorResponse)

# They describe the body that failed.
_OF_THE_BODY = ("content-", "etag", "last-modified", "accept-ranges", "expires", "cache-control")

_of_the_function: ErrorResponse | None = None


def error_response(make: _F) -> _F:
    """Decorates the function that makes the response after an unexpected error. It replaces the JSON of the runtime.

    It gets the event and the request id. It may be called in another thread, when the function's time is almost over.
    Its body is sent in one piece.
    """
    global _of_the_function
    _of_the_function = make
    return make


def response_after_error(invocation: Invocation, failed: StreamingResponse | None) -> StreamingResponse:
    """The function's error response, or a JSON 500 with the headers of the response that failed."""
    if _of_the_function:
        try:
            made = _of_the_function(invocation.event, invocation.request_id)
            return StreamingResponse([read_whole(made)], made.status, made.headers, made.cookies)
        except ENDS_PROCESS:
            raise
        except BaseException as error:
            log(logging.ERROR, "the error response failed", error=error)
    kept = failed.headers.items() if failed else ()
    headers = {name: value for name, value in kept if not name.lower().startswith(_OF_THE_BODY)}
    headers |= {"content-type": "application/json", "cache-control": "no-store"}
    fields = {"code": "internal", "message": "The request could not be answered.", "requestId": invocation.request_id}
    return StreamingResponse([json.dumps({"error": fields}).encode()], 500, headers)
