"""Work between the client's last byte and the moment when Lambda may freeze the sandbox."""

import logging
import threading
from collections.abc import Callable, Sequence

logger = logging.getLogger("streaming_runtime")


def run_after(work: Sequence[Callable[[], object]], seconds: float) -> None:
    """Runs all of it in order, and returns after `seconds` at the latest.

    What fails is logged. What hangs cannot be stopped: it is logged and left behind, and the rest is not started.
    """
    if not work:
        return
    left = list(work)
    abandoned = threading.Event()

    def run() -> None:
        while left and not abandoned.is_set():
            try:
                left[0]()
            except Exception:
                logger.exception("after-response work failed: %r", left[0])
            del left[0]

    thread = threading.Thread(target=run, name="after-response", daemon=True)
    thread.start()
    thread.join(max(0.0, seconds))
    if thread.is_alive():
        abandoned.set()
        logger.error("after-response work abandoned after %.1f s: %r", seconds, left)
