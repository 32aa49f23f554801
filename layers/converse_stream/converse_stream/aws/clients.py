"""The clients of AWS services: our own ones, and those of botocore, whose import costs a start."""

import os
from typing import Any

from converse_stream.aws.dynamodb import DynamoDB
from converse_stream.aws.functions import Functions
from converse_stream.aws.service import Service


def client(service: str, *, attempts: int, connect_seconds: float, read_seconds: float) -> Any:
    """Returns a client whose calls can be cancelled. A call has `attempts`.

    The read time-out limits the wait for the next bytes, and not the whole call. If DYNAMODB_BY_BOTOCORE is set, the
    client for DynamoDB is that of botocore.
    """
    limits: Any = {"connect_seconds": connect_seconds, "read_seconds": read_seconds}
    if service == "lambda":
        return Functions(Service("lambda", **limits))
    if service == "dynamodb" and not os.environ.get("DYNAMODB_BY_BOTOCORE"):
        return DynamoDB(Service("dynamodb", **limits), attempts)
    from botocore.config import Config

    from converse_stream.aws.botocore_pools import attach_sockets
    from converse_stream.aws.botocore_session import session

    retries: Any = {"mode": "standard", "total_max_attempts": attempts}
    config = Config(retries=retries, connect_timeout=connect_seconds, read_timeout=read_seconds)
    created = session().create_client(service, config=config)
    attach_sockets(created)
    return created
