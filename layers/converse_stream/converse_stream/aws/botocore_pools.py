"""The connections of `connection_pools` for the clients of botocore.

The HTTP session of a client is a private attribute of botocore. Tests check it in the pinned version.
"""

from typing import Any

from botocore.awsrequest import AWSHTTPConnection, AWSHTTPConnectionPool, AWSHTTPSConnection, AWSHTTPSConnectionPool

from converse_stream.aws.connection_pools import CancellableConnection, CancellableTlsConnection, RepeatingPool
from converse_stream.telemetry import logger


def attach_sockets(client: Any) -> None:
    """Makes the calls of a client of botocore cancellable."""
    try:
        pools = client._endpoint.http_session._pool_classes_by_scheme  # noqa: SLF001  # private, see the module
        pools.update(http=_HttpPool, https=_HttpsPool)
    except AttributeError:
        logger.warning("botocore internals changed: calls cannot be cancelled and end by their time-outs")


class _HttpConnection(CancellableConnection, AWSHTTPConnection):  # type: ignore[misc]  # the stubs of its bases disagree
    pass


class _HttpsConnection(CancellableTlsConnection, AWSHTTPSConnection):  # type: ignore[misc]  # the same
    pass


class _HttpPool(RepeatingPool, AWSHTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(RepeatingPool, AWSHTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
