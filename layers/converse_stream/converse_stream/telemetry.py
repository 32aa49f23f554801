"""Logs and metrics. No message text, token or key is ever logged: of an exception not its text, which may hold some."""

import logging
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeAlias

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from converse_stream.protocol.errors import ChatError
from converse_stream.protocol.events import (
    Complete,
    Error,
    Timing,
    Usage,
)

_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
_CONVERSATION = re.compile(r"/(?:ai/)?(?:chat|conversations)/([A-Za-z0-9_-]{8,64})(?:/|$)")


class _Formatter(LambdaPowertoolsFormatter):
    """Says of an exception, and of what it came from, where it was raised and its type."""

    def formatException(self, ei: _ExcInfo) -> str:
        lines: list[str] = []
        error = ei[1]
        while error is not None:
            lines += [*traceback.format_tb(error.__traceback__), f"{type(error).__name__}\n"]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "".join(lines)


logging.getLogger("aws_lambda_powertools").setLevel(logging.INFO)  # with POWERTOOLS_DEBUG it would quote requests
logger = Logger(logger_formatter=_Formatter(serialize_stacktrace=False))
_metrics = Metrics()


@contextmanager
def hide_unexpected_errors() -> Iterator[None]:
    """What fails unforeseen is logged here and becomes an internal error: the runtime would log its text."""
    try:
        yield
    except ChatError:
        raise
    except Exception:
        logger.exception("unforeseen")
        raise ChatError from None


def log_caller(user: str, path: str) -> None:
    """From now on every line of this request names its user, by hash, and the conversation in its path."""
    found = _CONVERSATION.match(path)
    logger.append_keys(user=user[:12], **({"conversation": found[1]} if found else {}))


def log_refusal(error: ChatError) -> None:
    """A request that is answered with an error. Its field is not named here: a caller may have made it up.

    `reason` is the class of what caused it.
    """
    log = logger.error if error.status >= 500 else logger.info
    reason = {"reason": type(error.__cause__).__name__} if error.__cause__ else {}
    log("refused", extra={"code": error.code, **reason})


def count_lost(model: str) -> None:
    """A generation whose owner died, counted by whoever ended it."""
    _count_outcome("lost", model)
    _metrics.add_metric("Lost", MetricUnit.Count, 1)
    _metrics.flush_metrics()


def count_generation(end: Complete | Error, usage: Usage, timing: Timing, model: str) -> None:
    """EMF lines for one turn, written at its end: its numbers, and `Turns` by outcome.

    An outcome is the finish reason or the error's code, so errors by code and cancelled turns are there too.
    """
    _count_outcome(end.finish_reason if isinstance(end, Complete) else end.code, model)
    _metrics.add_metric("Lost", MetricUnit.Count, int(isinstance(end, Error) and end.message_id is None))
    _metrics.add_metric("Duration", MetricUnit.Milliseconds, timing.duration_ms)
    if timing.first_token_ms is not None:
        _metrics.add_metric("FirstToken", MetricUnit.Milliseconds, timing.first_token_ms)
    if usage.basis == "exact":
        _metrics.add_metric("InputTokens", MetricUnit.Count, usage.input_tokens)
        _metrics.add_metric("OutputTokens", MetricUnit.Count, usage.output_tokens)
    _metrics.flush_metrics()


def _count_outcome(outcome: str, model: str) -> None:
    with single_metric("Turns", MetricUnit.Count, 1, default_dimensions={"service": logger.service}) as metric:
        metric.add_dimension("outcome", outcome)
        metric.add_metadata("model", model)
