"""awslambdaric's runtime clients, extended to send a StreamingResponse.

The main loop is that of awslambdaric. For each event it calls `marshaller.unmarshal_request`, the handler and
`marshaller.marshal_response`, then `post_invocation_result` or, after an exception, `post_invocation_error`.
If the caller reads streams, the loop passes a StreamingResponse on unchanged, and its body is read when it is posted.
"""

import logging
import os
import time
import traceback
from dataclasses import replace

from awslambdaric import bootstrap
from awslambdaric.lambda_runtime_client import (
    BaseLambdaRuntimeClient,
    LambdaMultiConcurrentRuntimeClient,
    LambdaRuntimeClient,
)
from awslambdaric.lambda_runtime_marshaller import to_json

from . import framing
from .after import run_after
from .caller import Caller, head_fields
from .deadline import DeadlineWatch
from .error_response import response_after_error
from .handler import set_sender
from .invocation import Invocation
from .logs import log
from .marshaller import Marshaller, StreamingMarshaller, reportable_errors
from .metrics import count
from .response import ENDS_PROCESS, StreamingResponse, read_whole
from .settings import Settings
from .stream import FAILED_EARLY, ResponseStream

AFTER_SECONDS = 5.0
DEADLINE_MARGIN = 0.1  # seconds: the next event must be requested before the deadline


class _Client(BaseLambdaRuntimeClient):  # type: ignore[misc]  # awslambdaric ships no types
    """What both clients have in common. A subclass defines how a response is sent to a caller that reads streams."""

    def __init__(self, address: str, use_thread_for_polling_next: bool, settings: Settings) -> None:
        super().__init__(address, use_thread_for_polling_next)
        self._settings = settings
        self._invocation = Invocation("")

    def wait_next_invocation(self) -> object:
        request = super().wait_next_invocation()
        deadline = request.deadline_time_in_ms / 1000
        self._invocation = Invocation(request.invoke_id, request.invocation_id, deadline)
        # The attribute of the class is the function's own marshaller, if it has one.
        inherited: Marshaller = type(self).marshaller  # type: ignore[has-type,misc]  # no types
        self.marshaller = StreamingMarshaller(inherited, self._invocation, self._settings)
        set_sender(self._send_inside)
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
                self._send(result_data)
            elif not self._invocation.answered:
                super().post_invocation_result(invoke_id, result_data, content_type, invocation_id)
        finally:
            self._run_after()

    def post_invocation_error(
        self, invoke_id: str, error_response_data: str, xray_fault: str, invocation_id: str | None = None
    ) -> None:
        """Reports an error that is already logged: as an HTTP response if the caller reads streams."""
        invocation = self._invocation
        try:
            if invocation.answered:
                if not invocation.failed:  # something that surrounds the handler failed after the response
                    count("UnhandledErrors", invoke_id)
            elif invocation.answers_errors(self._settings):
                count("UnhandledErrors", invoke_id)
                self._send_error()
            else:
                super().post_invocation_error(invoke_id, error_response_data, xray_fault, invocation_id)
        finally:
            self._run_after()

    def _send_inside(self, response: StreamingResponse) -> StreamingResponse | None:
        """Reads the body now; the response is sent when the handler has returned."""
        self._invocation.after = response.after
        with reportable_errors(self._invocation, self._settings):
            return replace(response, body=[read_whole(response)])

    def _send(self, response: StreamingResponse) -> None:
        """Sends a response to a caller that reads streams. Logs errors of the body."""
        raise NotImplementedError

    def _send_error(self) -> None:
        """Sends an error response to a caller that reads streams."""
        raise NotImplementedError

    def _report(self, error: BaseException) -> None:
        """Posts an error of the body like one of the handler."""
        name, frames = type(error).__name__, bootstrap.extract_traceback(error.__traceback__)
        invocation = self._invocation
        result = bootstrap.make_error(str(error), name, traceback.format_list(frames), invocation.request_id)
        fault = bootstrap.make_xray_fault(name, str(error), os.getcwd(), frames)
        super().post_invocation_error(invocation.request_id, to_json(result), to_json(fault), invocation.invocation_id)

    def _run_after(self) -> None:
        remaining = self._invocation.deadline - DEADLINE_MARGIN - time.time()
        run_after(self._invocation.after, min(AFTER_SECONDS, remaining))


class StreamingRuntimeClient(_Client, LambdaRuntimeClient):  # type: ignore[misc]  # awslambdaric ships no types
    """Posts a StreamingResponse chunk by chunk, and other responses as awslambdaric does."""

    def __init__(self, address: str, use_thread_for_polling_next: bool, settings: Settings) -> None:
        super().__init__(address, use_thread_for_polling_next, settings)
        self._watch = DeadlineWatch()

    def _send(self, response: StreamingResponse) -> None:
        self._stream().send(response)

    def _send_inside(self, response: StreamingResponse) -> StreamingResponse | None:
        """Sends the response now if it is streamed. Raises the exception of the body, which awslambdaric logs."""
        invocation = self._invocation
        if invocation.answered:
            raise RuntimeError("the response of this invocation is already sent")
        if not invocation.is_streamed(response, self._settings):
            return super()._send_inside(response)
        invocation.after, invocation.answered = response.after, True
        error = self._stream().send(response, logs_failure=False)
        invocation.failed = error is not None
        if isinstance(error, Exception):
            raise error
        if error:
            log(logging.ERROR, "response failed", error=error)  # awslambdaric would end the process
        return None

    def _send_error(self) -> None:
        self._stream().send_error()

    def _stream(self) -> ResponseStream:
        return ResponseStream(self._invocation, self.lambda_runtime_address, self._settings, self._watch, self._report)


class ManagedInstancesClient(_Client, LambdaMultiConcurrentRuntimeClient):  # type: ignore[misc]  # ships no types
    """Posts a StreamingResponse as prelude and body in one piece. It runs in several processes at a time."""

    def _send(self, response: StreamingResponse) -> None:
        try:
            data = read_whole(response)
        except ENDS_PROCESS:
            raise
        except BaseException as error:
            log(logging.ERROR, FAILED_EARLY, error=error)
            if not self._invocation.answers_errors(self._settings):
                self._report(error)
                return
            count("UnhandledErrors", self._invocation.request_id)
            response = response_after_error(self._invocation, response)
            data = read_whole(response)
        self._post(response, data)

    def _send_error(self) -> None:
        response = response_after_error(self._invocation, None)
        self._post(response, read_whole(response))

    def _post(self, response: StreamingResponse, data: bytes) -> None:
        invocation, content_type = self._invocation, framing.content_type(response.headers)
        if invocation.caller is not Caller.DIRECT:
            content_type = framing.INTEGRATION_TYPE
            data = framing.prelude_data(head_fields(response, invocation.caller)) + (data or b"\n")
        args = invocation.request_id, data, content_type, invocation.invocation_id
        LambdaMultiConcurrentRuntimeClient.post_invocation_result(self, *args)
