"""Records the replies that the scripted server of the browser client's tests sends. They come from the local stack.

`python -m tests.clients.replies` records them again. Values that differ from run to run (ids, times, numbers of input
tokens) are replaced by fixed ones.
"""

import json
import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import boto3
import httpx

from local_stack.dynamodb.server import DynamoDB
from tests.stack import ROOT, RunningStack, start_stack, stop_stack

FILE = ROOT / "web" / "client" / "test" / "replies.json"
CONVERSATION = "conversation"
QUESTION = "rivers [[tokens=9 pace=1 first=1]]"
SLOW = "seas [[tokens=2000 pace=20 first=1]]"
FIXED: Mapping[str, Any] = {
    "generationId": "generation",
    "messageId": "message",
    "requestId": "request",
    "createdAt": "2026-11-21T09:00:00.000Z",
    "inputTokens": 12,
    "costUsd": 0.00001,
    "metrics": {"firstTokenMs": 219, "tokensPerSecond": 20.5, "durationMs": 650},
    "cursor": "older",
}
_HEADERS = ("content-type", "retry-after")

Replies = dict[str, dict[str, Any]]


class Recorder:
    """Sends requests to a stack as one user, and records the responses."""

    def __init__(self, stack: RunningStack, table: DynamoDB) -> None:
        self._stack = stack
        self._table = table
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
        self._items = session.client("dynamodb", endpoint_url=table.url)
        headers = {"authorization": f"Bearer {stack.token('alice')}"}
        self._http = httpx.Client(headers=headers, timeout=60)
        self.replies: Replies = {}

    def close(self) -> None:
        """Closes its connections."""
        self._http.close()
        self._items.close()

    def request(self, name: str, method: str, url: str, **options: Any) -> httpx.Response:
        """Sends a request and records its response under `name`."""
        response = self._http.request(method, url, **options)
        headers = {header: response.headers[header] for header in _HEADERS if header in response.headers}
        self.replies[name] = {"status": response.status_code, "headers": headers, "body": normalized_body(response)}
        return response

    def send(self, name: str, text: str, conversation: str = CONVERSATION, key: str = "", query: str = "") -> str:
        """Sends a message, records the response and returns its body."""
        body = {"message": {"text": text}, "conversationId": conversation}
        headers = {"idempotency-key": key} if key else {}
        return self.request(name, "POST", f"{self._stack.url}/chat{query}", json=body, headers=headers).text

    def record(self) -> Replies:
        """Returns every reply by its name."""
        url, api = self._stack.url, self._stack.gateway
        stream = f"{url}/chat/{CONVERSATION}/stream"
        generation = re.findall(r'"generationId":"([^"]+)"', self.send("answer", QUESTION, key="first"))[0]
        self.request("rest", "GET", stream, headers={"last-event-id": f"{generation}:5"})
        self.request("nothing is made", "GET", stream)
        self.send("in one piece", QUESTION, key="first", query="?stream=false")
        self.send("key reused", "another", key="first")
        messages = f"{api}/conversations/{CONVERSATION}/messages"
        self.request("messages", "GET", messages)
        cursor = self.request("newest message", "GET", f"{messages}?limit=1").json()["cursor"]
        self.request("message before", "GET", f"{messages}?limit=1&cursor={cursor}")
        self.request("not found", "GET", f"{url}/chat/unknown-conversation/stream")
        self.request("unauthenticated", "GET", stream, headers={"authorization": "Bearer none"})
        self.send("bad request", " ")
        self.send("too large", "x" * 400_000)
        self.request(
            "unsupported media type", "POST", f"{url}/chat", content="{}", headers={"content-type": "text/plain"}
        )
        self.send("failed", "rivers [[fault=reset at=0 first=1]]", "failed-conversation")
        self.send("failed in one piece", "rivers [[fault=throttle]]", "throttled-conversation", query="?stream=false")
        self.request("failed message", "GET", f"{api}/conversations/failed-conversation/messages")
        self._record_during_a_generation()
        self._record_unavailable_table()
        self._record_deleted_log(generation, stream)
        return self.replies

    def _record_during_a_generation(self) -> None:
        url, conversation = self._stack.url, "busy-conversation"
        path = f"{url}/chat/{conversation}"
        body = {"message": {"text": SLOW}, "conversationId": conversation}
        started = threading.Event()

        def follow() -> None:
            headers = {"idempotency-key": "slow"}
            with self._http.stream("POST", f"{url}/chat", json=body, headers=headers) as response:
                for _ in response.iter_lines():
                    started.set()

        follower = threading.Thread(target=follow)
        follower.start()
        assert started.wait(30)
        self.send("busy", "another", conversation)
        self.send("too many", "another", "another-conversation")
        self.request("not active", "POST", f"{path}/cancel", json={"generationId": "another-generation"})
        with self._newer_reader(path):
            tab = {"idempotency-key": "slow", "x-client-id": "tab"}
            self.request("running", "POST", f"{url}/chat?stream=false", json=body, headers=tab)
        self.request("stopped", "POST", f"{path}/cancel", json={})
        follower.join(30)

    @contextmanager
    def _newer_reader(self, path: str) -> Iterator[None]:
        """Starts a second reader with the same client id after 1.5 s, which ends the older reader during the answer."""

        def read() -> None:
            with self._http.stream("GET", f"{path}/stream", headers={"x-client-id": "tab"}) as response:
                response.read()

        timer = threading.Timer(1.5, read)
        timer.start()
        yield
        self.request("stopped", "POST", f"{path}/cancel", json={})
        timer.join(30)

    def _record_unavailable_table(self) -> None:
        self._items.put_item(TableName="ChatTable", Item={"pk": {"S": "R#all"}, "sk": {"S": "paused"}})
        self.send("paused", "another", "another-conversation")
        self._items.delete_item(TableName="ChatTable", Key={"pk": {"S": "R#all"}, "sk": {"S": "paused"}})
        self._table.set_faults(fail_for_ms=60_000)
        self.send("storage", "another", "another-conversation")
        self._table.set_faults()

    def _record_deleted_log(self, generation: str, stream: str) -> None:
        """Deletes the log of the generation, as its TTL does a day later."""
        for item in self._items.scan(TableName="ChatTable")["Items"]:
            if item["pk"]["S"].endswith(f"#{generation}"):
                self._items.delete_item(TableName="ChatTable", Key={name: item[name] for name in ("pk", "sk")})
        self.request("log gone", "GET", stream, headers={"last-event-id": f"{generation}:5"})


def normalized_body(response: httpx.Response) -> str:
    """Returns the body without comments, and with fixed values in place of those that differ from run to run."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        return compact_json(with_fixed_values(response.json())) if response.content else ""
    lines = [line for line in response.text.split("\n") if not line.startswith(":")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(map(normalized_line, lines)))


def normalized_line(line: str) -> str:
    """Returns a line of a stream with fixed values."""
    if line.startswith("data: "):
        return f"data: {compact_json(with_fixed_values(json.loads(line[6:])))}"
    return re.sub(r"^id: [^:]+", "id: generation", line)


def with_fixed_values(value: Any) -> Any:
    """Returns the value with the fields of FIXED replaced, and message ids replaced by `question` and `message`."""
    match value:
        case {"role": role, "id": _, **rest}:
            return {"id": "message" if role == "assistant" else "question", "role": role, **with_fixed_values(rest)}
        case dict():
            return {name: FIXED.get(name, with_fixed_values(field)) for name, field in value.items()}
        case list():
            return list(map(with_fixed_values, value))
    return value


def compact_json(value: Any) -> str:
    """Returns the value as JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def record_replies() -> Replies:
    """Starts a stack, records its replies, and stops it."""
    table = DynamoDB()
    table.start()
    env = {**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": table.url}
    stack = start_stack("--auth", "jwt", "--parameter", "UserGenerations=1", env=env)
    try:
        with closing(Recorder(stack, table)) as recorder:
            return recorder.record()
    finally:
        stop_stack(stack)
        table.stop()


if __name__ == "__main__":
    FILE.write_text(json.dumps(record_replies(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
