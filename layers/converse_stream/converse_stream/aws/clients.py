"""The clients of AWS services: those of botocore, and our own for DynamoDB."""

import functools
import os
from collections.abc import Mapping
from typing import Any, Literal

import botocore.session
from botocore.config import Config
from botocore.httpsession import get_cert_path

from converse_stream.aws.connection_pools import attach_sockets
from converse_stream.aws.dynamodb import DynamoDB

# Botocore knows these settings of the environment, and our own client does not.
_BOTOCORE_ONLY = (
    *("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"),
    *("AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT", "AWS_PROFILE"),
)


@functools.cache
def session() -> Any:
    """The session of botocore that all clients share. It finds the credentials and renews them."""
    return botocore.session.get_session()


def client(service: str, *, attempts: int, connect_seconds: float, read_seconds: float, **config: Any) -> Any:
    """Returns a client of botocore whose calls can be cancelled.

    A call has `attempts`. The read time-out limits the wait for the next bytes, and not the whole call.
    """
    retries: Any = {"mode": "standard", "total_max_attempts": attempts}
    created = session().create_client(
        service,
        config=Config(retries=retries, connect_timeout=connect_seconds, read_timeout=read_seconds, **config),
    )
    attach_sockets(created)
    return created


def table_client(
    kind: Literal["own", "botocore"], *, attempts: int, connect_seconds: float, read_seconds: float
) -> Any:
    """Returns a client for DynamoDB: our own one, or that of botocore if the environment needs it."""
    limits: Any = {"attempts": attempts, "connect_seconds": connect_seconds, "read_seconds": read_seconds}
    if kind == "botocore" or any(os.environ.get(name) for name in _BOTOCORE_ONLY):
        return client("dynamodb", **limits)
    region = session().get_config_variable("region")
    url = _table_url(region, os.environ)
    ca_bundle = session().get_config_variable("ca_bundle") or get_cert_path(True)
    return DynamoDB(session().get_credentials(), region, url, ca_bundle=ca_bundle, **limits)


def _table_url(region: str, environ: Mapping[str, str]) -> str:
    """https://docs.aws.amazon.com/general/latest/gr/ddb.html, or as set in the environment."""
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    named = environ.get("AWS_ENDPOINT_URL_DYNAMODB") or environ.get("AWS_ENDPOINT_URL")
    return named or f"https://dynamodb.{region}.{domain}"
