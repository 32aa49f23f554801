"""Opens connections before the first request: name resolution, TCP and TLS. No request is sent.

The first TLS handshake takes longer than the deadline of a lookup. Most of that is CPU time for the certificates. The
HTTP session of a client and its pools are private attributes of botocore and urllib3. Tests check them in the pinned
versions.
"""

import time
from collections.abc import Sequence
from typing import Any

from converse_stream.aws.deadlines import DeadlineExecutor
from converse_stream.telemetry import logger


def open_connections(clients: Sequence[Any], seconds: float) -> None:
    """Opens a connection for each client, in parallel. A client that is listed twice gets two.

    The connections are put into the pools of the clients. Returns after `seconds` at the latest. A failure is logged,
    and the first request opens a connection itself. It also does so in an environment that was restored from a
    snapshot, where these connections are dead.
    """
    executor = DeadlineExecutor("connect", len(clients), time.monotonic() + seconds)
    # All are taken out of the pools before one is put back: otherwise a client would get the same one twice.
    checked_out = list(filter(None, map(_take, clients)))
    futures = [executor.submit(_connect, pool, connection, seconds) for pool, connection in checked_out]
    ended = executor.wait()
    for future in futures:
        failure = future.exception() if future in ended else TimeoutError()
        if failure is not None:
            logger.warning("connection not opened", extra={"cause": type(failure).__name__, "reason": str(failure)})


def _take(client: Any) -> tuple[Any, Any] | None:
    """Takes a connection out of the client's pool like botocore's session does. None if there is a proxy."""
    if service := getattr(client, "service", None):
        return (service.pool, service.pool._get_conn()) if service.pool.proxy is None else None  # noqa: SLF001
    try:
        session, url = client._endpoint.http_session, client.meta.endpoint_url  # noqa: SLF001  # see above
        if session._proxy_config.proxy_url_for(url):  # noqa: SLF001
            return None
        pool = session._manager.connection_from_url(url)  # noqa: SLF001
        session._setup_ssl_cert(pool, url, session._verify)  # noqa: SLF001
        return pool, pool._get_conn()  # noqa: SLF001
    except AttributeError:
        logger.warning("botocore internals changed: connections are opened by the first request")
        return None


def _connect(pool: Any, connection: Any, seconds: float) -> None:
    timeout, connection.timeout = connection.timeout, seconds
    try:
        connection.connect()
        connection.sock.settimeout(timeout)
    except BaseException:
        connection.close()
        raise
    connection.timeout = timeout
    pool._put_conn(connection)  # noqa: SLF001
