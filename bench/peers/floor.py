"""The floor: bare sockets. It finds the text of a delta in its frame, and signs and checks nothing."""

import os
import re
import socket
from urllib.parse import urlsplit

TEXT = re.compile(rb'"text":"((?:[^"\\]|\\.)*)"')
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
REQUEST_ID = re.compile(rb"lambda-runtime-aws-request-id: *([\w-]+)", re.IGNORECASE)
PRELUDE = b'{"statusCode":200,"headers":{"content-type":"text/event-stream"}}' + bytes(8)


def connect(address: str) -> socket.socket:
    url = urlsplit(f"//{address}")
    connection = socket.create_connection((url.hostname or "", url.port or 80))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def read_message(connection: socket.socket) -> bytes:
    """A message with a length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    while length and len(body) < int(length[1]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def answer(runtime_api: str, model: socket.socket, model_host: str, request_id: bytes) -> None:
    body = b'{"messages":[{"role":"user","content":[{"text":"Tell me about water"}]}]}'
    model.sendall(
        b"POST /model/us.amazon.nova-lite-v1%%3A0/converse-stream HTTP/1.1\r\nHost: %b\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (model_host.encode(), len(body), body)
    )
    response = connect(runtime_api)
    head = (
        b"POST /2018-06-01/runtime/invocation/%b/response HTTP/1.1\r\nHost: %b\r\n"
        b"Lambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/vnd.awslambda.http-integration-response\r\n\r\n"
    )
    response.sendall(head % (request_id, runtime_api.encode()) + chunk(PRELUDE))
    rest = b""
    while not rest.endswith(b"0\r\n\r\n"):
        rest += model.recv(65536)
        end = 0
        for match in TEXT.finditer(rest):
            response.sendall(chunk(b'data: {"type":"chunk","content":"%b"}\n\n' % match[1]))
            end = match.end()
        rest = rest[end:]
    response.sendall(chunk(b'data: {"type":"complete"}\n\n') + b"0\r\n\r\n")
    read_message(response)
    response.close()


def main() -> None:
    runtime_api = os.environ["AWS_LAMBDA_RUNTIME_API"]
    model_host = urlsplit(os.environ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"]).netloc
    polling, model = connect(runtime_api), connect(model_host)
    while True:
        polling.sendall(b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: %b\r\n\r\n" % runtime_api.encode())
        request_id = REQUEST_ID.search(read_message(polling))
        if request_id is None:
            raise SystemExit("no request id")
        answer(runtime_api, model, model_host, request_id[1])


if __name__ == "__main__":
    main()
