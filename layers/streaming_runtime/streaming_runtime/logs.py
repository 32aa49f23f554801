"""The log lines of the runtime. They do not depend on how the function configures `logging`."""

import logging
import os
from collections.abc import Callable

_LEVELS = {"WARN": logging.WARNING, "ERROR": logging.ERROR, "FATAL": logging.CRITICAL}

LOG_LEVEL = os.environ.get("AWS_LAMBDA_LOG_LEVEL", "INFO").upper()  # Lambda drops JSON lines below it
logger = logging.getLogger("streaming_runtime")
_own: logging.Logger | None = None  # not registered, so dictConfig and the like do not reach it
_write: Callable[[str], None] = print


def attach(handler: logging.Handler, write: Callable[[str], None]) -> None:
    """Sets the handler of awslambdaric, and a function that writes one line to its log."""
    global _own, _write
    _own = logging.Logger("streaming_runtime")  # noqa: LOG001
    _own.addHandler(handler)
    _write = write


def log(level: int, message: str, *args: object, error: BaseException | None = None) -> None:
    """Writes a line through awslambdaric, or through handlers that the function gave the logger `streaming_runtime`.

    The level is raised to AWS_LAMBDA_LOG_LEVEL, so that Lambda does not drop the line.
    """
    configured = logger.handlers and not logger.disabled
    target = logger if configured or _own is None else _own
    target.log(max(level, _LEVELS.get(LOG_LEVEL, 0)), message, *args, exc_info=error)


def write_line(line: str) -> None:
    """Writes a line that is complete, without a format."""
    _write(line)
