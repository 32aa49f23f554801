"""Runs work after the response has been sent, before Lambda may freeze the sandbox."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Timer

from .logs import log


def run_after(work: Sequence[Callable[[], object]], seconds: float) -> None:
    """Runs the callables in order, and returns when they have returned. After `seconds` no other is started.

    No exception leaves it. A callable that takes longer than `seconds` is logged, but cannot be stopped. It is waited
    for, because otherwise it would continue during the next invocation.
    """
    if not work:
        return
    names = [_name(each) for each in work]
    until, timer = time.monotonic() + seconds, Timer(max(seconds, 0.0), _log_running, [names, seconds])
    timer.daemon = True
    timer.start()
    try:
        for each in work:
            if time.monotonic() >= until:
                log(logging.ERROR, "after-response work not started, no time is left: %s", ", ".join(names))
                return
            try:
                each()
            except BaseException as error:  # SystemExit and cancellation too: the others still run
                log(logging.ERROR, "after-response work failed: %s", names[0], error=error)
            del names[0]
    finally:
        timer.cancel()
        timer.join()


def _log_running(names: Sequence[str], seconds: float) -> None:
    if names and seconds > 0:
        log(logging.ERROR, "after-response work takes longer than %.1f s: %s", seconds, names[0])


def _name(work: object) -> str:
    """The name without bound arguments, which may be secrets."""
    while isinstance(work, partial):
        work = work.func
    return str(getattr(work, "__qualname__", type(work).__qualname__))
