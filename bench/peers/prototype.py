"""The plain Python prototype: boto3's ConverseStream, json.dumps, and a raw loop over the Runtime API. No store."""

import json
import os
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import boto3

MODEL = "us.amazon.nova-lite-v1:0"
HEAD = json.dumps({"statusCode": 200, "headers": {"content-type": "text/event-stream"}}).encode() + bytes(8)

client = boto3.client("bedrock-runtime")


def handler(event: Any) -> Iterator[bytes]:
    """The chunks of a streamed response: the prelude, then one event for each delta."""
    text = json.loads(event["body"])["message"]["text"]
    yield HEAD
    answer = client.converse_stream(modelId=MODEL, messages=[{"role": "user", "content": [{"text": text}]}])
    for each in answer["stream"]:
        if "contentBlockDelta" in each:
            data = {"type": "chunk", "content": each["contentBlockDelta"]["delta"]["text"]}
            yield f"data: {json.dumps(data)}\n\n".encode()
    yield b'data: {"type": "complete"}\n\n'


def main() -> None:
    address = os.environ["AWS_LAMBDA_RUNTIME_API"]
    polling = HTTPConnection(address)
    while True:
        polling.request("GET", "/2018-06-01/runtime/invocation/next")
        invocation = polling.getresponse()
        event = json.load(invocation)
        request_id = invocation.headers["Lambda-Runtime-Aws-Request-Id"]
        posting = HTTPConnection(address)
        posting.request(
            "POST",
            f"/2018-06-01/runtime/invocation/{request_id}/response",
            handler(event),
            {
                "Content-Type": "application/vnd.awslambda.http-integration-response",
                "Lambda-Runtime-Function-Response-Mode": "streaming",
                "Transfer-Encoding": "chunked",
            },
            encode_chunked=True,
        )
        posting.getresponse().read()
        posting.close()


if __name__ == "__main__":
    main()
