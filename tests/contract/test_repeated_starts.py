"""A send that is tried again, through the whole application: it attaches to what its first try began."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from converse_stream.application import Application
from converse_stream.auth import User
from converse_stream.generation.generation import Turn
from converse_stream.http.bodies import ChatRequest, Send
from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.events import Chunk, Usage
from converse_stream.protocol.ids import new_id
from converse_stream.settings import Settings
from converse_stream.store import keys
from converse_stream.store.generation_record import LIFETIME, Head
from converse_stream.store.generation_records import Heads
from converse_stream.store.generation_writer import Writer
from tests.contract.dynamodb_local.server import Endpoint
from tests.contract.somebody import Somebody
from tests.contract.test_round_trips import Context
from tests.contract.test_store import new_head, user_message


@pytest.fixture
def app(dynamodb: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Application:
    """One that waits for the history, on a machine that is busy."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url)
    known = {"table_name": "ChatTable", "auth_mode": "dev", "url_auth_type": "AWS_IAM", "inference_profile": "us"}
    return Application(Settings.model_validate({**known, "memory_milliseconds": 5_000}))


def wish(action: str, somebody: Somebody) -> ChatRequest:
    return ChatRequest.model_validate({"action": action, "conversationId": somebody.conversation})


def before_it_began(*_: object) -> None:
    """The head was read a moment before the first try's start."""


def too_late(*_: object) -> None:
    """The table did not answer in time."""
    raise StorageError


@pytest.mark.parametrize("action", ["regenerate", "continue"])
@pytest.mark.parametrize("look", [before_it_began, too_late])
@pytest.mark.parametrize("ended", [False, True])
def test_a_second_try_attaches_whatever_the_lookup_saw_of_the_first(
    app: Application,
    somebody: Somebody,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    look: Callable[..., None],
    ended: bool,
) -> None:
    somebody.says("q", "half an", finish_reason="length")
    user, send = User(somebody.key, "address"), Send(new_id(), "payload")
    first = app.start(user, wish(action, somebody), send, Context())
    assert isinstance(first, Turn)
    if ended:
        first._ledger.flush([Chunk("something new")])
        head = app.generations.head(user.key, first.generation)
        assert head is not None
        app.generations.reap(user.key, head)
        app.settings = app.settings.model_copy(update={"max_continued_bytes": 1})
    looks, real = iter([look]), Heads.head

    def head_once(self: Heads, *named: Any) -> Head | None:
        seen = next(looks, None)
        return real(self, *named) if seen is None else seen()

    monkeypatch.setattr(Heads, "head", head_once)
    second = app.start(user, wish(action, somebody), send, Context())
    assert isinstance(second, Head)
    assert second.gid == first.generation


@pytest.mark.parametrize("key", [None, SecretStr("their own key")])
def test_the_head_says_what_the_prompt_costs_before_the_model_is_asked(
    app: Application, somebody: Somebody, key: SecretStr | None
) -> None:
    """What is lost is charged by it."""
    user = User(somebody.key, "address", bedrock_key=key)
    text = "How long is the river? " * 40
    body = ChatRequest.model_validate({"message": {"text": text}, "conversationId": somebody.conversation})
    turn = app.start(user, body, Send(new_id(), "payload"), Context())
    assert isinstance(turn, Turn)
    head = app.generations.head(user.key, turn.generation)
    assert head is not None
    assert len(text) / 4 < head.estimate.input_tokens < len(text)
    said = (Chunk("word " * 400),)
    expected = app.models["nova-lite"].priced(Usage(head.estimate.input_tokens, 500, basis="estimated"), body.options)
    cost = head.estimate.usage(said).cost
    assert cost == (None if key else pytest.approx(expected.cost, abs=1))
    app.generations.reap(user.key, head)
    assert somebody.used.tokens == head.estimate.input_tokens
    assert somebody.used.cost == (head.estimate.input_cost or 0)


# Items of the version before, and functions of that version


def before(user: str, head: Head) -> dict[str, Any]:
    """A head as the version before stored it."""
    return {
        "pk": keys.generation(user, head.gid), "sk": keys.HEAD, "st": "run", "own": head.owner, "fp": "payload",
        "conv": head.conversation, "seq": head.place, "mid": head.message_id, "model": "nova-lite", "n": 5, "t0": 3,
        "tail": b'[["t","de"]]', "lease": head.lease, "dl": head.deadline, "ttl": int(time.time()) + LIFETIME,
    }  # fmt: skip


def test_what_the_version_before_began_is_read_ended_and_gone_on_with(app: Application, somebody: Somebody) -> None:
    """Its heads name no answer that they replace and no costs, its segments no owner."""
    somebody.says("q", "good")
    known, [last] = app.conversations.recent(somebody.key, somebody.conversation, 1)
    writer = app.generations.start(somebody.key, new_head(somebody.conversation), known, last, instead=True)
    assert isinstance(writer, Writer)
    item = before(somebody.key, writer.head)
    app._table.put(item)
    app._table.put(
        {"pk": item["pk"], "sk": keys.segment(0), "n0": 0, "n1": 3, "ev": b'[["t","abc"]]', "ttl": item["ttl"]}
    )
    head = app.generations.alive(somebody.key, writer.head.gid)
    assert head is not None
    assert app.generations.read(somebody.key, head, 0) == [Chunk("abc"), Chunk("de")]
    assert app.generations.reap(somebody.key, head).usage == Usage(0, 2, basis="estimated")
    assert somebody.used.tokens == 3 + 2
    user = User(somebody.key, "address")
    assert isinstance(app.start(user, wish("continue", somebody), Send(new_id(), "payload"), Context()), Turn)


def test_the_version_before_reads_what_this_one_stores(app: Application, somebody: Somebody) -> None:
    """Every attribute that it reads is there, and it skips the others."""
    writer = app.generations.start(somebody.key, new_head(somebody.conversation), None, user_message("q"))
    assert isinstance(writer, Writer)
    for _ in range(40):
        writer.flush([Chunk(new_id())])
    item = app._table.get(keys.generation(somebody.key, writer.head.gid), keys.HEAD)
    segment = app._table.get(keys.generation(somebody.key, writer.head.gid), keys.segment(0))
    assert item is not None
    assert segment is not None
    assert before(somebody.key, writer.head).keys() <= item.keys()
    assert {"n0", "n1", "ev", "ttl"} <= segment.keys()


def test_a_closed_key_is_a_failed_answer_to_the_version_before(app: Application, somebody: Somebody) -> None:
    """It tells whoever comes back that the answer may be asked for again."""
    head = new_head(somebody.conversation)
    assert app.generations._close(somebody.key, head) is None
    item = app._table.get(keys.generation(somebody.key, head.gid), keys.HEAD)
    assert item is not None
    assert before(somebody.key, head).keys() <= item.keys()
    assert (item["st"], item["reason"]) == ("error", "storage")
    assert app.generations.head(somebody.key, head.gid) is None
    assert app.generations.look(somebody.key, head.gid)[0] is None
