"""The replies that the browser client's tests give it, recorded from the laptop stack.

`python -m tests.clients.replies` records them anew. What differs from run to run (ids, times, counts of tokens that
were read) has a fixed value.
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
    """A user of a stack, and the replies to what they ask."""

    def __init__(self, stack: RunningStack, table: DynamoDB) -> None:
        self._stack = stack
        self._table = table
        session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
        self._items = session.client("dynamodb", endpoint_url=table.url)
        headers = {"authorization": f"Bearer {stack.token('alice')}"}
        self._http = httpx.Client(headers=headers, timeout=60)
        self.replies: Replies = {}

    def close(self) -> None:
        """Ends its connections."""
        self._http.close()
        self._items.close()

    def ask(self, name: str, method: str, url: str, **request: Any) -> httpx.Response:
        """The response, which is recorded under the name."""
        response = self._http.request(method, url, **request)
        headers = {each: response.headers[each] for each in _HEADERS if each in response.headers}
        self.replies[name] = {"status": response.status_code, "headers": headers, "body": normal(response)}
        return response

    def send(self, name: str, text: str, conversation: str = CONVERSATION, key: str = "", query: str = "") -> str:
        """Sends a message; the answer as it came."""
        body = {"message": {"text": text}, "conversationId": conversation}
        headers = {"idempotency-key": key} if key else {}
        return self.ask(name, "POST", f"{self._stack.url}/chat{query}", json=body, headers=headers).text

    def record(self) -> Replies:
        """Every reply by its name."""
        url, api = self._stack.url, self._stack.gateway
        stream = f"{url}/chat/{CONVERSATION}/stream"
        generation = re.findall(r'"generationId":"([^"]+)"', self.send("answer", QUESTION, key="first"))[0]
        self.ask("rest", "GET", stream, headers={"last-event-id": f"{generation}:5"})
        self.ask("nothing is made", "GET", stream)
        self.send("in one piece", QUESTION, key="first", query="?stream=false")
        self.send("key reused", "another", key="first")
        messages = f"{api}/conversations/{CONVERSATION}/messages"
        self.ask("messages", "GET", messages)
        cursor = self.ask("newest message", "GET", f"{messages}?limit=1").json()["cursor"]
        self.ask("message before", "GET", f"{messages}?limit=1&cursor={cursor}")
        self.ask("not found", "GET", f"{url}/chat/unknown-conversation/stream")
        self.ask("unauthenticated", "GET", stream, headers={"authorization": "Bearer none"})
        self.send("bad request", " ")
        self.send("too large", "x" * 400_000)
        self.ask("unsupported media type", "POST", f"{url}/chat", content="{}", headers={"content-type": "text/plain"})
        self.send("failed", "rivers [[fault=reset at=0 first=1]]", "failed-conversation")
        self.send("failed in one piece", "rivers [[fault=throttle]]", "throttled-conversation", query="?stream=false")
        self.ask("failed message", "GET", f"{api}/conversations/failed-conversation/messages")
        self._while_one_is_made()
        self._with_a_table_that_fails()
        self._when_the_log_is_gone(generation, stream)
        return self.replies

    def _while_one_is_made(self) -> None:
        url, conversation = self._stack.url, "busy-conversation"
        path = f"{url}/chat/{conversation}"
        body = {"message": {"text": SLOW}, "conversationId": conversation}
        begun = threading.Event()

        def follow() -> None:
            headers = {"idempotency-key": "slow"}
            with self._http.stream("POST", f"{url}/chat", json=body, headers=headers) as response:
                for _ in response.iter_lines():
                    begun.set()

        following = threading.Thread(target=follow)
        following.start()
        assert begun.wait(30)
        self.send("busy", "another", conversation)
        self.send("too many", "another", "another-conversation")
        self.ask("not active", "POST", f"{path}/cancel", json={"generationId": "another-generation"})
        with self._newer_reader(path):
            tab = {"idempotency-key": "slow", "x-client-id": "tab"}
            self.ask("running", "POST", f"{url}/chat?stream=false", json=body, headers=tab)
        self.ask("stopped", "POST", f"{path}/cancel", json={})
        following.join(30)

    @contextmanager
    def _newer_reader(self, path: str) -> Iterator[None]:
        """Another reader of the same tab, a moment later: it ends the older one, whose answer is still being made."""

        def read() -> None:
            with self._http.stream("GET", f"{path}/stream", headers={"x-client-id": "tab"}) as response:
                response.read()

        later = threading.Timer(1.5, read)
        later.start()
        yield
        self.ask("stopped", "POST", f"{path}/cancel", json={})
        later.join(30)

    def _with_a_table_that_fails(self) -> None:
        self._items.put_item(TableName="ChatTable", Item={"pk": {"S": "R#all"}, "sk": {"S": "paused"}})
        self.send("paused", "another", "another-conversation")
        self._items.delete_item(TableName="ChatTable", Key={"pk": {"S": "R#all"}, "sk": {"S": "paused"}})
        self._table.set_faults(fail_for_ms=60_000)
        self.send("storage", "another", "another-conversation")
        self._table.set_faults()

    def _when_the_log_is_gone(self, generation: str, stream: str) -> None:
        """As it is a day later."""
        for item in self._items.scan(TableName="ChatTable")["Items"]:
            if item["pk"]["S"].endswith(f"#{generation}"):
                self._items.delete_item(TableName="ChatTable", Key={name: item[name] for name in ("pk", "sk")})
        self.ask("log gone", "GET", stream, headers={"last-event-id": f"{generation}:5"})


def normal(response: httpx.Response) -> str:
    """The body, with fixed values for what differs from run to run, and without comments."""
    if not response.headers.get("content-type", "").startswith("text/event-stream"):
        return dumped(fixed(response.json())) if response.content else ""
    lines = [line for line in response.text.split("\n") if not line.startswith(":")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(map(normal_line, lines)))


def normal_line(line: str) -> str:
    """A line of a stream."""
    if line.startswith("data: "):
        return f"data: {dumped(fixed(json.loads(line[6:])))}"
    return re.sub(r"^id: [^:]+", "id: generation", line)


def fixed(value: Any) -> Any:
    """The value with what is in FIXED, and with ids that say what they are of."""
    match value:
        case {"role": role, "id": _, **rest}:
            return {"id": "message" if role == "assistant" else "question", "role": role, **fixed(rest)}
        case dict():
            return {name: FIXED.get(name, fixed(each)) for name, each in value.items()}
        case list():
            return list(map(fixed, value))
    return value


def dumped(value: Any) -> str:
    """Compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def recorded() -> Replies:
    """The replies of a stack of its own."""
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
    FILE.write_text(json.dumps(recorded(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
