"""Replays a conversation of tests/fixtures/conversations through the services, and keeps what the models got.

Scripts replace the two models. The answering model gives the answer of the fixture. The small model gives the annotated
facts, and a summary that names the messages it was given: `msg1 msg2 …`.
"""

import json
import re
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from aws_lambda_powertools.utilities.typing import LambdaContext

from converse_stream import service, tasks
from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.dispatch.learning import Learning
from converse_stream.generation.generation import Generation, ModelEvents
from converse_stream.http.bodies import ChatRequest, Send
from converse_stream.model.stream import ModelEnd
from converse_stream.model.transport import Call
from converse_stream.prompts.prompt import Prompt, tokens
from converse_stream.protocol.events import Chunk, Usage
from converse_stream.protocol.ids import new_id
from converse_stream.protocol.options import Options
from converse_stream.store.conversations import Conversation
from tests.contract.chat_user import FakeLambdaClient

FOLDER = Path(__file__).parents[1] / "fixtures/conversations"
LANGUAGES = sorted(path.stem for path in FOLDER.glob("*.json"))
WINDOW = 30  # letters; the small model was given a message if its request has nearly all of the message's windows
GIVEN_SHARE = 0.9  # the windows at the cuts of a text that is sent in parts are in no request
EVENT_SECONDS = 20  # to wait for another thread

End: TypeAlias = Literal["stop", "cancelled", "lost"]


@dataclass(frozen=True)
class Turn:
    """A message of the user with its answer, and its annotations. See the README of the fixtures."""

    user: str
    assistant: str
    facts: Sequence[str] = ()
    forgets: int | None = None
    secret: bool = False
    greeting: bool = False
    refused_facts: Sequence[str] = ()


@dataclass(frozen=True)
class Stored:
    """A message as it is stored."""

    number: int
    role: Literal["user", "assistant"]
    text: str


@dataclass(frozen=True)
class Request:
    """What the answering model got for `turn`, and the messages that were stored before it."""

    turn: int
    action: str
    prompt: Prompt
    before: Sequence[Stored]
    facts: Sequence[str]  # known when the request was sent
    given: Set[int]  # numbers of the messages whose text the small model was given
    is_after_lost: bool  # the answer before it was lost, so no task has run since


def read_turns(language: str) -> list[Turn]:
    """The turns of the fixture."""
    document = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    return [Turn(**turn) for turn in document["turns"]]


def letters(text: str) -> str:
    """The letters and digits of the text."""
    return "".join(re.findall(r"\w", text))


def windows(text: str) -> set[str]:
    """The letters of the text in parts of `WINDOW`."""
    compact = letters(text)
    return {compact[start : start + WINDOW] for start in range(0, len(compact), WINDOW)}


def named(summary: str) -> set[int]:
    """The numbers of the messages that a summary names."""
    return {int(number) for number in re.findall(r"\bmsg(\d+)\b", summary)}


class Context(LambdaContext):
    _aws_request_id = "request"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return 60_000


@dataclass
class Replay:
    """One user with one conversation. `tokens_factor` is the real number of tokens for each estimated one."""

    app: Container
    tokens_factor: float | None = None
    requests: list[Request] = field(default_factory=list)
    given: defaultdict[int, set[str]] = field(default_factory=lambda: defaultdict(set))  # windows, by message

    def __post_init__(self) -> None:
        self.user, self.conversation_id = User(f"user-{new_id()}", "address"), f"conversation-{new_id()}"
        self._invocations = FakeLambdaClient()
        self._index, self._turn, self._action = 0, Turn("", ""), "send"
        self._text, self._end, self._fenced = "", "stop", threading.Event()
        self._before: Sequence[Stored] = ()
        self._facts: list[str] = []
        self._is_after_lost = False
        self._replaced = set[int]()  # numbers of the answers that were regenerated or continued
        self.app.learning = Learning(self._invocations, "tasks", self.app.flags)
        self.app.models.answer = self._model  # type: ignore[method-assign]  # the scripts replace the models

    @property
    def conversation(self) -> Conversation:
        return self.app.conversations.get(self.user.key, self.conversation_id)

    @property
    def facts(self) -> list[str]:
        """The stored facts."""
        return [fact.text for fact in self.app.facts.all(self.user.key)]

    def messages(self) -> list[Stored]:
        """All stored messages, oldest first."""
        if not (seq := self.conversation.seq):
            return []
        page, older = self.app.conversations.messages(self.user.key, self.conversation_id, limit=200)
        assert older is None
        return [Stored(number, each.role, each.text) for number, each in enumerate(page, seq - len(page) + 1)]

    def send(self, index: int, turn: Turn, end: End = "stop") -> None:
        """Sends the message of the turn. An answer that does not end with `stop` has half of its text."""
        self._index, self._turn = index, turn
        text = turn.assistant if end == "stop" else turn.assistant[: len(turn.assistant) // 2]
        self._run("send", {"message": {"text": turn.user}}, text, end)

    def regenerate(self, text: str) -> None:
        """Replaces the last answer by the text."""
        self._run("regenerate", {"action": "regenerate"}, text, "stop")

    def resume(self, text: str) -> None:
        """Continues the last answer with the text."""
        self._run("continue", {"action": "continue"}, text, "stop")

    def _run(self, action: str, body: Mapping[str, Any], text: str, end: End) -> None:
        self._action, self._text, self._end, self._fenced = action, text, end, threading.Event()
        self._before, self._facts = self.messages(), self.facts
        if action != "send":
            self._replaced.add(self._before[-1].number)
        request = ChatRequest.model_validate({**body, "conversationId": self.conversation_id})
        generation = service.start(self.app, self.user, request, Send(new_id(), "payload"), Context())
        assert isinstance(generation, Generation)
        with generation:
            if end == "cancelled":
                self._wait_until_stored(generation)
                service.cancel(self.app, self.user, self.conversation_id, generation.generation_id)
            elif end == "lost":
                self._wait_until_stored(generation)
                record = self.app.generations.get(self.user.key, generation.generation_id)
                assert record is not None
                self.app.generations.reap(self.user.key, record)  # as another function does when the lease has expired
                self._fenced.set()
        if end != "lost":
            self.app.learning.dispatch(self.user, generation)
        while self._invocations.events:
            _, event = self._invocations.events.pop()
            tasks.run(event, self.app, 30)
        self._is_after_lost = end == "lost"

    def _wait_until_stored(self, generation: Generation) -> None:
        """Waits until the table has the text of the running answer."""
        pause = threading.Event()
        for _ in range(EVENT_SECONDS * 20):
            record = self.app.generations.get(self.user.key, generation.generation_id)
            if record and record.length > record.prefix_length:
                return
            pause.wait(0.05)
        raise AssertionError("the answer is not in the table")

    def _model(self, prompt: Prompt, name: str, options: Options, call: Call, *, stream: bool = True) -> ModelEvents:
        if name == self.app.settings.task_model:
            yield Chunk(self._task(prompt))
            yield ModelEnd("stop", Usage())
            return
        given = {each.number for each in self._before if self.was_given(each)} | self._replaced
        lost = self._is_after_lost
        self.requests.append(Request(self._index, self._action, prompt, self._before, self._facts, given, lost))
        if self._text:
            yield Chunk(self._text)
        if self._end == "cancelled":
            call.pause(EVENT_SECONDS)
        elif self._end == "lost":
            assert self._fenced.wait(EVENT_SECONDS)
        real = round(tokens(prompt) * (self.tokens_factor or 0))
        yield ModelEnd("stop", Usage(real, 1, basis="exact") if self.tokens_factor else Usage())

    def _task(self, prompt: Prompt) -> str:
        """The answer of the small model."""
        request = "\n".join(prompt.turn.texts)
        match prompt.system.partition(" ")[0]:
            case "Extract":
                assert letters(self._turn.user)[:WINDOW] in letters(request)
                texts = [*self._turn.facts, *self._turn.refused_facts]
                facts = [{"text": text, "kind": "fact", "confidence": 0.9} for text in texts]
                return json.dumps({"facts": facts, "assistant": None})
            case "Summarise":
                compact = letters(request)
                for message in self.messages():
                    self.given[message.number] |= {each for each in windows(message.text) if each in compact}
                numbers = named(request) | {each.number for each in self.messages() if self.was_given(each)}
                return " ".join(f"msg{number}" for number in sorted(numbers))
        return "A title"

    def was_given(self, message: Stored) -> bool:
        """Whether the small model was given nearly the whole text, as it is now."""
        parts = windows(message.text)
        return len(parts & self.given[message.number]) >= GIVEN_SHARE * len(parts) > 0
