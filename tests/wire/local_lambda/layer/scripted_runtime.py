"""A runtime that plays the steps in its event on a bare socket to the Runtime API.

The steps are the body, or the query parameter `steps`. A step is a list: its name and arguments. Texts are latin-1, so
that a step can contain any byte.
"""

import http.client
import json
import os
import pathlib
import socket
import time
from typing import Any

HOST, PORT = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
PRELUDE = {"statusCode": 200, "headers": {"content-type": "text/plain"}}


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def play(wire: socket.socket, step: list[Any]) -> None:
    match step:
        case ["prelude"]:
            wire.sendall(chunk(json.dumps({**PRELUDE, "headers": {"x-pid": str(os.getpid())}}).encode() + b"\0" * 8))
        case ["prelude", dict(prelude)]:
            wire.sendall(chunk(json.dumps(prelude).encode() + b"\0" * 8))
        case ["send", str(text)]:
            wire.sendall(chunk(text.encode("latin-1")))
        case ["bytewise", str(text)]:
            for byte in text.encode("latin-1"):
                wire.sendall(chunk(bytes([byte])))
        case ["flood", int(chunks), int(size)]:
            for _ in range(chunks):
                wire.sendall(chunk(b"x" * size))
        case ["end"]:
            wire.sendall(b"0\r\n\r\n")
            assert b" 202 " in wire.recv(65536)
        case ["trailers", str(kind), str(body)]:
            trailers = f"Lambda-Runtime-Function-Error-Type: {kind}\r\nLambda-Runtime-Function-Error-Body: {body}\r\n"
            wire.sendall(b"0\r\n" + trailers.encode() + b"\r\n")
            assert b" 202 " in wire.recv(65536)
        case ["cut"]:
            wire.close()
        case ["wait", str(path)]:
            while not pathlib.Path(path).exists():
                time.sleep(0.005)
        case ["pause", float(seconds)]:
            time.sleep(seconds)
        case ["touch", str(path)]:
            pathlib.Path(path).touch()
        case ["exit"]:
            os._exit(3)
        case _:
            raise ValueError(step)


def main() -> None:
    api = http.client.HTTPConnection(HOST, int(PORT))
    while True:
        api.request("GET", "/2018-06-01/runtime/invocation/next")
        reply = api.getresponse()
        event = json.loads(reply.read())
        wire = socket.create_connection((HOST, int(PORT)))
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request_id = reply.headers["Lambda-Runtime-Aws-Request-Id"]
        wire.sendall(
            f"POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\n"
            "Host: lambda\r\nLambda-Runtime-Function-Response-Mode: streaming\r\nTransfer-Encoding: chunked\r\n"
            "Content-Type: application/vnd.awslambda.http-integration-response\r\n"
            "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n".encode()
        )
        # A GET has no body through CloudFront.
        steps = event["body"] if "body" in event else event["queryStringParameters"]["steps"]
        for step in json.loads(steps):
            play(wire, ["send", json.dumps(event)] if step == ["event"] else step)
        wire.close()


main()
