"""An answer on its way to the client, with what may go wrong on it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

from local_stack.bedrock import eventstream
from local_stack.bedrock.directives import EXCEPTIONS, Fault
from local_stack.bedrock.errors import BedrockError, refusal
from local_stack.bedrock.events import Event, fold
from local_stack.http import Responder

Headers = list[tuple[str, str]]

_STALLS = frozenset({"stall-headers", "stall", "slow-first"})


async def stream(
    events: AsyncIterator[Event], fault: Fault | None, responder: Responder, headers: Headers, sent: Callable[[], None]
) -> None:
    """Send a ConverseStream answer, one frame in a chunk. Calls `sent` for each delta that is on its way."""
    if fault and fault.name == "stall-headers":
        await _hold(fault)
    first = await anext(events)  # a refusal up to here is an HTTP error; later it is part of the stream
    await responder.start(200, [*headers, ("content-type", eventstream.CONTENT_TYPE)])
    await responder.write(_frame(first))
    try:
        complete = await _frames(events, fault, responder, sent)
    except BedrockError as error:
        name = error.code[0].lower() + error.code[1:]
        name = name if name in EXCEPTIONS else "modelStreamErrorException"
        await responder.write(eventstream.encode_exception(name, error.message))
        complete = True
    if complete:
        await responder.end()


async def _frames(
    events: AsyncIterator[Event], fault: Fault | None, responder: Responder, sent: Callable[[], None]
) -> bool:
    """Send the frames; whether the HTTP body is to end as it should."""
    name = fault.name if fault else ""
    deltas, struck = 0, fault is None
    async for event in events:
        frame = _frame(event)
        if fault and not struck and (deltas >= fault.at if event.is_delta else event.name == "messageStop"):
            struck = True
            match name:
                case "stall" | "slow-first":
                    await _hold(fault)
                case "bad-crc":
                    frame = eventstream.corrupted(frame)
                case "exception":
                    raise refusal(_http_code(fault))
                case "cut":
                    return True
                case "truncate":
                    await responder.write(frame[: len(frame) // 2])
                    return False
                case "reset":
                    responder.abort()
                    return False
        if name == "no-stop" and event.name == "messageStop":
            continue
        step = 1 if name == "split" else len(frame)
        for start in range(0, len(frame), step):
            await responder.write(frame[start : start + step])
        if event.is_delta:
            deltas += 1
            sent()
    return True


async def whole(events: AsyncIterator[Event], fault: Fault | None, responder: Responder, headers: Headers) -> None:
    """Send a Converse answer in one piece. Faults that only a stream can have do not touch it."""
    name = fault.name if fault else ""
    if fault and name in _STALLS:
        await _hold(fault)
    if fault and name == "exception":
        raise refusal(_http_code(fault))
    if name == "reset":
        responder.abort()
        return
    body = json.dumps(await fold(events), ensure_ascii=False).encode(errors="replace")
    headers = [*headers, ("content-type", "application/json")]
    if name in {"cut", "truncate"}:
        await responder.start(200, [*headers, ("content-length", str(len(body)))])
        await responder.write(body[: len(body) // 2])
    else:
        await responder.send(200, headers, body)


def _frame(event: Event) -> bytes:
    return eventstream.encode_event(event.name, event.payload)


async def _hold(fault: Fault) -> None:
    """Send nothing for the fault's time, or until the client closes and this task is cancelled."""
    if fault.ms is None:
        await asyncio.Event().wait()
    else:
        await asyncio.sleep(fault.ms / 1000)


def _http_code(fault: Fault) -> str:
    """The HTTP form of an in-stream exception's code."""
    return fault.code[0].upper() + fault.code[1:]
