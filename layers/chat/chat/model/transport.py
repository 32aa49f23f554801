"""Every call to Bedrock, and the way to stop one.

A call can be stopped from another thread at every moment: while it connects, while the headers are awaited (there
is no stream object yet, and the pool holds no reference to a busy connection) and while the answer comes. For that
the client's connection classes tell the call which socket it uses, and `Call.stop` shuts that. botocore's session
and urllib3's connections are private paths: tests hold them against the pinned versions.
"""

import socket
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import urllib3.exceptions
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.config import Config
from botocore.eventstream import ParserError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from chat import errors
from chat.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


class Stopped(Exception):
    """The call was stopped by us; what failed afterwards says nothing about the model."""


class Call:
    """One answer's right to talk to Bedrock, until it is stopped."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._socket: socket.socket | None = None

    def stop(self) -> None:
        """From any thread. A blocked read or connect of this call ends at once."""
        self._stopped.set()
        self._shut()

    def pause(self, seconds: float) -> None:
        """Waits between two attempts. Raises Stopped as soon as the call is stopped."""
        if self._stopped.wait(seconds):
            raise Stopped

    def using(self, connected: socket.socket) -> None:
        """The call speaks over this socket from now on."""
        self._socket = connected
        if self._stopped.is_set():
            self._shut()

    def _shut(self) -> None:
        if self._socket is None:
            return
        with suppress(OSError):  # it may have ended by itself
            # The base class's shutdown: over TLS, SSLSocket's own would also take its state from under the reader.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    @property
    def stopped(self) -> bool:
        """Whether the call has been stopped."""
        return self._stopped.is_set()


_current: ContextVar[Call | None] = ContextVar("current_call", default=None)


def config(*, idle_seconds: float) -> Config:
    """The streaming client's configuration: one attempt, because a second would be paid twice, unseen."""
    return Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=3,
        read_timeout=idle_seconds + 5,  # the turn's own idle timer comes first and can tell the two apart
    )


class Bedrock:
    """Converse and ConverseStream. Every failure is a ModelError, or Stopped."""

    def __init__(self, client: "BedrockRuntimeClient") -> None:
        self._client = client
        _announce_sockets(client)

    def converse_stream(self, request: Mapping[str, Any], call: Call) -> Generator[dict[str, Any], None, None]:
        """The stream's events. The connection is closed when the iterator is, or ends."""
        with _errors(call):
            stream = self._client.converse_stream(**request)["stream"]
            with closing(stream):
                for event in stream:
                    yield dict(event)

    def converse(self, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
        """The answer in one piece."""
        with _errors(call):
            answer = dict(self._client.converse(**request))
        if "output" not in answer:  # the body broke off, and botocore made the best of it
            raise errors.ModelTruncated
        return answer


# Codes of HTTP errors are PascalCase, those of exceptions inside a stream lowerCamel.
_BY_CODE: dict[str, type[errors.ModelError]] = {
    "throttlingexception": errors.ModelThrottled,
    "servicequotaexceededexception": errors.ModelThrottled,
    "serviceunavailableexception": errors.ModelUnavailable,
    "modelnotreadyexception": errors.ModelNotReady,
    "accessdeniedexception": errors.ModelAccessDenied,
    "resourcenotfoundexception": errors.ModelNotFound,
    "validationexception": errors.ModelInvalidRequest,
    "modeltimeoutexception": errors.ModelTimeout,
    "internalserverexception": errors.ModelInternal,
    "modelerrorexception": errors.ModelInternal,
    "modelstreamerrorexception": errors.ModelInternal,
}


def _from_client_error(error: ClientError) -> errors.ModelError:
    details = error.response.get("Error", {})
    kind = _BY_CODE.get(details.get("Code", "").lower(), errors.ModelError)
    message = details.get("Message", "").lower()
    if kind is errors.ModelInvalidRequest and "support" in message:
        if "stream" in message:
            kind = errors.StreamingRefused
        elif "system" in message:
            kind = errors.SystemPromptRefused
    return kind()


@contextmanager
def _errors(call: Call) -> Iterator[None]:
    token = _current.set(call)
    try:
        call.pause(0)
        yield
        call.pause(0)  # a socket that we shut can look like a clean end
    except (
        ClientError,
        BotoCoreError,
        ParserError,
        ResponseParserError,
        urllib3.exceptions.HTTPError,
        OSError,
    ) as error:
        if call.stopped:
            raise Stopped from None
        failure = _classified(error)
        logger.warning("model call failed", extra={"code": failure.code, "cause": type(error).__name__})
        raise failure from error
    finally:
        _current.reset(token)


def _classified(error: Exception) -> errors.ModelError:
    match error:
        case ClientError():
            return _from_client_error(error)
        case EndpointConnectionError() | ConnectTimeoutError():
            return errors.ModelUnavailable()
        case ReadTimeoutError() | urllib3.exceptions.ReadTimeoutError():
            return errors.ModelTimeout()
        case ParserError() | ResponseParserError():
            return errors.ModelCorrupt()
        case ConnectionClosedError() | HTTPClientError() | urllib3.exceptions.HTTPError() | OSError():
            return errors.ModelConnectionLost()
        case _:
            return errors.ModelError()


def _announce_sockets(client: "BedrockRuntimeClient") -> None:
    try:
        pools = client._endpoint.http_session._pool_classes_by_scheme  # type: ignore[attr-defined]  # noqa: SLF001  # see the module's docstring
        pools.update(http=_HttpPool, https=_HttpsPool)
    except AttributeError:
        logger.warning("botocore has changed: a call can only be stopped by its time-outs")


class _Announcing:
    """Mixin for a connection: tells the current call which socket it uses, fresh or out of the pool."""

    sock: socket.socket | None

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]  # the class beside us in the bases has it
        self._announce()

    def request(self, *args: Any, **kwargs: Any) -> Any:
        if self.sock is not None:
            self._announce()
        return super().request(*args, **kwargs)  # type: ignore[misc]  # the same

    def _announce(self) -> None:
        call = _current.get()
        if call is not None and self.sock is not None:
            call.using(self.sock)


class _HttpConnection(_Announcing, AWSHTTPConnection):  # type: ignore[misc]  # the stubs of its bases disagree
    pass


class _HttpsConnection(_Announcing, AWSHTTPSConnection):  # type: ignore[misc]  # the same
    pass


class _HttpPool(AWSHTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(AWSHTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
