"""The clients of AWS services: those of botocore, and our own for DynamoDB."""

import functools
import os
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.httpsession import get_cert_path

from converse_stream.aws.connection_pools import attach_sockets
from converse_stream.aws.dynamodb import DynamoDB

# Only the client of botocore knows these settings of the environment. The first one is ours.
_NEEDS_BOTOCORE = (
    *("DYNAMODB_BY_BOTOCORE", "AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_PROFILE"),
    *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"),
)


@functools.cache
def session() -> Any:
    """The session of botocore that all clients share. It finds the credentials and renews them."""
    return botocore.session.get_session()


def client(service: str, *, attempts: int, connect_seconds: float, read_seconds: float) -> Any:
    """Returns a client whose calls can be cancelled: our own one for DynamoDB, else one of botocore.

    A call has `attempts`. The read time-out limits the wait for the next bytes, and not the whole call.
    """
    if service == "dynamodb" and not any(os.environ.get(name) for name in _NEEDS_BOTOCORE):
        return _dynamodb(attempts, connect_seconds, read_seconds)
    retries: Any = {"mode": "standard", "total_max_attempts": attempts}
    config = Config(retries=retries, connect_timeout=connect_seconds, read_timeout=read_seconds)
    created = session().create_client(service, config=config)
    attach_sockets(created)
    return created


def _dynamodb(attempts: int, connect_seconds: float, read_seconds: float) -> DynamoDB:
    region = session().get_config_variable("region")
    return DynamoDB(
        session().get_credentials(),
        region,
        os.environ.get("AWS_ENDPOINT_URL_DYNAMODB") or os.environ.get("AWS_ENDPOINT_URL") or _endpoint(region),
        attempts=attempts,
        connect_seconds=connect_seconds,
        read_seconds=read_seconds,
        ca_bundle=session().get_config_variable("ca_bundle") or get_cert_path(True),
    )


def _endpoint(region: str) -> str:
    """https://docs.aws.amazon.com/general/latest/gr/ddb.html"""
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://dynamodb.{region}.{domain}"
