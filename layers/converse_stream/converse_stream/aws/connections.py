"""Connections that are opened before a request needs them: name, TCP and TLS, and nothing is sent.

A first TLS handshake takes longer than a lookup may, most of it the processor's time for the certificates. A client's
HTTP session and its pools are private paths of botocore and urllib3: tests hold them against the pinned versions.
"""

import time
from collections.abc import Sequence
from typing import Any

from converse_stream.aws.deadlines import DeadlineExecutor
from converse_stream.telemetry import logger


def open_connections(clients: Sequence[Any], seconds: float) -> None:
    """Opens a connection for each boto3 client, side by side; a client that stands there twice gets two.

    They lie in the clients' pools then. Returns after `seconds` at the latest. What fails is logged, and a request
    opens its own; so does one in an environment that was restored from a snapshot, where these are dead.
    """
    errands = DeadlineExecutor("connect", len(clients), time.monotonic() + seconds)
    # All are taken out of the pools before the first is put back: the next would be given the same one.
    taken = list(filter(None, map(_taken, clients)))
    opening = [errands.submit(_connect, pool, connection, seconds) for pool, connection in taken]
    ended = errands.wait()
    for each in opening:
        failure = each.exception() if each in ended else TimeoutError()
        if failure is not None:
            logger.warning("connection not opened", extra={"cause": type(failure).__name__, "reason": str(failure)})


def _taken(client: Any) -> tuple[Any, Any] | None:
    """A pool and a connection out of it, as botocore's session takes it; None where there is a proxy."""
    try:
        session, url = client._endpoint.http_session, client.meta.endpoint_url  # noqa: SLF001  # see above
        if session._proxy_config.proxy_url_for(url):  # noqa: SLF001
            return None
        pool = session._manager.connection_from_url(url)  # noqa: SLF001
        session._setup_ssl_cert(pool, url, session._verify)  # noqa: SLF001
        return pool, pool._get_conn()  # noqa: SLF001
    except AttributeError:
        logger.warning("botocore has changed: connections are opened by the first request")
        return None


def _connect(pool: Any, connection: Any, seconds: float) -> None:
    usual, connection.timeout = connection.timeout, seconds
    try:
        connection.connect()
        connection.sock.settimeout(usual)
    except BaseException:
        connection.close()
        raise
    connection.timeout = usual
    pool._put_conn(connection)  # noqa: SLF001
