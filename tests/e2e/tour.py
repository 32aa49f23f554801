"""Requests to every route and task of both functions, for tests of logs, permissions and descriptions."""

from collections.abc import Mapping
from typing import Any

import boto3
import httpx

from converse_stream.http.request import json_bytes
from converse_stream.model.catalog import Catalog
from tests.e2e.chat import NO_HEADERS, Person

SHORT = "[[tokens=4 pace=1 first=1]]"


def tour(person: Person, words: str = "Tell-me-about-rivers", headers: Mapping[str, str] = NO_HEADERS) -> list[str]:
    """Sends `words` in every text field, with `headers` in every request. Returns the responses as text."""
    http, url, api = person.http, person.stack.url, person.stack.gateway
    send = {"message": {"text": f"{words} {SHORT}"}}
    answers: list[httpx.Response] = []

    def ask(method: str, target: str, body: Any = None) -> Any:
        key = {"idempotency-key": f"{words}-{len(answers)}"}
        answer = http.request(method, target, json=body, headers={**headers, **key})
        answers.append(answer)
        assert answer.status_code != 429, "a tour needs a stack without limits"
        is_json = answer.content and answer.headers["content-type"] == "application/json"
        return answer.json() if is_json else {}

    for alias in Catalog("us"):
        for entry_point in (f"{url}/chat?stream=false", f"{api}/chat"):
            ask("POST", entry_point, {**send, "model": alias})
    conversation = ask("POST", f"{api}/conversations", {"title": words})["id"]
    ask("POST", f"{api}/memory", {"text": words})
    ask("PUT", f"{api}/profile", {"name": words, "assistantName": words, "about": words})
    ask("PATCH", f"{api}/profile", {"about": words})
    for entry_point in (url, api):
        conversation_field = {"conversationId": conversation}
        ask("POST", f"{entry_point}/chat", {**send, **conversation_field})
        ask("POST", f"{entry_point}/chat", {"action": "regenerate", **conversation_field})
        ask(
            "POST",
            f"{entry_point}/chat",
            {
                "message": {"text": f"{words} [[fault=refuse-stream]] {SHORT}"},
                "model": "nova-pro",
                **conversation_field,
            },
        )
        ask("POST", f"{entry_point}/chat/{conversation}/cancel")
        ask("POST", f"{entry_point}/ai/chat/{conversation}/stop")
        ask("GET", f"{entry_point}/health")
    ask("POST", f"{api}/prompt/preview", send)
    for path in ("/conversations", f"/conversations/{conversation}", f"/conversations/{conversation}/messages"):
        ask("GET", api + path)
    ask("PATCH", f"{api}/conversations/{conversation}", {"title": words})

    slow = person.send_and_disconnect(f"{words} [[tokens=60 pace=20 first=1]]", 3)
    running = slow.start["conversationId"]
    answers.append(http.get(f"{url}/chat/{running}/stream", headers={**headers, "last-event-id": slow.cursor}))
    ask("GET", f"{url}/ai/chat/{running}/stream")
    ai = {"id": "tour-of-the-ai-sdk", "trigger": "submit-message"}
    message = {"id": "the-first-message", "role": "user", "parts": [{"type": "text", "text": send["message"]["text"]}]}
    ask("POST", f"{url}/ai/chat", {**ai, "messages": [message]})
    ask("GET", f"{url}/models")
    ask("GET", f"{api}/models")
    ask("GET", f"{url}/v1/models")
    ask("GET", f"{url}/v1/models/nova-lite")
    ask("POST", f"{url}/v1/chat/completions", {"model": "nova-lite", "messages": [{"role": "user", "content": words}]})

    for fact in ask("GET", f"{api}/memory")["facts"]:
        ask("DELETE", f"{api}/memory/{fact['id']}")
    ask("GET", f"{api}/profile")
    ask("GET", f"{api}/openapi.json")
    ask("DELETE", f"{api}/conversations/{conversation}")
    ask("DELETE", f"{api}/me")
    tasks = ({"task": "title", "text": words}, {"task": "classify", "text": words, "labels": ["one", "two"]})
    return [answer.text for answer in answers] + [run(person, task) for task in tasks]


def run(person: Person, task: Mapping[str, Any]) -> str:
    """Invokes a task as a service of the same account does. Returns the response."""
    client: Any = boto3.client("lambda", endpoint_url=person.stack.demo)
    return str(client.invoke(FunctionName="ConverseFunction", Payload=json_bytes(task))["Payload"].read().decode())
