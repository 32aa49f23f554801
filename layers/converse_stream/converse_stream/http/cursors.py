"""Cursors of paged lists: opaque to clients, and harmless when made up.

A cursor never names a user: the keys that it leads to are built from the caller's own.
"""

import base64
import json
import re

from converse_stream.protocol.errors import BadRequest

_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def write(*fields: str | int) -> str:
    """The cursor that holds these."""
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


def read_place(cursor: str) -> int:
    """A message's place. Raises BadRequest."""
    match _fields(cursor):
        case [int(place)] if 0 < place < 10**8:
            return place
    raise _refusal()


def read_change(cursor: str) -> tuple[str, str]:
    """The time of a conversation's last change, and its id. Raises BadRequest."""
    match _fields(cursor):
        case [str(time), str(conversation)] if _TIME.fullmatch(time) and _ID.fullmatch(conversation):
            return time, conversation
    raise _refusal()


def _fields(cursor: str) -> object:
    try:
        return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        raise _refusal() from None


def _refusal() -> BadRequest:
    return BadRequest("cursor is not one of ours.", field="cursor")
