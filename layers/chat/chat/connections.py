"""Connections that are opened before a request needs them: name, TCP and TLS, and nothing is sent.

A first TLS handshake takes longer than a lookup may, most of it the processor's time for the certificates. A client's
HTTP session and its pools are private paths of botocore and urllib3: tests hold them against the pinned versions.
"""

import time
from collections.abc import Sequence
from typing import Any

from chat.impatience import Errands
from chat.telemetry import logger


def open_connections(clients: Sequence[Any], seconds: float) -> None:
    """Opens a connection for each boto3 client, side by side; a client that stands there twice gets two.

    They lie in the clients' pools then. Returns after `seconds` at the latest. What fails is logged, and a request
    opens its own; so does one in an environment that was restored from a snapshot, where these are dead.
    """
    errands = Errands("connect", len(clients), time.monotonic() + seconds)
    sent = [(client, errands.send(_open, client, seconds)) for client in clients]
    ended = errands.wait()
    for client, opening in sent:
        failure = opening.exception() if opening in ended else TimeoutError()
        if failure is not None:
            extra = {"client": type(client).__name__, "cause": type(failure).__name__}
            logger.warning("connection not opened", extra=extra)


def _open(client: Any, seconds: float) -> None:
    """As botocore's session opens it when it sends, but for a proxy, which is not opened ahead."""
    session, url = client._endpoint.http_session, client.meta.endpoint_url  # noqa: SLF001  # see the module's docstring
    if session._proxy_config.proxy_url_for(url):  # noqa: SLF001
        return
    pool = session._manager.connection_from_url(url)  # noqa: SLF001
    session._setup_ssl_cert(pool, url, session._verify)  # noqa: SLF001
    connection = pool._get_conn()  # noqa: SLF001
    usual, connection.timeout = connection.timeout, seconds
    try:
        connection.connect()
        connection.sock.settimeout(usual)
    except BaseException:
        connection.close()
        raise
    connection.timeout = usual
    pool._put_conn(connection)  # noqa: SLF001
