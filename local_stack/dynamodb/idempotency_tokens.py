"""The client request tokens of transactions: one that was carried out is not carried out again for ten minutes.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_TransactWriteItems.html
"""

import json
import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

KEPT = 600.0  # seconds


class Mismatch(Exception):
    """The token was used with another request."""


class Tokens:
    """`clock` gives seconds. Transactions that failed leave no token."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done: dict[str, tuple[float, bytes]] = {}  # in the order of time

    def is_repeated(self, request: Mapping[str, Any]) -> bool:
        """Whether this transaction was carried out before. Raises Mismatch."""
        while self._done and (oldest := next(iter(self._done))) and self._done[oldest][0] < self._clock() - KEPT:
            del self._done[oldest]
        known = self._done.get(request.get("ClientRequestToken", ""))
        if known and known[1] != _digest(request):
            raise Mismatch
        return known is not None

    def note(self, request: Mapping[str, Any]) -> None:
        """The transaction was carried out."""
        if token := request.get("ClientRequestToken"):
            self._done[token] = self._clock(), _digest(request)


def _digest(request: Mapping[str, Any]) -> bytes:
    return sha256(json.dumps(request, sort_keys=True).encode()).digest()
