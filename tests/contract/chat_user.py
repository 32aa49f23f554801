"""A user whose answers are learned from, with a script in the small model's place."""

import io
import json
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from botocore.exceptions import EndpointConnectionError

from converse_stream import tasks
from converse_stream.container import Container
from converse_stream.dispatch.learning import Learning
from converse_stream.limits import Spent
from converse_stream.model.stream import ModelEnd
from converse_stream.prompts.prompt import Prompt
from converse_stream.protocol.errors import ChatError, ModelUnavailable
from converse_stream.protocol.events import Chunk, Message, Usage
from converse_stream.protocol.ids import new_id
from converse_stream.store.conversations import Conversation
from converse_stream.store.generation_record import End
from converse_stream.store.generation_writer import TableWriter
from tests.contract.test_store import answer, new_head, user_message

SPENT = Usage(100, 10, basis="exact", cost=500)
FACTS = json.dumps({"facts": [{"text": "The user sails.", "kind": "fact", "confidence": 0.9}], "assistant": None})


class SmallModel:
    """Answers each job with its text, and fails at those in `broken`."""

    failure: type[ChatError] = ModelUnavailable

    def __init__(self) -> None:
        self.texts = {"Write": "A title", "Extract": FACTS, "Summarise": "A summary", "Classify": "travel"}
        self.broken: set[str] = set()
        self.before: Callable[[], object] = lambda: None
        self.asked: list[Prompt] = []
        self.finish_reason = "stop"

    def answer(self, prompt: Prompt, *_: Any, **__: Any) -> Generator[Chunk | ModelEnd, None, None]:
        self.asked.append(prompt)
        self.before()
        job = prompt.system.partition(" ")[0]
        if job in self.broken:
            raise self.failure
        yield Chunk(self.texts[job])
        yield ModelEnd(self.finish_reason, SPENT)

    @property
    def jobs(self) -> list[str]:
        return [prompt.system.partition(" ")[0] for prompt in self.asked]


class Invocations:
    """In place of boto3's Lambda client."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.broken = False

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:
        assert InvocationType == "Event"
        if self.broken:
            raise EndpointConnectionError(endpoint_url="lambda")
        self.events.append((FunctionName, json.loads(Payload)))
        return {"StatusCode": 202, "Payload": io.BytesIO()}


class ChatUser:
    """A user with a conversation, what the small model says, and what was started for them."""

    def __init__(self, app: Container, **changed: Any) -> None:
        self.key, self.conversation = f"user-{new_id()}", new_id()
        self.model, self.started = SmallModel(), Invocations()
        self.app = app
        app.settings = app.settings.model_copy(update=changed)
        app.learning = Learning(self.started, "tasks", app.flags)
        app.models.answer = self.model.answer  # type: ignore[method-assign]  # a script in the model's place

    def says(self, text: str, reply: str = "I see.", finish_reason: str = "stop") -> str:
        """The generation of the answer."""
        return self._answered(None, user_message(text), reply, finish_reason, instead=False)

    def asks_again(self, reply: str = "I see, again.") -> str:
        """The generation of an answer that takes the last one's place."""
        known, [last] = self.app.conversations.recent(self.key, self.conversation, 1)
        return self._answered(known, last, reply, "stop", instead=True)

    def _answered(self, known: Conversation | None, message: Message, reply: str, reason: str, *, instead: bool) -> str:
        record = new_head(self.conversation)
        writer = self.app.generations.start(self.key, record, known, message, replace_last=instead)
        assert isinstance(writer, TableWriter)
        said = answer(Chunk(reply), generation_id=writer.record.gid, finish_reason=reason)
        said = replace(said, id=writer.record.message_id)
        writer.flush([Chunk(reply)])
        writer.finish(said, End("done", "stop", Usage(1, 2, basis="exact")))
        return writer.record.gid

    def learn(self, gid: str) -> Any:
        """The steps that were taken."""
        return tasks.run({"task": "learn", "user": self.key, "generation": gid}, self.app, 30)["learned"]

    def while_asked(self, event: Callable[[], object]) -> None:
        """Lets something happen while the small model is asked for the first time."""

        def happen() -> None:
            self.model.before = lambda: None
            event()

        self.model.before = happen

    @property
    def used(self) -> Spent:
        """What was counted today."""
        return self.app.usages.read(self.key, "address").user

    @property
    def facts(self) -> list[str]:
        return [fact.text for fact in self.app.facts.all(self.key)]

    @property
    def known(self) -> Conversation:
        return self.app.conversations.get(self.key, self.conversation)
