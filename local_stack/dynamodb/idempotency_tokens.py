"""The client request tokens of transactions. For ten minutes a transaction with a known token is not executed again.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

import json
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

TOKEN_SECONDS = 600.0


class Mismatch(Exception):
    """The token was used with another request."""


class Tokens:
    """The tokens of executed transactions. `clock` returns seconds. A failed transaction leaves no token."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done: dict[str, tuple[float, bytes]] = {}  # time and digest of each, in the order of time

    def is_repeated(self, request: Mapping[str, Any]) -> bool:
        """Return whether this transaction has been executed before. Raises Mismatch."""
        limit = self._clock() - TOKEN_SECONDS
        while self._done and (oldest := next(iter(self._done))) and self._done[oldest][0] < limit:
            del self._done[oldest]
        previous = self._done.get(request.get("ClientRequestToken", ""))
        if previous and previous[1] != _digest(request):
            raise Mismatch
        return previous is not None

    def record(self, request: Mapping[str, Any]) -> None:
        """Record that the transaction has been executed."""
        if token := request.get("ClientRequestToken"):
            self._done[token] = self._clock(), _digest(request)


def _digest(request: Mapping[str, Any]) -> bytes:
    return sha256(json.dumps(request, sort_keys=True).encode()).digest()
