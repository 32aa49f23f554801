"""All calls to the models of Bedrock, and the classification of their errors."""

import json
import re
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from typing import Any
from urllib.parse import quote

import urllib3.exceptions
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from pydantic import SecretStr

from converse_stream.aws.cancellation import CancellationToken, Cancelled, cancel_scope
from converse_stream.aws.event_stream import CorruptStream, EventStreamDecoder
from converse_stream.aws.service import Service, client_error, to_json
from converse_stream.protocol import errors
from converse_stream.protocol.errors import Capability
from converse_stream.settings import SECURE_URL
from converse_stream.telemetry import logger

CONNECT_SECONDS = 3
PIECE = 64 * 1024  # bytes that are read at once from a response that is not chunked


class Call(CancellationToken):
    """The requests to Bedrock for one answer, which can be cancelled.

    `bedrock_key` is the caller's own key, if there is one. `last_received` is the time of the last event from Bedrock,
    by the monotonic clock.
    """

    def __init__(self) -> None:
        super().__init__()
        self.last_received = time.monotonic()
        self.bedrock_key: SecretStr | None = None


def bedrock_service(*, idle_seconds: float, url: str = "") -> Service:
    """The service. The read time-out is longer than the idle limit of the generation, which must expire first."""
    limits: Any = {"connect_seconds": CONNECT_SECONDS, "read_seconds": idle_seconds + 5}
    return Service("bedrock-runtime", signing_name="bedrock", url=url, **limits)


class Bedrock:
    """Converse and ConverseStream. Every failure is raised as a ModelError, or as Cancelled.

    A request is sent once, because a second one could be billed too. `key` is a Bedrock API key of the deployment, used
    instead of its role. https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
    """

    def __init__(self, service: Service, key: str | None = None) -> None:
        self.service = service
        self._key = key

    def converse_stream(self, request: Mapping[str, Any], call: Call) -> Generator[dict[str, Any], None, None]:
        """The events of the stream. The connection is closed when the iterator ends or is closed."""
        with self._connected(call):
            response = self._post("converse-stream", request, call, streamed=True)
            decoder = EventStreamDecoder()
            with closing(response):
                for piece in _pieces(response):
                    for headers, payload in decoder.feed(piece):
                        call.last_received = time.monotonic()
                        if event := _event(headers, payload):
                            yield event

    def converse(self, request: Mapping[str, Any], call: Call) -> dict[str, Any]:
        """The response with the complete answer."""
        with self._connected(call):
            response = self._post("converse", request, call, streamed=False)
            answer: dict[str, Any] = json.loads(response.data)
        if "output" not in answer:
            raise errors.ModelTruncated
        return answer

    def _post(
        self, operation: str, request: Mapping[str, Any], call: Call, *, streamed: bool
    ) -> urllib3.BaseHTTPResponse:
        key = call.bedrock_key.get_secret_value() if call.bedrock_key else self._key
        if key and not SECURE_URL.fullmatch(self.service.url):
            raise errors.BedrockKeyRefused  # a bearer token is sent only over TLS
        body = to_json({name: value for name, value in request.items() if name != "modelId"})
        path = f"/model/{quote(request['modelId'], safe='')}/{operation}"
        response = self.service.post(path, {"content-type": "application/json"}, body, streamed=streamed, token=key)
        if response.status == 200:
            return response
        with closing(response):
            raise client_error(operation, response)

    @contextmanager
    def _connected(self, call: Call) -> Iterator[None]:
        """The scope of one request: it can be cancelled, and its errors are converted."""
        with cancel_scope(call), _errors(call):
            yield


def _pieces(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The body as it arrives."""
    if getattr(response, "chunked", False):
        return response.read_chunked()
    return iter(lambda: response.read1(PIECE), b"")


def _event(headers: Mapping[str, str], payload: bytes) -> dict[str, Any] | None:
    """The event of a message, by its name. Raises ClientError for an exception."""
    match headers.get(":message-type"):
        case "event":
            return {headers[":event-type"]: json.loads(payload)}
        case "exception" | "error":
            message = ""
            with suppress(ValueError, AttributeError):
                message = str(json.loads(payload).get("message") or "")
            code = headers.get(":exception-type") or headers.get(":error-code", "")
            raise ClientError({"Error": {"Code": code, "Message": message}}, "ConverseStream")
    return None


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
        CorruptStream,
        ValueError,
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
        case ConnectionClosedError() | urllib3.exceptions.HTTPError() | OSError():
            return errors.ModelConnectionLost()
        case CorruptStream() | ValueError():  # not JSON
            return errors.ModelCorrupt()
        case _:
            return errors.ModelError()
