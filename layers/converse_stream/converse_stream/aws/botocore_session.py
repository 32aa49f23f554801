"""The session of botocore, which all its clients share. Its import costs a start, so it is made for its first use."""

from functools import cache
from typing import Any


@cache
def session() -> Any:
    """The session."""
    import botocore.session

    return botocore.session.get_session()
