"""The erasure marker of a user: the time at which the erasure of all data started, in the profile's item.

While the marker exists, no generation or conversation of the user can be started and nothing can be learned: these
transactions check it. The erasure deletes the profile last, and the marker with it.
"""

from typing import Any

from converse_stream.protocol.ids import now
from converse_stream.store import keys
from converse_stream.store.table import ConditionFailed, Table

# Named conditions on the profile's item.
NOT_ERASING = "attribute_not_exists(erasing)"
_IS_SAME = "erasing = :since"


def begin(table: Table, user: str) -> str:
    """Sets the marker, if there is none, and returns its time. The time identifies the erasure."""
    update, values = "SET erasing = :since", {":since": now()}
    try:
        item = table.update(*_profile(user), update, condition=NOT_ERASING, values=values)
    except ConditionFailed as failed:
        item = failed.item or {}
    started_at: str = item["erasing"]
    return started_at


def get(table: Table, user: str) -> str | None:
    """The time of the marker; None if there is no marker."""
    started_at: str | None = (table.get(*_profile(user)) or {}).get("erasing")
    return started_at


def end(table: Table, user: str, started_at: str) -> None:
    """Deletes the profile with the marker, if the marker still has this time."""
    try:
        table.delete(*_profile(user), condition=_IS_SAME, values={":since": started_at})
    except ConditionFailed:
        return  # another call has completed the erasure


def not_erasing_part(table: Table, user: str) -> Any:
    """For `transact`: a check that no erasure of the user is running."""
    return table.check_part(*_profile(user), condition=NOT_ERASING)


def same_erasure_part(table: Table, user: str, started_at: str) -> Any:
    """For `transact`: a check that the erasure that started at this time is still running."""
    return table.check_part(*_profile(user), condition=_IS_SAME, values={":since": started_at})


def _profile(user: str) -> tuple[str, str]:
    return keys.facts(user), keys.PROFILE
