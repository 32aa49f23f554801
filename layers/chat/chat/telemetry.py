"""Logs and metrics. No message text, token or key is ever logged."""

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from chat.errors import ChatError
from chat.events import Complete, Error, Timing, Usage

logger = Logger()
_metrics = Metrics()


def log_refusal(error: ChatError) -> None:
    """A request that is answered with an error. Its field is not named here: a caller may have made it up."""
    log = logger.error if error.status >= 500 else logger.info
    log("refused", extra={"code": error.code})


def count_lost(model: str) -> None:
    """A generation whose owner died, counted by whoever ended it."""
    _count_outcome("lost", model)
    _metrics.add_metric("Lost", MetricUnit.Count, 1)
    _metrics.flush_metrics()


def count_turn(end: Complete | Error, usage: Usage, timing: Timing, model: str) -> None:
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
