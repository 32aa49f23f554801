"""awslambdaric's runtime client, extended to send a StreamingResponse.

The main loop is that of awslambdaric. For each event it calls `marshaller.unmarshal_request`, the handler and
`marshaller.marshal_response`, then `post_invocation_result` or, after an exception, `post_invocation_error`.
If the caller reads streams, the loop passes a StreamingResponse on unchanged, and its body is read when it is posted.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence

from awslambdaric.lambda_runtime_client import LambdaRuntimeClient
from awslambdaric.lambda_runtime_marshaller import LambdaMarshaller

from . import framing
from .after import run_after
from .caller import Caller, caller_of, head_fields, in_one_piece
from .logs import log
from .metrics import count
from .post import PostError, StreamedPost
from .response import ENDS_PROCESS, StreamingResponse, open_body

AFTER_SECONDS = 5.0
DEADLINE_MARGIN = 0.1  # seconds: the next event must be requested before the deadline


class StreamingMarshaller(LambdaMarshaller):  # type: ignore[misc]  # awslambdaric ships no types
    """Stores the caller of the event. Passes a StreamingResponse on if the caller reads streams, else marshals it."""

    def __init__(self, streaming: frozenset[Caller]) -> None:
        super().__init__()
        self._streaming = streaming
        self.caller = Caller.OTHER
        self.after: Sequence[Callable[[], object]] = ()

    @property
    def streams(self) -> bool:
        return self.caller in self._streaming

    def unmarshal_request(self, request: bytes, content_type: str = "application/json") -> object:
        event = super().unmarshal_request(request, content_type)
        self.caller = caller_of(event)
        return event

    def marshal_response(self, response: object) -> tuple[object, str]:
        if not isinstance(response, StreamingResponse):
            return self._marshal(response)
        self.after = response.after
        if self.streams and not response.buffered:
            return response, ""
        return self._marshal(in_one_piece(response, self.caller))

    def _marshal(self, response: object) -> tuple[object, str]:
        marshalled: tuple[object, str] = super().marshal_response(response)
        return marshalled


class ManagedInstancesMarshaller(StreamingMarshaller):
    """Marshals all responses in one piece. Lambda Managed Instances use awslambdaric's client, which does not stream.

    That client has no hook after its post, so the `after` callables run before the post.
    """

    def __init__(self) -> None:
        super().__init__(streaming=frozenset())

    def marshal_response(self, response: object) -> tuple[object, str]:
        self.after = ()
        try:
            return super().marshal_response(response)
        finally:
            run_after(self.after, AFTER_SECONDS)


class StreamingRuntimeClient(LambdaRuntimeClient):  # type: ignore[misc]  # awslambdaric ships no types
    """Posts a StreamingResponse chunk by chunk, and other responses as awslambdaric does."""

    def __init__(self, address: str, use_thread_for_polling_next: bool, streaming: frozenset[Caller]) -> None:
        super().__init__(address, use_thread_for_polling_next)
        self._streaming = streaming
        self._deadline = 0.0

    def wait_next_invocation(self) -> object:
        self.marshaller = StreamingMarshaller(self._streaming)  # a new one, without state of the last event
        request = super().wait_next_invocation()
        self._deadline = request.deadline_time_in_ms / 1000
        return request

    def post_invocation_result(
        self,
        invoke_id: str,
        result_data: object,
        content_type: str = "application/json",
        invocation_id: str | None = None,
    ) -> None:
        try:
            if isinstance(result_data, StreamingResponse):
                self._stream(result_data, invoke_id, invocation_id)
            else:
                super().post_invocation_result(invoke_id, result_data, content_type, invocation_id)
        finally:
            self._run_after()

    def post_invocation_error(
        self, invoke_id: str, error_response_data: str, xray_fault: str, invocation_id: str | None = None
    ) -> None:
        """Reports an error that is already logged: as a response with status 500 if the caller reads streams."""
        try:
            if self.marshaller.streams:
                count("UnhandledErrors", invoke_id)
                self._stream(_internal_error(invoke_id), invoke_id, invocation_id)
            else:
                super().post_invocation_error(invoke_id, error_response_data, xray_fault, invocation_id)
        finally:
            self._run_after()

    def _stream(self, response: StreamingResponse, invoke_id: str, invocation_id: str | None) -> None:
        with open_body(response.body) as chunks:
            try:
                prelude = framing.prelude(head_fields(response, self.marshaller.caller))
                first = next(chunks, b"\n")  # Lambda hangs if no byte follows the prelude
            except ENDS_PROCESS:
                raise
            except BaseException as error:
                log(logging.ERROR, "response failed before the first chunk", error=error)
                count("UnhandledErrors", invoke_id)
                return self._stream(_internal_error(invoke_id), invoke_id, invocation_id)

            head = framing.request_head(self.lambda_runtime_address, invoke_id, invocation_id)
            try:
                with StreamedPost(self.lambda_runtime_address) as post:
                    post.send(head + prelude + framing.chunk(first))
                    post.finish(_send_rest(chunks, post, invoke_id))
            except PostError as error:
                log(logging.WARNING, "response refused by the Runtime API: %s", error)
                count("RefusedResponses", invoke_id)

    def _run_after(self) -> None:
        remaining = self._deadline - DEADLINE_MARGIN - time.time()
        run_after(self.marshaller.after, min(AFTER_SECONDS, remaining))


def _send_rest(chunks: Iterator[bytes], post: StreamedPost, invoke_id: str) -> bytes:
    """Sends the chunks and returns the last chunk, which shows whether the body failed."""
    try:
        for chunk in chunks:
            post.send(framing.chunk(chunk))
    except (PostError, *ENDS_PROCESS):
        raise
    except BaseException as error:
        log(logging.ERROR, "response interrupted", error=error)
        count("InterruptedResponses", invoke_id)
        return framing.last_chunk_with_error(type(error).__name__)
    return framing.LAST_CHUNK


def _internal_error(invoke_id: str) -> StreamingResponse:
    error = {
        "code": "internal",
        "message": "The request could not be answered.",
        "requestId": invoke_id,
        "retryable": True,
    }
    return StreamingResponse([json.dumps({"error": error}).encode()], 500, {"content-type": "application/json"})
