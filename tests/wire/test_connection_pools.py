"""Requests on connections that the server dropped while the environment was frozen."""

import ctypes
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, Literal

import pytest
from botocore.exceptions import ConnectionClosedError

from converse_stream.aws import connection_pools, deadlines
from converse_stream.model.transport import Bedrock, Call, bedrock_service
from converse_stream.protocol import errors
from local_stack.identity.certificates import Authority
from tests.wire.bedrock_standin import converse_request

KEY = {"pk": {"S": "a"}, "sk": {"S": "b"}}
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
HOST = "127.0.0.1"
Then = Literal["close", "receive", "drop"]


class Server:
    """Answers each connection's first request. `then` says what it does with the first connection afterwards:

    close it, receive the second request and then close it, or drop all packets, as a firewall does.
    """

    def __init__(self, then: Then, tls: ssl.SSLContext | None) -> None:
        self.connections = self.requests = 0
        self.dropped, self.closing = threading.Event(), threading.Event()
        self.url = ""
        self._then = then
        self._tls = tls

    def converse(self, raw: socket.socket) -> None:
        self.connections += 1
        first = self.connections == 1
        # The connection is closed at the end of the block.
        with self._tls.wrap_socket(raw, server_side=True) if self._tls else raw as connection:
            while self._request(connection):
                if first and self._then == "drop":
                    drop_packets(connection)
                connection.sendall(ANSWER)
                if first and self._then == "close":
                    break
                if first and self._then == "receive":
                    self.dropped.set()
                    self._request(connection)
                    break
                if first and self._then == "drop":
                    self.closing.wait()
                    break
        self.dropped.set()

    def _request(self, connection: socket.socket) -> bool:
        received = b""
        while b"\r\n\r\n" not in received:
            received += (read := connection.recv(65536))
            if not read:
                return False
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-l"))
        while len(body) < length:
            body += (read := connection.recv(65536))
            if not read:
                return False
        self.requests += 1
        return True


def drop_packets(connection: socket.socket) -> None:
    """Drops all packets for this socket without acknowledgement, by a packet filter of one instruction."""
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))  # return 0
    program = struct.pack("HL", 1, ctypes.addressof(instruction))
    connection.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER


@contextmanager
def served(then: Then, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(then, tls)

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                server.converse(self.request)

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Listener((HOST, 0), Handler) as listener:
        server.url = f"{'https' if tls else 'http'}://{HOST}:{listener.server_address[1]}"
        serving = threading.Thread(target=listener.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield server
        finally:
            server.closing.set()
            listener.shutdown()
            serving.join()


@pytest.fixture(params=[False, True], ids=["http", "tls"])
def tls(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> ssl.SSLContext | None:
    if not request.param:
        return None
    authority = Authority(tmp_path_factory.mktemp("authority"), [HOST])
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    return authority.server_context()


@pytest.fixture
def close_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client does not see that the server has closed a connection, as if the environment had been frozen."""
    for kind in (connection_pools._HttpConnection, connection_pools._HttpsConnection):
        monkeypatch.setattr(kind, "is_connected", property(lambda self: self.sock is not None))


def table(server: Server, seconds: float = 5) -> Any:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL_DYNAMODB", server.url)
        return deadlines.client("dynamodb", seconds)


def test_a_connection_is_kept_during_a_pause(tls: ssl.SSLContext | None, monkeypatch: pytest.MonkeyPatch) -> None:
    with served("close", tls) as server, closing(table(server)) as client:
        client.get_item(TableName="t", Key=KEY)
        assert server.dropped.wait(5)
        for wall in (1e10, 2e10):  # the first connection is closed, the second one is open
            monkeypatch.setattr("time.time", lambda now=wall: now)
            client.get_item(TableName="t", Key=KEY)
    assert (server.connections, server.requests) == (2, 3)


@pytest.mark.usefixtures("close_not_seen")
def test_a_request_not_received_on_a_dropped_connection_is_sent_on_a_new_one(tls: ssl.SSLContext | None) -> None:
    with served("close", tls) as server, closing(table(server)) as client:
        for _ in range(3):
            client.get_item(TableName="t", Key=KEY)
            assert server.dropped.wait(5)
    assert (server.connections, server.requests) == (2, 3)


@pytest.mark.usefixtures("close_not_seen")
def test_a_received_request_is_not_sent_again(tls: ssl.SSLContext | None) -> None:
    """The server may have processed it, and a model call may have been billed."""
    with served("receive", tls) as server, closing(table(server)) as client:
        client.get_item(TableName="t", Key=KEY)
        with pytest.raises(ConnectionClosedError):
            client.get_item(TableName="t", Key=KEY)
    assert (server.connections, server.requests) == (1, 2)


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="TCP_USER_TIMEOUT exists on Linux only")
def test_an_unacknowledged_request_is_sent_on_a_new_connection(tls: ssl.SSLContext | None) -> None:
    """It is sent again after a quarter of the timeout."""
    with served("drop", tls) as server, closing(table(server, seconds=4)) as client:
        for _ in range(2):
            client.get_item(TableName="t", Key=KEY)
    assert (server.connections, server.requests) == (2, 2)


@pytest.mark.usefixtures("close_not_seen")
def test_a_model_request_is_received_once_on_a_dropped_connection(tls: ssl.SSLContext | None) -> None:
    for then, connections in (("close", 2), ("receive", 1)):
        with served(then, tls) as server:  # type: ignore[arg-type]  # a literal
            service = bedrock_service(idle_seconds=20, url=server.url)
            bedrock = Bedrock(service)
            for _ in range(2):
                with suppress(errors.ModelError):  # the responses are not valid
                    bedrock.converse(converse_request("hello"), Call())
                assert server.dropped.wait(5)
            assert (server.connections, server.requests) == (connections, 2)
            service.close()


def test_the_certificates_are_read_once_for_all_clients(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path_factory.mktemp("authority"), [HOST])
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.bundle))
    files_read: list[str] = []
    load = ssl.SSLContext.load_verify_locations

    def counted(context: ssl.SSLContext, cafile: str | None = None, *rest: Any) -> None:
        files_read.append(str(cafile))
        load(context, cafile, *rest)

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", counted)
    with served("close", authority.server_context()) as server:
        clients = [table(server) for _ in range(3)]
        for client in clients:
            client.get_item(TableName="t", Key=KEY)
            client.close()
    assert server.connections == 3
    assert files_read == [str(authority.bundle)]


def test_clients_without_tls_read_no_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", refused)
    with served("close") as server, closing(table(server)) as client:
        client.get_item(TableName="t", Key=KEY)
    assert server.connections == 1
