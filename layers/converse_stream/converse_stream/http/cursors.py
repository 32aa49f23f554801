"""Cursors of paged lists, opaque to clients.

A cursor has no user in it: the keys of the table are built from the id of the caller. So a forged cursor cannot reach
the items of another user.
"""

import base64
import json
import re

from converse_stream.protocol.errors import BadRequest

_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def write(*fields: str | int) -> str:
    """Returns a cursor with these fields."""
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


def read_seq(cursor: str) -> int:
    """Returns the sequence number of a message. Raises BadRequest."""
    match _fields(cursor):
        case [int(seq)] if 0 < seq < 10**8:
            return seq
    raise _invalid()


def read_change(cursor: str) -> tuple[str, str]:
    """Returns the time of the last change of a conversation, and its id. Raises BadRequest."""
    match _fields(cursor):
        case [str(time), str(conversation)] if _TIME.fullmatch(time) and _ID.fullmatch(conversation):
            return time, conversation
    raise _invalid()


def _fields(cursor: str) -> object:
    try:
        return json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        raise _invalid() from None


def _invalid() -> BadRequest:
    return BadRequest("cursor is not valid.", field="cursor")
