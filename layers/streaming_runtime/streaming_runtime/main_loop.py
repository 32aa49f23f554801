"""Starts awslambdaric's main loop with the clients of this package."""

import os
import sys
from functools import partial

from awslambdaric import __main__ as awslambdaric_main
from awslambdaric import bootstrap
from awslambdaric.lambda_config import LambdaConfigProvider

from . import internals, logs
from .client import ManagedInstancesClient, StreamingRuntimeClient
from .init_error import report_init_error
from .settings import Settings


def run(args: list[str]) -> None:
    """Answers invocations until the process ends. `args` are those of awslambdaric: the handler is the second."""
    try:
        settings = Settings.from_environment(os.environ)
    except ValueError as error:
        report_init_error("Runtime.StreamingRuntimeError", str(error))
        sys.exit(1)
    internals.on_logging_setup(logs.attach)
    config = LambdaConfigProvider(args)
    if config.is_multi_concurrent:
        internals.use_on_managed_instances(partial(ManagedInstancesClient, settings=settings))
        awslambdaric_main.main(args)
    else:
        bootstrap.run(config.handler, StreamingRuntimeClient(config.api_address, config.use_thread_polling, settings))
