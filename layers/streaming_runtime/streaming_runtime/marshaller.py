"""The function's marshaller, extended to pass a StreamingResponse on to callers that read streams."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Protocol

from awslambdaric.lambda_runtime_exception import FaultException
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller

from .caller import Caller, caller_of, in_one_piece
from .invocation import Invocation
from .metrics import count
from .response import ENDS_PROCESS, ResponseTooLarge, StreamingResponse, check_size, read_whole
from .settings import Settings

# What a handler returns if it is an async function or a generator function. Nothing of it has run then.
INSTEAD: dict[type, str] = {
    CoroutineType: "The handler is an async function. Write instead: "
    "def handler(event, context): return asyncio.run(main(event, context))",
    AsyncGeneratorType: "The handler is an async generator function. Write instead: "
    "def handler(event, context): return StreamingResponse(streaming_runtime.asynchronous.iterate(body(event)))",
    GeneratorType: "The handler is a generator function. Write instead: "
    "def handler(event, context): return StreamingResponse(body(event))",
}


class Marshaller(Protocol):
    """The interface of awslambdaric. A function may set its own as the attribute of LambdaRuntimeClient."""

    def unmarshal_request(self, request: bytes, content_type: str = "application/json") -> object: ...

    def marshal_response(self, response: object) -> tuple[object, str]: ...


class StreamingMarshaller:
    """Notes the event and its caller. Marshals all but streamed responses with `inherited`."""

    def __init__(self, inherited: Marshaller, invocation: Invocation, settings: Settings) -> None:
        self._inherited = inherited
        self._invocation = invocation
        self._settings = settings

    def unmarshal_request(self, request: bytes, content_type: str = "application/json") -> object:
        event = self._inherited.unmarshal_request(request, content_type)
        self._invocation.event, self._invocation.caller = event, caller_of(event)
        return event

    def marshal_response(self, response: object) -> tuple[object, str]:
        invocation = self._invocation
        if invocation.answered:
            return "", ""
        if not isinstance(response, StreamingResponse):
            if type(response) in INSTEAD and type(self._inherited) is LambdaMarshaller:
                if isinstance(response, CoroutineType):
                    response.close()  # otherwise Python warns that it was never awaited
                raise FaultException(FaultException.MARSHAL_ERROR, INSTEAD[type(response)])
            return self._inherited.marshal_response(response)
        invocation.after = response.after
        if invocation.is_streamed(response, self._settings):
            return response, ""
        return self._in_one_piece(response)

    def _in_one_piece(self, response: StreamingResponse) -> tuple[object, str]:
        raw = response.raw and self._invocation.caller is Caller.DIRECT
        with reportable_errors(self._invocation, self._settings):
            piece = read_whole(response) if raw else in_one_piece(response, self._invocation.caller)
            data, content_type = self._inherited.marshal_response(piece)
            data = data.encode() if isinstance(data, str) else data
            check_size(data)
        return data, content_type


@contextmanager
def reportable_errors(invocation: Invocation, settings: Settings) -> Iterator[None]:
    """Lets awslambdaric report every exception of a body that is read in its main loop, and counts a large body."""
    try:
        yield
    except ResponseTooLarge:
        if not invocation.answers_errors(settings):  # otherwise the error response is counted
            count("UnhandledErrors", invocation.request_id)
        raise
    except (Exception, *ENDS_PROCESS):
        raise
    except BaseException as error:  # awslambdaric would end the process
        trace = traceback.format_tb(error.__traceback__)
        raise FaultException(type(error).__name__, str(error), trace) from error
