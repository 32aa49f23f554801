"""Both functions with a stored conversation of one user, and helpers that lead to every possible response."""

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
from local_stack.bedrock.emulated_model import EmulatedModel
from local_stack.bedrock.errors import BedrockError
from local_stack.bedrock.events import Event, Json, message_stop
from streaming_runtime.error_response import response_after_error
from streaming_runtime.invocation import Invocation
from tests.fuzz.functions import Context, Functions, Name, functions
from tests.openapi.description import Answer, Description
from tests.property.fake_table import Fault, NoFaults

USER = User.of("dev", "laptop", "local")
CONVERSATION = "conversation-of-user"
DELETED = "conversation-deleted"
FACT = "fact-of-user"
NO_HEADERS: Mapping[str, str] = {}


class FailingTable(NoFaults):
    """A table whose every operation fails while `is_broken` is set."""

    is_broken = False

    def before(self, operation: str, pks: Sequence[str], *, writes: bool) -> Fault:
        return "before" if self.is_broken else "none"


class Model(EmulatedModel):
    """The stand-in with two more directives: `refuse:CODE` raises that error, `stop:REASON` sets the stop reason."""

    async def converse(self, model_id: str, body: Json) -> AsyncGenerator[Event, None]:
        text = json.dumps(body["messages"][-1])
        if "refuse:" in text:
            raise BedrockError(text.partition("refuse:")[2].split()[0], "refused")
        async for event in super().converse(model_id, body):
            if event.name == "messageStop" and "stop:" in text:
                event = message_stop(text.partition("stop:")[2].split()[0])
            yield event


class Environment:
    """Sends requests to both functions in this process."""

    patch: pytest.MonkeyPatch

    def __init__(self, both: Functions, table: FailingTable) -> None:
        self._functions = both
        self.table = table
        response = self.request("converse", "GET", "/openapi.json")
        self.description = Description(json.loads(response.body))

    def module(self, name: Name) -> ModuleType:
        return self._functions.modules[name]

    def app(self, name: Name) -> Any:
        return self.module(name).app

    def reset(self) -> None:
        self._functions.reset()

    def keep(self) -> None:
        self._functions.keep()

    def put(self, item: dict[str, Any]) -> None:
        self._functions.dynamo.items[(item["pk"], item["sk"])] = item

    def change_settings(self, name: Name, **settings: Any) -> None:
        """Changes settings for the rest of the test."""
        app = self.app(name)
        self.patch.setattr(app, "settings", app.settings.model_copy(update=settings))

    def request(
        self,
        name: Name,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] = NO_HEADERS,
        context: Context | None = None,
    ) -> Answer:
        """The response of a function to a request. A `body` other than bytes is encoded as JSON."""
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
            response = self._functions.invoke(name, json.dumps(event).encode(), context)
        except Exception:
            if name != "stream":
                raise
            response = _of_the_runtime(event, context.aws_request_id)
        assert not response.get("isBase64Encoded")
        headers = {name.lower(): value for name, value in response["headers"].items()}
        return Answer(response["statusCode"], headers, response.get("body", "").encode())

    def start(self, body: Mapping[str, Any], key: str = "", conversation: str = CONVERSATION) -> GenerationRecord:
        """The record of a generation that is started and produces no text."""
        chat = ChatRequest.model_validate({"conversationId": conversation, **body})
        generation = service.start(
            self.app("stream"), USER, chat, parse_send({"idempotency-key": key} if key else {}, chat), Context()
        )
        assert isinstance(generation, Generation)
        record: GenerationRecord | None = service.running(self.app("stream"), USER, conversation)
        assert record
        return record

    def add_maximum_followers(self, record: GenerationRecord) -> None:
        """Adds the maximum number of followers to a generation."""
        for number in range(5):
            self.app("stream").generations.add_follower(USER.key, record.gid, f"tab-{number}", "mark")


def _of_the_runtime(event: object, request_id: str) -> dict[str, Any]:
    """The response of the streaming runtime when the handler raises."""
    response = response_after_error(Invocation(request_id, event=event), None)
    return {"statusCode": response.status, "headers": response.headers, "body": b"".join(response.body).decode()}


@contextmanager
def environment() -> Iterator[Environment]:
    table = FailingTable()
    with functions(Model(), table) as both:
        prepared = Environment(both, table)
        hello = {"message": {"text": "Hello [[tokens=3 pace=1 first=0]]"}}
        for conversation in (CONVERSATION, DELETED):
            answer = prepared.request("stream", "POST", "/chat?stream=false", {**hello, "conversationId": conversation})
            assert answer.status == 200, answer
        assert prepared.request("converse", "DELETE", f"/conversations/{DELETED}").status == 204
        prepared.keep()
        yield prepared
