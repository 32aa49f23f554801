"""All calls to the models of Bedrock, and the classification of their errors."""

import re
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

from converse_stream.aws.cancellation import CancellationToken, Cancelled, cancel_scope, current
from converse_stream.aws.connection_pools import attach_sockets
from converse_stream.protocol import errors
from converse_stream.protocol.errors import Capability
from converse_stream.settings import SECURE_URL
from converse_stream.telemetry import logger

if TYPE_CHECKING:
    from mypy_boto3_bedrock_runtime import BedrockRuntimeClient


class Call(CancellationToken):
    """The requests to Bedrock for one answer, which can be cancelled.

    `bedrock_key` is the caller's own key, if there is one. `last_received` is the time of the last event from Bedrock,
    by the monotonic clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last_received = time.monotonic()
        self.bedrock_key: SecretStr | None = None


def config(*, idle_seconds: float) -> Config:
    """The configuration of the client: one attempt, because a second one could be billed too."""
    return Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=3,
        read_timeout=idle_seconds + 5,  # longer than the idle limit of the generation, which must expire first
    )


class Bedrock:
    """Converse and ConverseStream. Every failure is raised as a ModelError, or as Cancelled."""

    def __init__(self, client: "BedrockRuntimeClient") -> None:
        self._client = client
        attach_sockets(client)
        client.meta.events.register("choose-signer.bedrock-runtime", _unsigned)
        client.meta.events.register("before-send.bedrock-runtime", _set_bearer_token)

    def converse_stream(self, request: Mapping[str, Any], call: Call) -> Generator[dict[str, Any], None, None]:
        """The events of the stream. The connection is closed when the iterator ends or is closed."""
        with self._connected(call):
            stream = self._client.converse_stream(**request)["stream"]
            with closing(stream):
                for event in stream:
                    call.last_received = time.monotonic()
                    yield dict(event)

    def converse(self, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
        """The response with the complete answer."""
        with self._connected(call):
            answer = dict(self._client.converse(**request))
        if "output" not in answer:  # the body was cut off, and botocore has parsed a part of it
            raise errors.ModelTruncated
        return answer

    @contextmanager
    def _connected(self, call: Call) -> Iterator[None]:
        """The scope of one request: it can be cancelled, and its errors are converted."""
        with cancel_scope(call), _errors(call):
            yield


# All callers share the client, so the caller's own key is not a credential of the client. Such a request is not signed.
# The key is set immediately before the request is sent, after botocore has logged the request.


def _unsigned(**_: Any) -> Any:
    call = current()
    return UNSIGNED if isinstance(call, Call) and call.bedrock_key else None


def _set_bearer_token(request: AWSPreparedRequest, **_: Any) -> None:
    call = current()
    if isinstance(call, Call) and call.bedrock_key:
        if not SECURE_URL.fullmatch(request.url):
            raise errors.BedrockKeyRefused  # as in botocore: a bearer token is sent only over TLS
        request.headers["Authorization"] = f"Bearer {call.bedrock_key.get_secret_value()}"


# The codes of HTTP errors are PascalCase, those of exceptions in a stream are lowerCamelCase. Here in lower case.
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


# Texts in the message of an error that have a more specific error, by its kind. The first match counts.
_BY_MESSAGE: dict[str, type[errors.ModelError]] = {
    "end of its life": errors.ModelEndOfLife,
    "marked by provider as legacy": errors.ModelLegacy,
    "input is too long": errors.ContextLengthExceeded,
    "prompt is too long": errors.ContextLengthExceeded,
    "exceed context limit": errors.ContextLengthExceeded,  # Claude: the prompt with the maximum output
    "on-demand throughput": errors.InferenceProfileNeeded,  # after "isn't" or "doesn't support", with either apostrophe
    "model identifier is invalid": errors.ModelNotFound,  # also for an inference profile that the region does not have
}

# The same for capabilities that a model lacks. The patterns are in lower case. They match only what a model never
# accepts: a refusal that is learned from one request applies to all later ones.
_CAPABILITIES: dict[str, Capability] = {
    "tool use in streaming mode": "tool_streaming",
    r"unsupported for streaming|does(n't| not) support streaming": "streaming",
    r"does(n't| not) support system messages": "system_prompt",
    r"(`signature`|`data`) in `(thinking|redacted_thinking)`|redacted_thinking` blocks .* cannot be modified"
    r"|expected `thinking` or `redacted_thinking`": "signed_reasoning",
    r"thinking\.type\.enabled": "thinking_budget",
    r"thinking\.type\.disabled. is not supported for|'none' is not supported": "no_thinking",
    r"adaptive thinking|thinking\.type\.adaptive|not support the effort parameter": "adaptive_thinking",
    r"output_config\.effort: input should be": "effort",
    "tool_choice forces tool use": "forced_tools_with_thinking",
    r"support the toolconfig\.toolchoice|tool_choice: type .* not supported for this model": "forced_tools",
    r"temperature.{0,20} and .{0,20}top_?p.{0,40}both": "sampling_pair",
    r"temperature.{0,40}(deprecated|not support|unsupported)": "temperature",
    r"top_?p.{0,40}(deprecated|not support|unsupported)": "topP",
    r"support the outputconfig\.textformat field": "text_format",
    r"cache_?point.{0,40}ttl|ttl.{0,40}cach": "cache_ttl",
    r"prompt caching|support the cachepoint": "cache",
    r"(extraneous key \[|unknown parameter: ')(thinking|reasoning)|(thinking|reasoning\w*): extra inputs"
    "|reasoning config value is invalid": "thinking",
}


def _from_client_error(error: ClientError) -> errors.ModelError:
    details = error.response.get("Error", {})
    kind = _BY_CODE.get(details.get("Code", "").lower(), errors.ModelError)
    message = details.get("Message", "").lower()
    if kind in {errors.ModelInvalidRequest, errors.ModelNotFound, errors.ModelAccessDenied}:
        kind = next((specific for text, specific in _BY_MESSAGE.items() if text in message), kind)
    if kind in {errors.ModelInvalidRequest, errors.ModelAccessDenied}:  # prompt caching is denied, not invalid
        for pattern, capability in _CAPABILITIES.items():
            if re.search(pattern, message):
                return errors.CapabilityRefused(capability)
    return kind()


def _status(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


@contextmanager
def _errors(call: Call) -> Iterator[None]:
    try:
        call.pause(0)
        yield
        call.pause(0)  # a socket that was closed by a cancellation can look like the end of the stream
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
        hint = {"hint": failure.hint} if failure.hint else {}
        logger.warning("model call failed", extra={"code": failure.code, "cause": type(error).__name__, **hint})
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
