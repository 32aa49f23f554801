"""Every call to Bedrock, and the way to stop one.

A call can be stopped from another thread at every moment but a name's resolution: while it connects, while the
headers are awaited (there is no stream object yet, and the pool holds no reference to a busy connection) and while
the answer comes. For that the client's connection classes tell the call which socket it uses, before it connects, and
`Call.stop` shuts that. botocore's session and urllib3's connections are private paths: tests hold them against the
pinned versions.
"""

import os
import socket
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import urllib3.exceptions
from botocore import UNSIGNED
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
    AWSPreparedRequest,
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
from pydantic import SecretStr

from chat import errors
from chat.settings import SECURE_URL
from chat.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


IDLE_CONNECTION = 30  # seconds after which a pooled connection may have been dropped by the other side


class Stopped(Exception):
    """The call was stopped by us; what failed afterwards says nothing about the model."""


class Call:
    """One answer's right to talk to Bedrock, until it is stopped; by `bedrock_key` where the caller brought one.

    `heard` is when Bedrock last sent something, a time of the monotonic clock.
    """

    def __init__(self) -> None:
        self.heard = time.monotonic()
        self.bedrock_key: SecretStr | None = None
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def stop(self) -> None:
        """From any thread. A blocked read or connect of this call ends at once."""
        with self._lock:
            self._stopped.set()
            self._shut()

    def pause(self, seconds: float) -> None:
        """Waits between two attempts. Raises Stopped as soon as the call is stopped."""
        if self._stopped.wait(seconds):
            raise Stopped

    def uses(self, descriptor: int) -> None:
        """The call speaks over this socket from now on, until `leaves`.

        It keeps a duplicate: TLS takes the connected socket's object over, and SSLSocket's own shutdown would take
        its state from under the reader.
        """
        with self._lock:
            self._drop()
            self._socket = socket.socket(fileno=os.dup(descriptor))
            if self._stopped.is_set():
                self._shut()

    def leaves(self) -> None:
        """The connection may serve somebody else now."""
        with self._lock:
            self._drop()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it may have ended by itself
                self._socket.shutdown(socket.SHUT_RDWR)

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

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
        self._used = time.time()
        _announce_sockets(client)
        client.meta.events.register("choose-signer.bedrock-runtime", _unsigned)
        client.meta.events.register("before-send.bedrock-runtime", _bear)

    def converse_stream(self, request: Mapping[str, Any], call: Call) -> Generator[dict[str, Any], None, None]:
        """The stream's events. The connection is closed when the iterator is, or ends."""
        with self._connected(call):
            stream = self._client.converse_stream(**request)["stream"]
            with closing(stream):
                for event in stream:
                    call.heard = time.monotonic()
                    yield dict(event)

    def converse(self, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
        """The answer in one piece."""
        with self._connected(call):
            answer = dict(self._client.converse(**request))
        if "output" not in answer:  # the body broke off, and botocore made the best of it
            raise errors.ModelTruncated
        return answer

    @contextmanager
    def _connected(self, call: Call) -> Iterator[None]:
        """The call's time with Bedrock. Connections that were left alone for long are not trusted."""
        if time.time() - self._used > IDLE_CONNECTION:  # wall time: a frozen sandbox stops the monotonic clock
            self._client.close()
        token = _current.set(call)
        try:
            with _errors(call):
                yield
        finally:
            call.leaves()
            _current.reset(token)
            self._used = time.time()


# The caller's own key is no credential of the client's, which all callers share. Such a call is not signed, and gets
# the key as the last thing before it is sent: later than botocore's own log looks at it.


def _unsigned(**_: Any) -> Any:
    call = _current.get()
    return UNSIGNED if call and call.bedrock_key else None


def _bear(request: AWSPreparedRequest, **_: Any) -> None:
    call = _current.get()
    if call and call.bedrock_key:
        if not SECURE_URL.fullmatch(request.url):
            raise errors.KeyRefused  # as botocore would: a bearer token is for whoever reads it
        request.headers["Authorization"] = f"Bearer {call.bedrock_key.get_secret_value()}"


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


# What models say that cannot do something, in ValidationException's words.
_REFUSALS: dict[str, type[errors.ModelError]] = {
    "unsupported for streaming": errors.StreamingRefused,
    "doesn't support tool use in streaming mode": errors.ToolStreamingRefused,
    "doesn't support streaming": errors.StreamingRefused,
    "does not support streaming": errors.StreamingRefused,
    "doesn't support system messages": errors.SystemPromptRefused,
    "does not support system messages": errors.SystemPromptRefused,
}


def _from_client_error(error: ClientError) -> errors.ModelError:
    details = error.response.get("Error", {})
    kind = _BY_CODE.get(details.get("Code", "").lower(), errors.ModelError)
    if kind is errors.ModelInvalidRequest:
        message = details.get("Message", "").lower()
        kind = next((refused for words, refused in _REFUSALS.items() if words in message), kind)
    return kind()


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


@contextmanager
def _errors(call: Call) -> Iterator[None]:
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
        if call.bedrock_key and isinstance(error, ClientError) and _status(error) in {401, 403}:
            failure = errors.KeyRefused()
        logger.warning("model call failed", extra={"code": failure.code, "cause": type(error).__name__})
        raise failure from error


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


def _announce(descriptor: int) -> None:
    if call := _current.get():
        call.pause(0)
        call.uses(descriptor)


class _Announcing:
    """Mixin for a connection: tells the current call which socket it uses, fresh or out of the pool."""

    sock: socket.socket | None
    timeout: float | None
    port: int
    socket_options: Iterable[tuple[int, int, int]] | None
    _dns_host: str

    def _new_conn(self) -> socket.socket:
        """urllib3's own, but for the announcement before each attempt to connect."""
        failure: OSError | None = None
        try:
            addresses = socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            addresses, failure = [], error
        for family, kind, protocol, _, address in addresses:
            connecting = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    connecting.setsockopt(*option)
                connecting.settimeout(self.timeout)
                _announce(connecting.fileno())
                connecting.connect(address)
                return connecting
            except OSError as error:
                connecting.close()
                failure = error
        timed_out = isinstance(failure, TimeoutError)
        error_class = urllib3.exceptions.ConnectTimeoutError if timed_out else urllib3.exceptions.NewConnectionError
        raise error_class(self, f"{self._dns_host}: {failure}")  # type: ignore[arg-type]  # its connection is us

    def request(self, *args: Any, **kwargs: Any) -> Any:
        if self.sock is not None:
            _announce(self.sock.fileno())
        return super().request(*args, **kwargs)  # type: ignore[misc]  # the class beside us in the bases has it


class _HttpConnection(_Announcing, AWSHTTPConnection):  # type: ignore[misc]  # the stubs of its bases disagree
    pass


class _HttpsConnection(_Announcing, AWSHTTPSConnection):  # type: ignore[misc]  # the same
    pass


class _HttpPool(AWSHTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(AWSHTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
