"""Logs and metrics. No message text, token or key is ever logged."""

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit, single_metric

from chat.events import Complete, Error

logger = Logger()
_metrics = Metrics()


def count_turn(end: Complete | Error, model: str) -> None:
    """EMF lines for one turn, written at its end: its numbers, and `Turns` by outcome.

    An outcome is the finish reason or the error's code, so errors by code and cancelled turns are there too.
    """
    outcome = end.finish_reason if isinstance(end, Complete) else end.code
    with single_metric("Turns", MetricUnit.Count, 1, default_dimensions={"service": logger.service}) as metric:
        metric.add_dimension("outcome", outcome)
        metric.add_metadata("model", model)
    _metrics.add_metric("Lost", MetricUnit.Count, int(isinstance(end, Error) and end.message_id is None))
    if isinstance(end, Complete):
        _metrics.add_metric("Duration", MetricUnit.Milliseconds, end.timing.duration_ms)
        if end.timing.first_token_ms is not None:
            _metrics.add_metric("FirstToken", MetricUnit.Milliseconds, end.timing.first_token_ms)
        _metrics.add_metric("InputTokens", MetricUnit.Count, end.usage.input_tokens)
        _metrics.add_metric("OutputTokens", MetricUnit.Count, end.usage.output_tokens)
    _metrics.flush_metrics()
