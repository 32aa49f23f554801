"""Refuses a StreamingResponse in callers that need the whole result of the handler."""

import sys
from types import FrameType

POWERTOOLS = {
    "aws_lambda_powertools.utilities.idempotency": (
        "@idempotent stores the result of the handler, but a StreamingResponse has no result that can be stored. "
        "Put @idempotent_function on the function that does the work, and stream what it returns."
    ),
    "aws_lambda_powertools.event_handler": (
        "A resolver of Powertools makes a JSON response of the result of a route, and cannot stream it. "
        "Return the StreamingResponse from the handler, without a resolver."
    ),
}


def check_callers() -> None:
    """Raises TypeError if the function that calls the caller of this one is called by such a module."""
    refused = [package for package in POWERTOOLS if package in sys.modules]
    if not refused:
        return
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - `inspect` is slow to import
    while frame:
        module = str(frame.f_globals.get("__name__"))
        for package in refused:
            if module.startswith(package):
                raise TypeError(POWERTOOLS[package])
        frame = frame.f_back
