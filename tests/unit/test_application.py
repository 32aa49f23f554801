"""What the application makes of a request, over a table in memory."""

import json
from collections.abc import Generator
from types import SimpleNamespace
from typing import Any
from unittest import mock

from aws_lambda_powertools.utilities.typing import LambdaContext

from chat.application import Application
from chat.auth import User
from chat.events import Chunk, Complete, Usage
from chat.model.stream import Ended
from chat.model.transport import Call
from chat.prompts.prompt import Prompt
from chat.requests import ChatRequest, Send, parse
from chat.settings import Settings
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


def test_the_prompt_knows_what_was_answered_between_our_look_and_our_start() -> None:
    interrupted = Interrupted()
    dynamo = FakeDynamo(interrupted)
    prompts: list[Prompt] = []

    def answer(prompt: Prompt, alias: str, options: Any, call: Call, **_: Any) -> Generator[Chunk | Ended, None, None]:
        prompts.append(prompt)
        yield Chunk(f"answer {len(prompts)}")
        yield Ended("stop", Usage())

    def send(text: str) -> None:
        request = parse(ChatRequest, json.dumps({"message": {"text": text}, "conversationId": "conversation"}).encode())
        turn = app.start(ALICE, request, Send(text, text), context)
        assert isinstance(turn, Turn)
        with turn:
            while not isinstance(turn.wait(0, 5)[-1].event, Complete):
                pass

    settings = Settings(table_name="table", auth_mode="dev", url_auth_type="NONE", inference_profile="us")
    context: LambdaContext = SimpleNamespace(  # type: ignore[assignment]  # as much of it as is used
        get_remaining_time_in_millis=lambda: 60_000, aws_request_id="request"
    )
    with (
        mock.patch("chat.application.boto3.client", return_value=dynamo),
        mock.patch("chat.impatience.client", return_value=dynamo),
        mock.patch("chat.application.Bedrock"),
    ):
        app = Application(settings)
    app.models.answer = answer  # type: ignore[method-assign]  # a script in the model's place
    send("first")
    interrupted.event = lambda: send("second")
    send("third")

    assert prompts[-1].turn.content == ("third",)
    assert [turn.content for turn in prompts[-1].history] == [("first",), ("answer 1",), ("second",), ("answer 2",)]
