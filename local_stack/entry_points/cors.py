"""CORS as a Function URL or an API Gateway answers it, from the configuration alone."""

from local_stack.http import Request
from local_stack.template import Cors

DEV_USER = "x-dev-user"  # names the user in auth mode dev, which the template does not know


def is_preflight(request: Request) -> bool:
    return (
        request.method == "OPTIONS"
        and request.header("origin") is not None
        and request.header("access-control-request-method") is not None
    )


def preflight_headers(cors: Cors, request: Request) -> list[tuple[str, str]]:
    """The answer to a preflight; for an origin that may not call, nothing that a browser would accept."""
    headers = response_headers(cors, request)
    if not headers:
        return []
    headers += [
        ("access-control-allow-methods", ",".join(cors.methods)),
        ("access-control-allow-headers", ",".join((*cors.headers, DEV_USER))),
    ]
    if cors.max_age is not None:
        headers.append(("access-control-max-age", str(cors.max_age)))
    return headers


def response_headers(cors: Cors | None, request: Request) -> list[tuple[str, str]]:
    """What is added to every answer for the request's origin."""
    origin = request.header("origin")
    if cors is None or origin is None or not {"*", origin} & set(cors.origins):
        return []
    anybody = "*" in cors.origins and not cors.credentials
    headers = [("access-control-allow-origin", "*" if anybody else origin), ("vary", "Origin")]
    if cors.exposed:
        headers.append(("access-control-expose-headers", ",".join(cors.exposed)))
    if cors.credentials:
        headers.append(("access-control-allow-credentials", "true"))
    return headers
