"""Finds the route of a request."""

import re
from collections.abc import Mapping
from typing import TypeVar

from converse_stream.http.request import ID, HttpRequest
from converse_stream.protocol.errors import MethodNotAllowed, NotFound

R = TypeVar("R")


def route(request: HttpRequest, routes: Mapping[str, R]) -> tuple[R, str]:
    """What `routes` has for the request's method and path, and the id that stands in the path for its `{}`.

    Raises NotFound or MethodNotAllowed.
    """
    known = False
    for pattern, name in routes.items():
        method, _, path = pattern.partition(" ")
        before, braces, behind = path.partition("{}")
        inside = request.path[len(before) : len(request.path) - len(behind)] if braces else ""
        if request.path == before + inside + behind and (not braces or re.fullmatch(ID, inside)):
            if request.method == method:
                return name, inside
            known = True
    raise MethodNotAllowed if known else NotFound
