"""The kind of caller that sent an event, and the form of the response for it."""

from base64 import b64encode
from collections.abc import Mapping
from enum import Enum, auto

from .response import StreamingResponse, read_whole


class Caller(Enum):
    """The kinds of caller that need different responses."""

    FUNCTION_URL = auto()  # payload 2.0: cookies in a list
    REST_API = auto()  # payload 1.0: cookies in the multi-value headers
    OTHER = auto()  # an HTTP API, a load balancer, a WebSocket: cannot read a stream
    DIRECT = auto()  # the Invoke APIs and event sources. InvokeWithResponseStream reads a stream, but without a prelude


def caller_of(event: object) -> Caller:
    """The caller of an event, which may have any form.

    Forms: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads and
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    if not isinstance(event, dict) or not isinstance(context := event.get("requestContext"), dict):
        return Caller.DIRECT
    match event.get("version"):
        case "2.0" if ".lambda-url." in str(context.get("domainName")):
            return Caller.FUNCTION_URL
        case None | "1.0" if "httpMethod" in event and "elb" not in context:
            return Caller.REST_API
    return Caller.OTHER


def streaming_callers(environ: Mapping[str, str]) -> frozenset[Caller]:
    """The callers that read a stream.

    No event shows whether its caller reads one. So the variables URL_STREAMING (1 by default) and REST_STREAMING (0 by
    default) tell it.
    """
    if environ.get("AWS_SAM_LOCAL"):  # `sam local` parses each response as JSON
        return frozenset()
    callers = {Caller.FUNCTION_URL, Caller.REST_API, Caller.DIRECT}
    if environ.get("URL_STREAMING") == "0":
        callers.remove(Caller.FUNCTION_URL)
    if environ.get("REST_STREAMING") != "1":
        callers.remove(Caller.REST_API)
    return frozenset(callers)


def head_fields(response: StreamingResponse, caller: Caller) -> dict[str, object]:
    """Status, headers and cookies, in the fields that the caller reads. For preludes and for proxy responses."""
    fields: dict[str, object] = {"statusCode": response.status, "headers": dict(response.headers)}
    if response.cookies and caller is Caller.REST_API:
        fields["multiValueHeaders"] = {"set-cookie": list(response.cookies)}
    elif response.cookies:
        fields["cookies"] = list(response.cookies)
    return fields


def in_one_piece(response: StreamingResponse, caller: Caller) -> dict[str, object]:
    """The proxy response that a handler without streaming would return; base64 if the body is not UTF-8 text.

    Raises the exceptions of the body, and ResponseTooLarge.
    """
    data = read_whole(response)
    try:
        body, is_base64 = data.decode(), False
    except UnicodeDecodeError:
        body, is_base64 = b64encode(data).decode(), True
    return {**head_fields(response, caller), "body": body, "isBase64Encoded": is_base64}
