"""The session of botocore, whose import costs a start: import this module only where it is needed."""

from functools import cache
from typing import Any

import botocore.session


@cache
def session() -> Any:
    """The session that all clients of botocore share."""
    return botocore.session.get_session()
