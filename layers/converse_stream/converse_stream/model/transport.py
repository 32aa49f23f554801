"""Every call to a model of Bedrock: how it is made, and what its failures are called."""

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import urllib3.exceptions
from botocore import UNSIGNED
from botocore.awsrequest import AWSPreparedRequest
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

from converse_stream.aws.cancellation import (
    CancellationToken,
    Cancelled,
    cancel_scope,
    current,
)
from converse_stream.aws.connection_pools import attach_sockets
from converse_stream.protocol import errors
from converse_stream.settings import SECURE_URL
from converse_stream.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


class Call(CancellationToken):
    """One answer's right to talk to Bedrock, until it is stopped; by `bedrock_key` where the caller brought one.

    `last_received` is when Bedrock last sent something, a time of the monotonic clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last_received = time.monotonic()
        self.bedrock_key: SecretStr | None = None


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
        attach_sockets(client)
        client.meta.events.register("choose-signer.bedrock-runtime", _unsigned)
        client.meta.events.register("before-send.bedrock-runtime", _bear)

    def converse_stream(self, request: Mapping[str, Any], call: Call) -> Generator[dict[str, Any], None, None]:
        """The stream's events. The connection is closed when the iterator is, or ends."""
        with self._connected(call):
            stream = self._client.converse_stream(**request)["stream"]
            with closing(stream):
                for event in stream:
                    call.last_received = time.monotonic()
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
        """The call's time with Bedrock."""
        with cancel_scope(call), _errors(call):
            yield


# The caller's own key is no credential of the client's, which all callers share. Such a call is not signed, and gets
# the key as the last thing before it is sent: later than botocore's own log looks at it.


def _unsigned(**_: Any) -> Any:
    call = current()
    return UNSIGNED if isinstance(call, Call) and call.bedrock_key else None


def _bear(request: AWSPreparedRequest, **_: Any) -> None:
    call = current()
    if isinstance(call, Call) and call.bedrock_key:
        if not SECURE_URL.fullmatch(request.url):
            raise errors.BedrockKeyRefused  # as botocore would: a bearer token is for whoever reads it
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


# What a ValidationException says, where its words mean more than that the request is wrong. The first that fits.
_BY_WORDS: dict[str, type[errors.ModelError]] = {
    "unsupported for streaming": errors.StreamingRefused,
    "doesn't support tool use in streaming mode": errors.ToolStreamingRefused,
    "doesn't support streaming": errors.StreamingRefused,
    "does not support streaming": errors.StreamingRefused,
    "doesn't support system messages": errors.SystemPromptRefused,
    "does not support system messages": errors.SystemPromptRefused,
    "input is too long": errors.ContextLengthExceeded,
    "prompt is too long": errors.ContextLengthExceeded,
    "exceed context limit": errors.ContextLengthExceeded,  # Claude's, where the room for the answer does not fit
    "on-demand throughput": errors.InferenceProfileNeeded,  # both "isn't" and "doesn't support", with either apostrophe
    "model identifier is invalid": errors.ModelNotFound,  # also of a profile that the region does not have
}


def _from_client_error(error: ClientError) -> errors.ModelError:
    details = error.response.get("Error", {})
    kind = _BY_CODE.get(details.get("Code", "").lower(), errors.ModelError)
    if kind is errors.ModelInvalidRequest:
        message = details.get("Message", "").lower()
        kind = next((named for words, named in _BY_WORDS.items() if words in message), kind)
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
        if call.cancelled:
            raise Cancelled from None
        failure = _classified(error)
        if call.bedrock_key and isinstance(error, ClientError) and _status(error) in {401, 403}:
            failure = errors.BedrockKeyRefused()
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
