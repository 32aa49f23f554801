"""A user of the chat for tests: HTTP requests through the entry points, and an SSE client."""

import itertools
import json
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Self

import httpx
from httpx_sse import connect_sse

from tests.stack import RunningStack

NO_HEADERS: Mapping[str, str] = {}
_numbers = itertools.count()


@dataclass
class StreamedAnswer:
    """A streamed answer: its events, and the time of each, in seconds since the request was sent."""

    events: list[dict[str, Any]] = field(default_factory=list)
    cursor: str = ""  # the last event's id
    times: list[float] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def text(self) -> str:
        return "".join(event["content"] for event in self.events if event["type"] == "chunk")

    @property
    def start(self) -> dict[str, Any]:
        return self.events[0]

    @property
    def end(self) -> dict[str, Any]:
        return self.events[-1]

    def times_of(self, kind: str) -> list[float]:
        return [time for event, time in zip(self.events, self.times, strict=True) if event["type"] == kind]


class Person:
    """A user with a new id, so that no two tests share a conversation or a fact."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        self.headers = {"x-dev-user": f"test-{os.getpid()}-{next(_numbers)}"}
        self.http = httpx.Client(headers=self.headers, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def warm(self, environments: int) -> None:
        """Starts this many environments of the stream function, so that later requests need no cold start."""
        with ThreadPoolExecutor(environments) as pool:
            list(pool.map(lambda _: self.send("[[tokens=40 pace=50 first=1]]"), range(environments)))

    def send(
        self, text: str, *, entry_point: str | None = None, headers: Mapping[str, str] = NO_HEADERS, **body: Any
    ) -> StreamedAnswer:
        """Sends a message to a streaming entry point, and reads the answer to its end."""
        url, payload = f"{entry_point or self.stack.url}/chat", {"message": {"text": text}, **body}
        return self._read("POST", url, None, json=payload, headers=headers)

    def send_and_disconnect(self, text: str, events: int, **body: Any) -> StreamedAnswer:
        """Sends a message, reads `events` events of the answer, and disconnects."""
        return self._read("POST", f"{self.stack.url}/chat", events, json={"message": {"text": text}, **body})

    def request_action(self, action: str, conversation: str) -> StreamedAnswer:
        """Requests the action "regenerate" or "continue" for the last answer."""
        body = {"action": action, "conversationId": conversation}
        return self._read("POST", f"{self.stack.url}/chat", None, json=body)

    def resume(
        self, conversation: str, cursor: str = "", *, events: int | None = None, client: str = ""
    ) -> StreamedAnswer:
        """Resumes after a cursor, or follows the running answer from its start."""
        headers = {"last-event-id": cursor} if cursor else {}
        headers |= {"x-client-id": client} if client else {}
        return self._read("GET", f"{self.stack.url}/chat/{conversation}/stream", events, headers=headers)

    def cancel(self, conversation: str, *, entry_point: str | None = None, **body: Any) -> httpx.Response:
        """Cancels the running answer."""
        return self.http.post(f"{entry_point or self.stack.gateway}/chat/{conversation}/cancel", json=body)

    def _read(self, method: str, url: str, max_events: int | None, **request: Any) -> StreamedAnswer:
        answer, started_at = StreamedAnswer(), time.monotonic()
        with connect_sse(self.http, method, url, **request) as source:
            assert source.response.status_code == 200, source.response.read()
            for event in source.iter_sse():
                answer.events.append(json.loads(event.data))
                answer.times.append(time.monotonic() - started_at)
                answer.cursor = event.id or answer.cursor
                if len(answer.events) == max_events:
                    break
        return answer

    def send_buffered(self, text: str, **body: Any) -> httpx.Response:
        """Sends a message through API Gateway. The response is buffered."""
        return self.http.post(f"{self.stack.gateway}/chat", json={"message": {"text": text}, **body})

    def remember(self, text: str) -> dict[str, Any]:
        fact: dict[str, Any] = self.http.post(f"{self.stack.gateway}/memory", json={"text": text}).json()
        return fact

    def messages(self, conversation: str) -> list[dict[str, Any]]:
        answer = self.http.get(f"{self.stack.gateway}/conversations/{conversation}/messages")
        listed: list[dict[str, Any]] = answer.json()["messages"]
        return listed

    def conversations(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = self.http.get(f"{self.stack.gateway}/conversations").json()["conversations"]
        return listed


def text_of(message: dict[str, Any]) -> str:
    """Returns the text of a message as the routes return it."""
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")
