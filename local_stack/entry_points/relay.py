"""Reads request bodies and sends function results to the client. All entry points use it."""

from collections.abc import AsyncIterator

from local_stack.entry_points.events import INTEGRATION_TYPE, BadResult, Head, Prelude, answer_of
from local_stack.http import Headers, Request, Responder
from local_stack.lambda_service.invocation import Answer, Failure, Result, Stream, StreamBroken
from local_stack.lambda_service.pool import EVENT_LIMIT, PayloadTooLarge


async def read_body(request: Request) -> bytes:
    """Return the whole body. Raises PayloadTooLarge as soon as more than EVENT_LIMIT bytes have been received."""
    body = bytearray()
    async for chunk in request.chunks():
        body += chunk
        if len(body) > EVENT_LIMIT:
            raise PayloadTooLarge
    return bytes(body)


async def send_answer(answer: Answer, responder: Responder, added: Headers = ()) -> None:
    """Send a function's result to the client. The headers `added` follow the function's headers.

    Raises BadResult before the first byte if the result is not an HTTP response: the function failed, the prelude is
    invalid, or no payload follows it (a real Function URL then hangs or loses the status). If the stream fails later,
    the connection is closed before the last chunk. If the client disconnects, the function continues.
    """
    match answer:
        case Failure():
            raise BadResult(answer.error_type)
        case Result():
            head, body = answer_of(answer.payload)
            await responder.send(head.status, [*head.headers, *added], body)
        case Stream():
            await _relay(answer, responder, added)


async def _relay(stream: Stream, responder: Responder, added: Headers) -> None:
    chunks = stream.chunks()
    try:
        head, first = await _open(stream, chunks)
        await responder.start(head.status, [*head.headers, *added])
        await responder.write(first)
        async for chunk in chunks:
            await responder.write(chunk)
        await responder.end()
    except StreamBroken as error:
        raise ConnectionAbortedError("the function's stream ended early") from error
    finally:
        stream.discard()


async def _open(stream: Stream, chunks: AsyncIterator[bytes]) -> tuple[Head, bytes]:
    """Wait for the start of the stream. Returns the head and the first bytes of the payload. Raises BadResult."""
    prelude = Prelude()
    head = None if stream.content_type == INTEGRATION_TYPE else Head(200, (("content-type", stream.content_type),))
    try:
        async for chunk in chunks:
            first = chunk
            if head is None:
                opened = prelude.feed(chunk)
                if opened is None:
                    continue
                head, first = opened
            if first:
                return head, first
    except StreamBroken as error:
        raise BadResult(error.failure.error_type) from error
    raise BadResult("the response has no body" if head else "the prelude is incomplete")
