"""Random ids and timestamps."""

import secrets
from datetime import UTC, datetime


def new_id() -> str:
    """A new id: 128 random bits in 22 characters, safe in URLs and keys."""
    return secrets.token_urlsafe(16)


def now() -> str:
    """The time now: ISO 8601 in UTC with milliseconds. The texts sort by time."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def age(at: str) -> float:
    """Seconds since a time in the format of `now`."""
    return (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
