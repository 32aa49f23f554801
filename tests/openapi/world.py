"""The functions with a user who has said something, and with what tests need to have them answer anything."""

import base64
import json
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from converse_stream import service
from converse_stream.auth import User
from converse_stream.generation.generation import Generation
from converse_stream.http.bodies import ChatRequest, parse_send
from converse_stream.store.generation_record import GenerationRecord
from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.events import Event, Json, message_stop
from local_stack.bedrock.standin import StandIn
from streaming_runtime import client
from streaming_runtime.response import StreamingResponse
from tests.fuzz.functions import Context, Functions, Name, functions
from tests.openapi.description import Answer, Description
from tests.property.fake_table import Calm, Fault

USER = User.of("dev", "laptop", "local")
CONVERSATION = "conversation-of-mine"
DELETED = "conversation-deleted"
FACT = "fact-of-mine"
NO_HEADERS: Mapping[str, str] = {}


class Steering(Calm):
    """A table that works, or does not."""

    is_broken = False

    def before(self, operation: str, pks: Sequence[str], *, writes: bool) -> Fault:
        return "before" if self.is_broken else "none"


class Model(StandIn):
    """The stand-in, which also refuses with the code, or stops for the reason, that the text names."""

    async def converse(self, model_id: str, body: Json) -> AsyncGenerator[Event, None]:
        text = json.dumps(body["messages"][-1])
        if "refuse:" in text:
            raise BedrockError(text.partition("refuse:")[2].split()[0], "refused")
        async for event in super().converse(model_id, body):
            if event.name == "messageStop" and "stop:" in text:
                event = message_stop(text.partition("stop:")[2].split()[0])
            yield event


class World:
    """Requests and answers."""

    patch: pytest.MonkeyPatch

    def __init__(self, both: Functions, steering: Steering) -> None:
        self._both = both
        self.steering = steering
        asked = self.ask("converse", "GET", "/openapi.json")
        self.description = Description(json.loads(asked.body))

    def module(self, name: Name) -> ModuleType:
        return self._both.modules[name]

    def app(self, name: Name) -> Any:
        return self.module(name).app

    def reset(self) -> None:
        self._both.reset()

    def keep(self) -> None:
        self._both.keep()

    def put(self, item: dict[str, Any]) -> None:
        self._both.dynamo.items[(item["pk"], item["sk"])] = item

    def set(self, name: Name, **settings: Any) -> None:
        """Settings for the rest of the test."""
        app = self.app(name)
        self.patch.setattr(app, "settings", app.settings.model_copy(update=settings))

    def ask(
        self,
        name: Name,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] = NO_HEADERS,
        context: Context | None = None,
    ) -> Answer:
        """The answer of a function; `body` is JSON, or bytes as they are."""
        target, _, query = path.partition("?")
        event: dict[str, Any] = {
            "rawPath": target,
            "rawQueryString": query,
            "queryStringParameters": dict(pair.split("=") for pair in query.split("&") if pair),
            "requestContext": {"http": {"method": method, "sourceIp": "127.0.0.1"}, "stage": "$default"},
            "headers": {"content-type": "application/json", **headers},
        }
        if body is not None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            event |= {"body": base64.b64encode(raw).decode(), "isBase64Encoded": True}
        context = context or Context()
        try:
            answered = self._both.invoke(name, json.dumps(event).encode(), context)
        except Exception:
            if name != "stream":
                raise
            answered = _of_the_runtime(context.aws_request_id)
        assert not answered.get("isBase64Encoded")
        headers = {name.lower(): value for name, value in answered["headers"].items()}
        return Answer(answered["statusCode"], headers, answered.get("body", "").encode())

    def start(self, body: Mapping[str, Any], key: str = "", conversation: str = CONVERSATION) -> GenerationRecord:
        """A generation that runs, and says nothing."""
        chat = ChatRequest.model_validate({"conversationId": conversation, **body})
        begun = service.start(
            self.app("stream"), USER, chat, parse_send({"idempotency-key": key} if key else {}, chat), Context()
        )
        assert isinstance(begun, Generation)
        record: GenerationRecord | None = service.running(self.app("stream"), USER, conversation)
        assert record
        return record

    def crowd(self, record: GenerationRecord) -> None:
        """As many followers as a generation may have."""
        for number in range(5):
            self.app("stream").generations.add_follower(USER.key, record.gid, f"tab-{number}", "mark")


def _of_the_runtime(request_id: str) -> dict[str, Any]:
    """What the streaming runtime answers where the handler raises."""
    response: StreamingResponse = client._internal_error(request_id)
    return {"statusCode": response.status, "headers": response.headers, "body": b"".join(response.body).decode()}


@contextmanager
def world() -> Iterator[World]:
    steering = Steering()
    with functions(Model(), steering) as both:
        made = World(both, steering)
        hello = {"message": {"text": "Hello [[tokens=3 pace=1 first=0]]"}}
        for conversation in (CONVERSATION, DELETED):
            answer = made.ask("stream", "POST", "/chat?stream=false", {**hello, "conversationId": conversation})
            assert answer.status == 200, answer
        assert made.ask("converse", "DELETE", f"/conversations/{DELETED}").status == 204
        made.keep()
        yield made
