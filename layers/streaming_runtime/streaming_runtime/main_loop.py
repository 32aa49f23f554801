"""Starts awslambdaric's main loop with the clients of this package."""

import os

from awslambdaric import __main__ as awslambdaric_main
from awslambdaric import bootstrap
from awslambdaric.lambda_config import LambdaConfigProvider
from awslambdaric.lambda_runtime_client import BaseLambdaRuntimeClient

from . import internals, logs
from .caller import streaming_callers
from .client import ManagedInstancesMarshaller, StreamingRuntimeClient


def run(args: list[str]) -> None:
    """Answers invocations until the process ends. `args` are those of awslambdaric: the handler is the second."""
    internals.on_logging_setup(logs.attach)
    config = LambdaConfigProvider(args)
    if config.is_multi_concurrent:
        BaseLambdaRuntimeClient.marshaller = ManagedInstancesMarshaller()
        awslambdaric_main.main(args)
    else:
        streaming = streaming_callers(os.environ)
        bootstrap.run(config.handler, StreamingRuntimeClient(config.api_address, config.use_thread_polling, streaming))
