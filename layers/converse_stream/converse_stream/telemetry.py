"""Logs and metrics. They never have texts of messages, tokens, keys or texts of exceptions, which may contain these."""

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
from converse_stream.protocol.events import Complete, Error, Timing, Usage

_ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
_CONVERSATION = re.compile(r"/(?:ai/)?(?:chat|conversations)/([A-Za-z0-9_-]{8,64})(?:/|$)")


class _Formatter(LambdaPowertoolsFormatter):
    """Formats an exception and its causes as stack traces with types, without their texts."""

    def formatException(self, ei: _ExcInfo) -> str:
        lines: list[str] = []
        error = ei[1]
        while error is not None:
            lines += [*traceback.format_tb(error.__traceback__), f"{type(error).__name__}\n"]
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        return "".join(lines)


logging.getLogger("aws_lambda_powertools").setLevel(logging.INFO)  # with POWERTOOLS_DEBUG it would log requests
logger = Logger(logger_formatter=_Formatter(serialize_stacktrace=False))
_metrics = Metrics()


@contextmanager
def hide_unexpected_errors() -> Iterator[None]:
    """Logs an unexpected exception and raises ChatError instead. Otherwise the runtime would log its text."""
    try:
        yield
    except ChatError:
        raise
    except Exception:
        logger.exception("unexpected error")
        raise ChatError from None


def log_caller(user: str, path: str) -> None:
    """Adds the user (first characters of a hash) and the conversation in `path` to all log lines of the request."""
    match = _CONVERSATION.match(path)
    logger.append_keys(user=user[:12], **({"conversation": match[1]} if match else {}))


def log_refusal(error: ChatError) -> None:
    """Logs a request that is answered with an error, with its code and the class of its cause.

    The field is not logged, because it may be text of the caller.
    """
    log = logger.error if error.status >= 500 else logger.info
    reason = {"reason": type(error.__cause__).__name__} if error.__cause__ else {}
    log("refused", extra={"code": error.code, **reason})


def count_lost(model: str) -> None:
    """Counts a generation whose owner died."""
    _count_outcome("lost", model)
    _metrics.add_metric("Lost", MetricUnit.Count, 1)
    _metrics.flush_metrics()


def count_generation(end: Complete | Error, usage: Usage, timing: Timing, model: str) -> None:
    """Writes the metrics of one generation as EMF lines: its times and tokens, and `Turns` by outcome.

    The outcome is the finish reason or the code of the error.
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
