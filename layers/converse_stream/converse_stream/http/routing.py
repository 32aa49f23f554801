"""Finds the route of a request by method and path."""

import re
from collections.abc import Mapping
from typing import TypeVar

from converse_stream.http.request import ID, HttpRequest
from converse_stream.protocol.errors import MethodNotAllowed, NotFound

R = TypeVar("R")


def route(request: HttpRequest, routes: Mapping[str, R]) -> tuple[R, str]:
    """Returns the value in `routes` for a request, and the id in its path, empty for a route without one.

    The keys of `routes` are like `GET /chat/{}/stream`. Raises NotFound or MethodNotAllowed.
    """
    path_exists = False
    for pattern, value in routes.items():
        method, _, path = pattern.partition(" ")
        prefix, braces, suffix = path.partition("{}")
        item_id = request.path[len(prefix) : len(request.path) - len(suffix)] if braces else ""
        if request.path == prefix + item_id + suffix and (not braces or re.fullmatch(ID, item_id)):
            if request.method == method:
                return value, item_id
            path_exists = True
    raise MethodNotAllowed if path_exists else NotFound
