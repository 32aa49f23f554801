"""What the application makes of a request, over a table in memory."""

import json
from collections.abc import Generator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import SecretStr

from chat.application import Application
from chat.auth import User
from chat.events import Chunk, Complete, Progress, Usage
from chat.model.stream import Ended
from chat.model.transport import Call
from chat.prompts.prompt import Prompt
from chat.prompts.prompt import Turn as PromptTurn
from chat.requests import ChatRequest, Options, Send, parse
from chat.settings import Settings, SettingsError
from chat.turn import Turn
from tests.property.fake_table import Calm, FakeDynamo, Fault

ALICE = User("alice")


class Interrupted(Calm):
    """Before the next transaction, something else happens."""

    def __init__(self) -> None:
        self.event: Any = None

    def before(self, operation: str, pks: Any, *, writes: bool) -> Fault:
        """See Steering."""
        if operation == "transact" and self.event is not None:
            event, self.event = self.event, None
            event()
        return "none"


def application(dynamo: FakeDynamo, **settings: Any) -> Application:
    known = {"table_name": "table", "auth_mode": "dev", "url_auth_type": "NONE", "inference_profile": "us"}
    with (
        mock.patch("chat.application.boto3.client", return_value=dynamo),
        mock.patch("chat.impatience.client", return_value=dynamo),
        mock.patch("chat.application.Bedrock"),
    ):
        return Application(Settings.model_validate(known | settings))


def said(app: Application, user: User, text: str) -> Complete:
    """How the answer to this ended."""
    request = parse(ChatRequest, json.dumps({"message": {"text": text}, "conversationId": "conversation"}).encode())
    context: LambdaContext = SimpleNamespace(  # type: ignore[assignment]  # as much of it as is used
        get_remaining_time_in_millis=lambda: 60_000, aws_request_id="request"
    )
    turn = app.start(user, request, Send(text, text), context)
    assert isinstance(turn, Turn)
    with turn:
        while not isinstance(end := turn.wait(0, 5)[-1].event, Complete):
            pass
    return end


def test_the_prompt_knows_what_was_answered_between_our_look_and_our_start() -> None:
    interrupted = Interrupted()
    dynamo = FakeDynamo(interrupted)
    prompts: list[Prompt] = []

    def answer(prompt: Prompt, alias: str, options: Any, call: Call, **_: Any) -> Generator[Chunk | Ended, None, None]:
        prompts.append(prompt)
        yield Chunk(f"answer {len(prompts)}")
        yield Ended("stop", Usage())

    def send(text: str) -> None:
        said(app, ALICE, text)

    app = application(dynamo)
    app.models.answer = answer  # type: ignore[method-assign]  # a script in the model's place
    send("first")
    interrupted.event = lambda: send("second")
    send("third")

    assert prompts[-1].turn.content == ("third",)
    assert [turn.content for turn in prompts[-1].history] == [("first",), ("answer 1",), ("second",), ("answer 2",)]


def test_a_cut_answer_costs_what_its_speaker_costs_and_nothing_by_an_own_key() -> None:
    def answer(*_: Any, **__: Any) -> Generator[Chunk | Progress, None, None]:
        yield Progress("fallback", "nova-micro")
        yield Chunk("a word " * 20)
        yield Chunk("too much" * 1000)

    app = application(FakeDynamo(Calm()), default_model="nova-pro", max_answer_bytes=1000)
    app.models.answer = answer  # type: ignore[method-assign]  # a script in the model's place
    cut = said(app, ALICE, "first")
    assert (cut.finish_reason, cut.ai_message.model) == ("length", "nova-micro")
    exactly = replace(cut.usage, cost=None)
    assert cut.usage == app.models["nova-micro"].priced(exactly, Options())
    assert cut.usage.cost
    own = said(app, User("bob", bedrock_key=SecretStr("key")), "second")
    assert (own.usage.basis, own.usage.output_tokens, own.usage.cost) == ("estimated", cut.usage.output_tokens, None)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_the_guardrail_looks_when_the_settings_say(mode: str) -> None:
    app = application(FakeDynamo(Calm()), guardrail_id="abc", guardrail_version="1", guardrail_streaming=mode)
    _, asked = app.models.request(Prompt("", (), "", PromptTurn("user", ("hi",))), "nova-lite", Options())
    assert asked["guardrailConfig"]["streamProcessingMode"] == mode


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"default_model": "nova-lite", "allowed_models": "nova-pro"}, "DEFAULT_MODEL"),
        ({"default_model": "gpt"}, "DEFAULT_MODEL"),
        ({"task_model": "gpt"}, "TASK_MODEL"),
        ({"allowed_models": "nova-lite,gpt"}, "ALLOWED_MODELS"),
    ],
)
def test_settings_that_name_no_model_are_refused(settings: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        application(FakeDynamo(Calm()), **settings)
