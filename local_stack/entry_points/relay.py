"""The way of bodies through a door: a request's into an event, a result out to the client."""

from collections.abc import AsyncIterator

from local_stack.entry_points.events import INTEGRATION_TYPE, BadResult, Head, Prelude, answer_of
from local_stack.http import Headers, Request, Responder
from local_stack.lambda_service.invocation import Answer, Failure, Result, Stream, StreamBroken
from local_stack.lambda_service.pool import EVENT_LIMIT, PayloadTooLarge


async def read_body(request: Request) -> bytes:
    """The whole body. Raises PayloadTooLarge as soon as it is known to be."""
    body = bytearray()
    async for chunk in request.chunks():
        body += chunk
        if len(body) > EVENT_LIMIT:
            raise PayloadTooLarge
    return bytes(body)


async def send_answer(answer: Answer, responder: Responder, added: Headers = ()) -> None:
    """Send the client what the function answered, with `added` behind the function's own headers.

    Raises BadResult, before anything was sent, when that is no HTTP answer: a failure, a broken prelude, or no payload
    byte behind it (Function URLs hang or lose the status then). A stream that breaks off later cuts the connection
    before the last chunk. The client's going away ends this and never the function.
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
        raise ConnectionAbortedError("the function broke off its answer") from error
    finally:
        stream.discard()


async def _open(stream: Stream, chunks: AsyncIterator[bytes]) -> tuple[Head, bytes]:
    """The head and the first bytes of the payload."""
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
    raise BadResult("the answer has no body" if head else "the prelude is incomplete")
