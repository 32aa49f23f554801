"""CORS headers of a Function URL or an API, computed from its configuration."""

from local_stack.http import Request
from local_stack.template import Cors

DEV_USER = "x-dev-user"  # the user in authentication mode dev; the template does not allow this mode


def is_preflight(request: Request) -> bool:
    return (
        request.method == "OPTIONS"
        and request.header("origin") is not None
        and request.header("access-control-request-method") is not None
    )


def preflight_headers(cors: Cors, request: Request) -> list[tuple[str, str]]:
    """Return the headers of the response to a preflight. They are empty if the origin is not allowed."""
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
    """Return the headers that are added to each response. They are empty if the origin is not allowed."""
    origin = request.header("origin")
    if cors is None or origin is None or not {"*", origin} & set(cors.origins):
        return []
    any_origin = "*" in cors.origins and not cors.credentials
    headers = [("access-control-allow-origin", "*" if any_origin else origin), ("vary", "Origin")]
    if cors.exposed:
        headers.append(("access-control-expose-headers", ",".join(cors.exposed)))
    if cors.credentials:
        headers.append(("access-control-allow-credentials", "true"))
    return headers
