"""Clients for what must not keep a user waiting: one attempt, and time-outs within a budget."""

import time
from typing import Any

import boto3
from botocore.config import Config

IDLE_CONNECTION = 30  # seconds after which a pooled connection may have been dropped by the other side


def client(service: str, seconds: float) -> Any:
    """A boto3 client that waits at most `seconds` for an answer, and a third of that for a connection."""
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=seconds / 3, read_timeout=seconds
    )
    made = boto3.client(service, config=config)  # type: ignore[call-overload]  # any service
    made.meta.events.register("before-send", _Fresh(made))
    return made


class _Fresh:
    """A single attempt must not meet a connection that died while the environment slept."""

    def __init__(self, made: Any) -> None:
        self._client = made
        self._used = time.time()

    def __call__(self, **_: Any) -> None:
        before, self._used = self._used, time.time()  # wall time: a frozen sandbox stops the monotonic clock
        if self._used - before > IDLE_CONNECTION:
            self._client.close()
