"""`python -m streaming_runtime <module.handler>`: the main loop of the runtime, instead of `python -m awslambdaric`."""

import os
import sys

from awslambdaric import __main__ as awslambdaric_main
from awslambdaric import bootstrap
from awslambdaric.lambda_config import LambdaConfigProvider
from awslambdaric.lambda_runtime_client import BaseLambdaRuntimeClient

from .caller import streaming_callers
from .client import ManagedInstancesMarshaller, StreamingRuntimeClient


def main(args: list[str]) -> None:
    config = LambdaConfigProvider(args)
    if config.is_multi_concurrent:
        BaseLambdaRuntimeClient.marshaller = ManagedInstancesMarshaller()
        awslambdaric_main.main(args)
    else:
        streaming = streaming_callers(os.environ)
        bootstrap.run(config.handler, StreamingRuntimeClient(config.api_address, config.use_thread_polling, streaming))


if __name__ == "__main__":
    main(sys.argv)
