"""The mark that everything of a user is being erased: when that began, on the profile's item.

While it is there, nothing of theirs begins: the transactions of a start, of a new conversation and of learning check
it. The profile is what erasure deletes last, and the mark goes with it.
"""

from typing import Any

from converse_stream.protocol.ids import now
from converse_stream.store import keys
from converse_stream.store.table import ConditionFailed, Table

# Named conditions on the profile's item.
NOT_ERASING = "attribute_not_exists(erasing)"
_SINCE = "erasing = :since"


def begin(table: Table, user: str) -> str:
    """Sets the mark; returns since when it has been there, which tells two erasures of one user apart."""
    update, values = "SET erasing = :since", {":since": now()}
    try:
        item = table.update(*_profile(user), update, condition=NOT_ERASING, values=values)
    except ConditionFailed as failed:
        item = failed.item or {}
    begun: str = item["erasing"]
    return begun


def since(table: Table, user: str) -> str | None:
    """The time of the mark, or None where there is none."""
    begun: str | None = (table.get(*_profile(user)) or {}).get("erasing")
    return begun


def end(table: Table, user: str, begun: str) -> None:
    """Deletes the profile with the mark, if it is still that one."""
    try:
        table.delete(*_profile(user), condition=_SINCE, values={":since": begun})
    except ConditionFailed:
        return  # another call has ended the erasure


def not_erasing_part(table: Table, user: str) -> Any:
    """For `transact`: holds while nothing is being erased."""
    return table.check_part(*_profile(user), condition=NOT_ERASING)


def same_erasure_part(table: Table, user: str, begun: str) -> Any:
    """For `transact`: holds while the erasure of that time goes on."""
    return table.check_part(*_profile(user), condition=_SINCE, values={":since": begun})


def _profile(user: str) -> tuple[str, str]:
    return keys.facts(user), keys.PROFILE
