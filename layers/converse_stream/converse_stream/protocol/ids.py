"""Identifiers that are ours: random, unguessable, safe in a URL and in a key; and times."""

import secrets
from datetime import UTC, datetime


def new_id() -> str:
    """128 random bits, 22 characters of base64url."""
    return secrets.token_urlsafe(16)


def now() -> str:
    """The time, ISO 8601 in UTC with milliseconds; sorts as text."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def age(at: str) -> float:
    """Seconds since a time that `now` gave."""
    return (datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()
