"""What awslambdaric offers no public name for. No other module uses or replaces such names."""

import logging
from collections.abc import Callable

from awslambdaric import bootstrap, lambda_runtime_log_utils

from .logs import LOG_LEVEL

_FRAME_LEVELS = {"TRACE": 10, "DEBUG": 10, "WARN": 30, "ERROR": 40, "FATAL": 50}


def on_logging_setup(attach: Callable[[logging.Handler, Callable[[str], None]], None]) -> None:
    """Calls `attach` when awslambdaric has set up logging, before it imports the handler.

    The arguments are awslambdaric's log handler, and a function that writes one line to its log.
    """
    setup = bootstrap._setup_logging  # noqa: SLF001 - awslambdaric has no hook for it

    def setup_and_attach(log_format: int, log_level: str, sink: bootstrap.StandardLogSink) -> None:
        setup(log_format, log_level, sink)
        attach(logging.getLogger().handlers[-1], _line_writer(log_format, sink))

    bootstrap._setup_logging = setup_and_attach  # noqa: SLF001


def use_on_managed_instances(client: Callable[[str, bool], object]) -> None:
    """Sets the class of the client that awslambdaric creates in each process of a Lambda Managed Instance."""
    from awslambdaric import lambda_multi_concurrent_utils  # imports multiprocessing

    lambda_multi_concurrent_utils.LambdaMultiConcurrentRuntimeClient = client


def _line_writer(log_format: int, sink: bootstrap.StandardLogSink) -> Callable[[str], None]:
    if not isinstance(sink, bootstrap.FramedTelemetryLogSink):
        # On its own line: awslambdaric ends a traceback without a line feed.
        return lambda line: sink.log(f"\n{line}\n")
    is_json = log_format == lambda_runtime_log_utils.LogFormat.JSON
    types = lambda_runtime_log_utils._JSON_FRAME_TYPES  # noqa: SLF001
    frame_type = types[_FRAME_LEVELS.get(LOG_LEVEL, logging.INFO)] if is_json else None
    return lambda line: sink.log(f"{line}\n", frame_type)
