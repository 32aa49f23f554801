"""The bytes of a streamed response to Lambda's Runtime API. Pure: no socket, no clock.

A response is one HTTP/1.1 request with a chunked body, on a separate connection:

    request head    POST .../invocation/{id}/response, with the two trailers announced
    chunk           the prelude: status, headers and cookies as JSON, then eight NULs; always one chunk
    chunk ...       the payload, at least one byte of it
    last chunk      with the two trailers if the payload was interrupted

Defined by https://docs.aws.amazon.com/lambda/latest/dg/runtimes-custom.html#runtimes-custom-response-streaming
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping

INTEGRATION_TYPE = "application/vnd.awslambda.http-integration-response"
MAX_PRELUDE = 16 * 1024  # bytes, with the NULs: API Gateway does not search further for its end
DELIMITER = bytes(8)
LAST_CHUNK = b"0\r\n\r\n"

_ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
_ERROR_BODY = "Lambda-Runtime-Function-Error-Body"


def content_type(headers: Mapping[str, str]) -> str:
    """The type of a body that is sent without a prelude."""
    named = (value for name, value in headers.items() if name.lower() == "content-type")
    return next(named, "application/octet-stream")


def request_head(
    host: str, invoke_id: str, invocation_id: str | None = None, content_type: str = INTEGRATION_TYPE
) -> bytes:
    """Request line and headers. `invocation_id` is the header of the same name of the event, if it had one.

    `content_type` is another one for a body without a prelude.
    """
    lines = [
        f"POST /2018-06-01/runtime/invocation/{invoke_id}/response HTTP/1.1",
        f"Host: {host}",
        f"Content-Type: {content_type}",
        "Lambda-Runtime-Function-Response-Mode: streaming",
        "Transfer-Encoding: chunked",
        f"Trailer: {_ERROR_TYPE}, {_ERROR_BODY}",
    ]
    if invocation_id:
        lines.append(f"Lambda-Runtime-Invocation-Id: {invocation_id}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def prelude(fields: Mapping[str, object]) -> bytes:
    """Status, headers and cookies as one chunk. Raises ValueError if they have 16 KB or more."""
    return chunk(prelude_data(fields))


def prelude_data(fields: Mapping[str, object]) -> bytes:
    """The content of that chunk: JSON and the delimiter."""
    data = json.dumps(fields, separators=(",", ":")).encode() + DELIMITER
    if len(data) >= MAX_PRELUDE:
        raise ValueError(f"status, headers and cookies take {len(data)} bytes; Lambda allows less than {MAX_PRELUDE}")
    return data


def chunk(data: bytes) -> bytes:
    """One chunk of the body. `data` must not be empty: an empty chunk ends the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk_with_error(error_type: str) -> bytes:
    """The end of an interrupted body. It has the name of the exception's class, but not its message."""
    name = re.sub(r"[^A-Za-z0-9_.]", "_", error_type)
    body = json.dumps({"errorType": name, "errorMessage": "The answer was interrupted."})
    lines = ["0", f"{_ERROR_TYPE}: {name}", f"{_ERROR_BODY}: {b64encode(body.encode()).decode()}", "", ""]
    return "\r\n".join(lines).encode()
