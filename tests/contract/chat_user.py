"""A user with a conversation for tests of the learn task. A fake replaces the small model."""

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
    """Answers each job with its text in `texts`; the jobs in `failing_jobs` fail."""

    failure: type[ChatError] = ModelUnavailable

    def __init__(self) -> None:
        self.texts = {"Write": "A title", "Extract": FACTS, "Summarise": "A summary", "Classify": "travel"}
        self.failing_jobs: set[str] = set()
        self.before_answer: Callable[[], object] = lambda: None
        self.prompts: list[Prompt] = []
        self.finish_reason = "stop"

    def answer(self, prompt: Prompt, *_: Any, **__: Any) -> Generator[Chunk | ModelEnd, None, None]:
        self.prompts.append(prompt)
        self.before_answer()
        job = prompt.system.partition(" ")[0]
        if job in self.failing_jobs:
            raise self.failure
        yield Chunk(self.texts[job])
        yield ModelEnd(self.finish_reason, SPENT)

    @property
    def jobs(self) -> list[str]:
        return [prompt.system.partition(" ")[0] for prompt in self.prompts]


class FakeLambdaClient:
    """Replaces boto3's Lambda client: records the events of asynchronous invocations."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.failing = False

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> dict[str, Any]:
        assert InvocationType == "Event"
        if self.failing:
            raise EndpointConnectionError(endpoint_url="lambda")
        self.events.append((FunctionName, json.loads(Payload)))
        return {"StatusCode": 202, "Payload": io.BytesIO()}


class ChatUser:
    """A user with one conversation, the fake small model, and the recorded invocations of functions."""

    def __init__(self, app: Container, **changed: Any) -> None:
        self.key, self.conversation = f"user-{new_id()}", new_id()
        self.model, self.invocations = SmallModel(), FakeLambdaClient()
        self.app = app
        app.settings = app.settings.model_copy(update=changed)
        app.learning = Learning(self.invocations, "tasks", app.flags)
        app.models.answer = self.model.answer  # type: ignore[method-assign]  # replaces the model

    def sends(self, text: str, reply: str = "I see.", finish_reason: str = "stop") -> str:
        """Stores a user message and its answer. Returns the generation id."""
        return self._store_answer(None, user_message(text), reply, finish_reason, instead=False)

    def regenerates(self, reply: str = "I see, again.") -> str:
        """Stores an answer that replaces the last one. Returns the generation id."""
        conversation, [last] = self.app.conversations.recent(self.key, self.conversation, 1)
        return self._store_answer(conversation, last, reply, "stop", instead=True)

    def _store_answer(
        self, conversation: Conversation | None, message: Message, reply: str, reason: str, *, instead: bool
    ) -> str:
        record = new_head(self.conversation)
        writer = self.app.generations.start(self.key, record, conversation, message, replace_last=instead)
        assert isinstance(writer, TableWriter)
        reply_message = answer(Chunk(reply), generation_id=writer.record.gid, finish_reason=reason)
        reply_message = replace(reply_message, id=writer.record.message_id)
        writer.flush([Chunk(reply)])
        writer.finish(reply_message, End("done", "stop", Usage(1, 2, basis="exact")))
        return writer.record.gid

    def learn(self, gid: str) -> Any:
        """Runs the learn task. Returns the names of the steps that it ran."""
        return tasks.run({"task": "learn", "user": self.key, "generation": gid}, self.app, 30)["learned"]

    def during_first_call(self, event: Callable[[], object]) -> None:
        """Calls `event` during the next call of the small model, once."""

        def run_event() -> None:
            self.model.before_answer = lambda: None
            event()

        self.model.before_answer = run_event

    @property
    def used(self) -> Spent:
        """Today's usage of the user."""
        return self.app.usages.read(self.key, "address").user

    @property
    def facts(self) -> list[str]:
        return [fact.text for fact in self.app.facts.all(self.key)]

    @property
    def stored(self) -> Conversation:
        return self.app.conversations.get(self.key, self.conversation)
