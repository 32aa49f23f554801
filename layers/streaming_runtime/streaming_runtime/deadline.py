"""Calls a function at a time, in a thread that lives as long as the process: a thread for each response costs more."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import TIMEOUT_MAX, Condition, Thread

from .logs import log


class DeadlineWatch:
    """Watches one deadline at a time. The thread starts with the first one."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._call: Callable[[], None] | None = None
        self._at = math.inf  # seconds since the epoch
        self._wakes_at = math.inf
        self._thread: Thread | None = None

    @contextmanager
    def calling(self, call: Callable[[], None], at: float) -> Iterator[None]:
        """Calls `call` at the time `at`, unless the context ends earlier. Its end waits for a call that runs."""
        with self._changed:
            self._call, self._at = call, at
            if self._thread is None:
                self._thread = Thread(target=self._run, name="deadline", daemon=True)
                self._thread.start()
            elif at < self._wakes_at:  # otherwise it wakes early enough, and is not woken for each response
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._call = None

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.time()
                if self._call and self._at <= now:
                    self._run_call(self._call)
                self._wakes_at = self._at if self._call else math.inf
                self._changed.wait(min(self._wakes_at - now, TIMEOUT_MAX))

    def _run_call(self, call: Callable[[], None]) -> None:
        self._call = None
        try:
            call()
        except BaseException as error:  # the thread is needed for the next deadline
            log(logging.ERROR, "ending the response before the deadline failed", error=error)
