"""Throttling of an API Gateway stage, with token buckets.

https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-throttling.html
"""

import time
from collections.abc import Callable, Mapping

from local_stack.template import Throttle


class Bucket:
    """A token bucket. It holds at most `burst` tokens and gets `rate` tokens per second."""

    def __init__(self, throttle: Throttle, clock: Callable[[], float]) -> None:
        self._throttle = throttle
        self._clock = clock
        self._tokens = float(throttle.burst)
        self._at = clock()

    def take(self) -> bool:
        """Take one token. Returns False if the bucket is empty."""
        now = self._clock()
        self._tokens = min(self._throttle.burst, self._tokens + (now - self._at) * self._throttle.rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Throttling:
    """One bucket for each route key with its own settings, and one bucket for all other routes."""

    def __init__(
        self,
        default: Throttle | None,
        routes: Mapping[str, Throttle] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._default = Bucket(default, clock) if default else None
        self._routes = {key: Bucket(throttle, clock) for key, throttle in (routes or {}).items()}

    def admits(self, route_key: str) -> bool:
        """Return whether the route may get one more request now. Takes a token."""
        bucket = self._routes.get(route_key, self._default)
        return bucket is None or bucket.take()
