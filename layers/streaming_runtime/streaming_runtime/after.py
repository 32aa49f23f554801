"""Runs work after the response has been sent, before Lambda may freeze the sandbox."""

import logging
import threading
from collections.abc import Callable, Sequence

logger = logging.getLogger("streaming_runtime")


def run_after(work: Sequence[Callable[[], object]], seconds: float) -> None:
    """Runs the callables in order, and returns after `seconds` at the latest.

    An exception is logged. A callable that hangs cannot be stopped: it is logged and abandoned, and those after it are
    not started.
    """
    if not work:
        return
    remaining = list(work)
    abandoned = threading.Event()

    def run() -> None:
        while remaining and not abandoned.is_set():
            try:
                remaining[0]()
            except Exception:
                logger.exception("after-response work failed: %r", remaining[0])
            del remaining[0]

    thread = threading.Thread(target=run, name="after-response", daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if thread.is_alive():
        abandoned.set()
        logger.error("after-response work abandoned after %.1f s: %r", seconds, remaining)
