"""Sends an answer to the client, and injects the faults that happen during a response."""

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


async def send_stream(
    events: AsyncIterator[Event],
    fault: Fault | None,
    responder: Responder,
    headers: Headers,
    on_delta: Callable[[], None],
) -> None:
    """Send a ConverseStream response, with one frame per chunk. Calls `on_delta` after each delta."""
    if fault and fault.name == "stall-headers":
        await _stall(fault)
    first = await anext(events)  # an error before the first event is an HTTP error; later it is part of the stream
    await responder.start(200, [*headers, ("content-type", eventstream.CONTENT_TYPE)])
    await responder.write(_frame(first))
    try:
        complete = await _send_frames(events, fault, responder, on_delta)
    except BedrockError as error:
        name = error.code[0].lower() + error.code[1:]
        name = name if name in EXCEPTIONS else "modelStreamErrorException"
        await responder.write(eventstream.encode_exception(name, error.message))
        complete = True
    if complete:
        await responder.end()


async def _send_frames(
    events: AsyncIterator[Event], fault: Fault | None, responder: Responder, on_delta: Callable[[], None]
) -> bool:
    """Send the frames. Returns whether the HTTP body must be ended properly."""
    name = fault.name if fault else ""
    deltas, injected = 0, fault is None
    async for event in events:
        frame = _frame(event)
        if fault and not injected and (deltas >= fault.at if event.is_delta else event.name == "messageStop"):
            injected = True
            match name:
                case "stall" | "slow-first":
                    await _stall(fault)
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
            on_delta()
    return True


async def send_buffered(
    events: AsyncIterator[Event], fault: Fault | None, responder: Responder, headers: Headers
) -> None:
    """Send a Converse response in one piece. Faults of streams have no effect."""
    name = fault.name if fault else ""
    if fault and name in _STALLS:
        await _stall(fault)
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


async def _stall(fault: Fault) -> None:
    """Send nothing for `fault.ms`; without it, until the client disconnects and this task is cancelled."""
    if fault.ms is None:
        await asyncio.Event().wait()
    else:
        await asyncio.sleep(fault.ms / 1000)


def _http_code(fault: Fault) -> str:
    """Return the code of an exception in a stream in the form of HTTP errors."""
    return fault.code[0].upper() + fault.code[1:]
