"""Who asked, as far as an event tells, and the shape of answer that each of them reads."""

from base64 import b64encode
from collections.abc import Mapping
from enum import Enum, auto

from .response import StreamingResponse, opened


class Caller(Enum):
    """The three kinds of caller that are answered differently."""

    FUNCTION_URL = auto()  # payload 2.0: reads cookies from a list
    REST_API = auto()  # payload 1.0: reads cookies among the headers of many values
    OTHER = auto()  # an HTTP API, the Invoke API, anything: never reads a stream


def caller_of(event: object) -> Caller:
    """The caller of an event of any shape.

    Shapes: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads and
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """
    if not isinstance(event, dict) or not isinstance(context := event.get("requestContext"), dict):
        return Caller.OTHER
    match event.get("version"):
        case "2.0" if ".lambda-url." in str(context.get("domainName")):
            return Caller.FUNCTION_URL
        case None | "1.0" if "httpMethod" in event and "elb" not in context:
            return Caller.REST_API
    return Caller.OTHER


def streaming_callers(environ: Mapping[str, str]) -> frozenset[Caller]:
    """The callers that read a stream. An event does not say how it was invoked, so a REST API counts when told so."""
    if environ.get("AWS_SAM_LOCAL"):  # it parses every answer as JSON
        return frozenset()
    if environ.get("REST_STREAMING") == "1":
        return frozenset({Caller.FUNCTION_URL, Caller.REST_API})
    return frozenset({Caller.FUNCTION_URL})


def head_fields(response: StreamingResponse, caller: Caller) -> dict[str, object]:
    """Status, headers and cookies, where the caller looks for them: in a prelude and in a proxy answer alike."""
    fields: dict[str, object] = {"statusCode": response.status, "headers": dict(response.headers)}
    if response.cookies and caller is Caller.REST_API:
        fields["multiValueHeaders"] = {"set-cookie": list(response.cookies)}
    elif response.cookies:
        fields["cookies"] = list(response.cookies)
    return fields


def in_one_piece(response: StreamingResponse, caller: Caller) -> dict[str, object]:
    """The proxy answer, as a handler without streaming would return it; base64 when the body is not UTF-8 text."""
    with opened(response.body) as chunks:
        data = b"".join(chunks)
    try:
        body, is_base64 = data.decode(), False
    except UnicodeDecodeError:
        body, is_base64 = b64encode(data).decode(), True
    return {**head_fields(response, caller), "body": body, "isBase64Encoded": is_base64}
