"""Sends one StreamingResponse to a caller that reads streams."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from . import framing
from .caller import Caller, head_fields
from .deadline import DeadlineWatch
from .error_response import response_after_error
from .invocation import Invocation
from .logs import log
from .metrics import count
from .post import PostError
from .response import ENDS_PROCESS, StreamingResponse, join, open_body
from .settings import Settings
from .transmission import Transmission, TransmissionEnded

FAILED_EARLY = "response failed before the first chunk"
NO_CONTENT = (204, 304)


class ResponseStream:
    """The response of one invocation. `report` reports an error that is not sent as an HTTP response."""

    def __init__(
        self,
        invocation: Invocation,
        address: str,
        settings: Settings,
        watch: DeadlineWatch,
        report: Callable[[BaseException], None],
    ) -> None:
        self._invocation = invocation
        self._address = address
        self._settings = settings
        self._watch = watch
        self._report = report
        self._transmission = Transmission(address)
        self._failure: BaseException | None = None
        self._message = FAILED_EARLY

    def send(self, response: StreamingResponse, *, logs_failure: bool = True) -> BaseException | None:
        """Sends the response. Returns the exception of the body, if there is one.

        If the body fails before its first chunk, the client gets an error response; later, the stream ends with error
        trailers.
        """
        try:
            with self._ended_before_the_deadline(response), open_body(response.body) as chunks:
                self._send(response, chunks)
        except TransmissionEnded:
            pass
        except PostError as error:
            self._log_refusal(error)
        finally:
            self._transmission.close()
        if self._failure and logs_failure:
            log(logging.ERROR, self._message, error=self._failure)
        return self._failure

    def send_error(self) -> None:
        """Sends an error response, because the handler failed."""
        try:
            self._transmission.finish(self._error_bytes(None))
        except PostError as error:
            self._log_refusal(error)
        finally:
            self._transmission.close()

    def _send(self, response: StreamingResponse, chunks: Iterator[bytes]) -> None:
        try:
            if response.buffered:
                chunks = iter([join(chunks)])
            start = self._head(response) + self._first_chunk(response, chunks)
        except ENDS_PROCESS:
            raise
        except BaseException as error:
            self._failure = error
            if not self._transmission.ended:  # otherwise the client already has an error response
                self._send_failure(response, error)
            return

        last_chunk = framing.LAST_CHUNK
        try:
            send = self._transmission.send
            send(start)
            for chunk in chunks:
                send(framing.chunk(chunk))
        except (PostError, TransmissionEnded, *ENDS_PROCESS):
            raise
        except BaseException as error:
            self._failure, self._message = error, "response interrupted"
            last_chunk = framing.last_chunk_with_error(type(error).__name__)
            if not self._transmission.ended:
                count("InterruptedResponses", self._invocation.request_id)
        self._transmission.finish(last_chunk)

    def _send_failure(self, response: StreamingResponse, error: BaseException) -> None:
        """Tells the client that the response failed before its first chunk."""
        if not self._invocation.answers_errors(self._settings):
            if self._transmission.interrupt():  # so that the deadline does not report too
                self._report(error)
            return
        count("UnhandledErrors", self._invocation.request_id)
        self._transmission.finish(self._error_bytes(response))

    def _log_refusal(self, error: PostError) -> None:
        log(logging.WARNING, "response refused by the Runtime API: %s", error)
        count("RefusedResponses", self._invocation.request_id)

    def _head(self, response: StreamingResponse) -> bytes:
        """The request head, and the prelude unless the body is sent alone."""
        invocation = self._invocation
        ids = invocation.request_id, invocation.invocation_id
        if invocation.caller is Caller.DIRECT:
            return framing.request_head(self._address, *ids, framing.content_type(response.headers))
        head = framing.request_head(self._address, *ids)
        return head + framing.prelude(head_fields(response, invocation.caller))

    def _first_chunk(self, response: StreamingResponse, chunks: Iterator[bytes]) -> bytes:
        """The first chunk, which is one line feed if there is none: Lambda may hang if no byte follows the prelude."""
        first = next(chunks, b"")
        if not first:
            may_be_empty = response.status in NO_CONTENT and self._settings.empty_no_content
            if may_be_empty or self._invocation.caller is Caller.DIRECT:
                return b""
            first = b"\n"
        return framing.chunk(first)

    def _error_bytes(self, failed: StreamingResponse | None) -> bytes:
        """The whole request with the error response."""
        response = response_after_error(self._invocation, failed)
        with open_body(response.body) as chunks:
            return self._head(response) + self._first_chunk(response, chunks) + framing.LAST_CHUNK

    def _ended_before_the_deadline(self, response: StreamingResponse) -> AbstractContextManager[None]:
        """Ends the response, if it is not complete, shortly before Lambda ends the process."""
        deadline, now = self._invocation.deadline, time.time()
        if not self._settings.deadline_seconds or deadline <= now:
            return nullcontext()
        margin = min(self._settings.deadline_seconds, (deadline - now) / 2)
        return self._watch.calling(partial(self._interrupt, response), deadline - margin)

    def _interrupt(self, response: StreamingResponse) -> None:
        """Sends the error trailers, or the error response if nothing is sent yet. Runs in another thread."""
        try:
            if not self._transmission.interrupt():
                log(logging.ERROR, "response interrupted by the deadline, while the client was slow")
                count("InterruptedResponses", self._invocation.request_id)
            elif self._transmission.started:
                log(logging.ERROR, "response interrupted by the deadline")
                count("InterruptedResponses", self._invocation.request_id)
                self._transmission.finish_interrupted(framing.last_chunk_with_error("DeadlineExceeded"))
            elif self._invocation.answers_errors(self._settings):
                log(logging.ERROR, "response not started before the deadline")
                count("UnhandledErrors", self._invocation.request_id)
                self._transmission.finish_interrupted(self._error_bytes(response))
            else:
                self._report(TimeoutError("the response was not started before the deadline"))
        except TransmissionEnded:
            return
        except PostError as error:
            self._log_refusal(error)
