"""A send that is tried again, through the whole application: it attaches to what its first try began."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from converse_stream import service
from converse_stream.auth import User
from converse_stream.container import Container
from converse_stream.generation.generation import Generation
from converse_stream.http.bodies import ChatRequest, Send
from converse_stream.protocol.errors import StorageError
from converse_stream.protocol.events import Chunk, Usage
from converse_stream.protocol.ids import new_id
from converse_stream.settings import Settings
from converse_stream.store import keys
from converse_stream.store.generation_record import LOG_LIFETIME, GenerationRecord
from converse_stream.store.generation_records import GenerationRecords
from converse_stream.store.generation_writer import TableWriter
from tests.contract.chat_user import ChatUser
from tests.contract.dynamodb_local.server import Endpoint
from tests.contract.test_round_trips import Context
from tests.contract.test_store import new_head, user_message


@pytest.fixture
def app(dynamodb: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Container:
    """One that waits for the history, on a machine that is busy."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url)
    known = {"table_name": "ChatTable", "auth_mode": "dev", "url_auth_type": "AWS_IAM", "inference_profile": "us"}
    return Container(Settings.model_validate({**known, "memory_milliseconds": 5_000}))


def wish(action: str, chat_user: ChatUser) -> ChatRequest:
    return ChatRequest.model_validate({"action": action, "conversationId": chat_user.conversation})


def before_it_began(*_: object) -> None:
    """The head was read a moment before the first try's start."""


def too_late(*_: object) -> None:
    """The table did not answer in time."""
    raise StorageError


@pytest.mark.parametrize("action", ["regenerate", "continue"])
@pytest.mark.parametrize("look", [before_it_began, too_late])
@pytest.mark.parametrize("ended", [False, True])
def test_a_second_try_attaches_whatever_the_lookup_saw_of_the_first(
    app: Container,
    chat_user: ChatUser,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    look: Callable[..., None],
    ended: bool,
) -> None:
    chat_user.says("q", "half an", finish_reason="length")
    user, send = User(chat_user.key, "address"), Send(new_id(), "payload")
    first = service.start(app, user, wish(action, chat_user), send, Context())
    assert isinstance(first, Generation)
    if ended:
        first._writer.flush([Chunk("something new")])
        record = app.generations.get(user.key, first.generation_id)
        assert record is not None
        app.generations.reap(user.key, record)
        app.settings = app.settings.model_copy(update={"max_continued_bytes": 1})
    looks, real = iter([look]), GenerationRecords.get

    def record_once(self: GenerationRecords, *named: Any) -> GenerationRecord | None:
        seen = next(looks, None)
        return real(self, *named) if seen is None else seen()

    monkeypatch.setattr(GenerationRecords, "get", record_once)
    second = service.start(app, user, wish(action, chat_user), send, Context())
    assert isinstance(second, GenerationRecord)
    assert second.gid == first.generation_id


@pytest.mark.parametrize("key", [None, SecretStr("their own key")])
def test_the_head_says_what_the_prompt_costs_before_the_model_is_asked(
    app: Container, chat_user: ChatUser, key: SecretStr | None
) -> None:
    """What is lost is charged by it."""
    user = User(chat_user.key, "address", bedrock_key=key)
    text = "How long is the river? " * 40
    body = ChatRequest.model_validate({"message": {"text": text}, "conversationId": chat_user.conversation})
    turn = service.start(app, user, body, Send(new_id(), "payload"), Context())
    assert isinstance(turn, Generation)
    record = app.generations.get(user.key, turn.generation_id)
    assert record is not None
    assert len(text) / 4 < record.estimate.input_tokens < len(text)
    said = (Chunk("word " * 400),)
    expected = app.models["nova-lite"].priced(Usage(record.estimate.input_tokens, 500, basis="estimated"), body.options)
    cost = record.estimate.usage(said).cost
    assert cost == (None if key else pytest.approx(expected.cost, abs=1))
    app.generations.reap(user.key, record)
    assert chat_user.used.tokens == record.estimate.input_tokens
    assert chat_user.used.cost == (record.estimate.input_cost or 0)


# Items of the version before, and functions of that version


def before(user: str, record: GenerationRecord) -> dict[str, Any]:
    """A head as the version before stored it."""
    return {
        "pk": keys.generation(user, record.gid), "sk": keys.RECORD, "st": "run", "own": record.owner, "fp": "payload",
        "conv": record.conversation, "seq": record.seq, "mid": record.message_id, "model": "nova-lite", "n": 5,
        "t0": 3,
        "tail": b'[["t","de"]]', "lease": record.lease, "dl": record.deadline, "ttl": int(time.time()) + LOG_LIFETIME,
    }  # fmt: skip


def test_what_the_version_before_began_is_read_ended_and_gone_on_with(app: Container, chat_user: ChatUser) -> None:
    """Its heads name no answer that they replace and no costs, its segments no owner."""
    chat_user.says("q", "good")
    known, [last] = app.conversations.recent(chat_user.key, chat_user.conversation, 1)
    writer = app.generations.start(chat_user.key, new_head(chat_user.conversation), known, last, replace_last=True)
    assert isinstance(writer, TableWriter)
    item = before(chat_user.key, writer.record)
    app.table.put(item)
    app.table.put(
        {"pk": item["pk"], "sk": keys.segment(0), "n0": 0, "n1": 3, "ev": b'[["t","abc"]]', "ttl": item["ttl"]}
    )
    record = app.generations.get_or_reap(chat_user.key, writer.record.gid)
    assert record is not None
    assert app.generations.read(chat_user.key, record, 0) == [Chunk("abc"), Chunk("de")]
    assert app.generations.reap(chat_user.key, record).usage == Usage(0, 2, basis="estimated")
    assert chat_user.used.tokens == 3 + 2
    user = User(chat_user.key, "address")
    assert isinstance(
        service.start(app, user, wish("continue", chat_user), Send(new_id(), "payload"), Context()), Generation
    )


def test_the_version_before_reads_what_this_one_stores(app: Container, chat_user: ChatUser) -> None:
    """Every attribute that it reads is there, and it skips the others."""
    writer = app.generations.start(chat_user.key, new_head(chat_user.conversation), None, user_message("q"))
    assert isinstance(writer, TableWriter)
    for _ in range(40):
        writer.flush([Chunk(new_id())])
    item = app.table.get(keys.generation(chat_user.key, writer.record.gid), keys.RECORD)
    segment = app.table.get(keys.generation(chat_user.key, writer.record.gid), keys.segment(0))
    assert item is not None
    assert segment is not None
    assert before(chat_user.key, writer.record).keys() <= item.keys()
    assert {"n0", "n1", "ev", "ttl"} <= segment.keys()


def test_a_closed_key_is_a_failed_answer_to_the_version_before(app: Container, chat_user: ChatUser) -> None:
    """It tells whoever comes back that the answer may be asked for again."""
    record = new_head(chat_user.conversation)
    assert app.generations._close(chat_user.key, record) is None
    item = app.table.get(keys.generation(chat_user.key, record.gid), keys.RECORD)
    assert item is not None
    assert before(chat_user.key, record).keys() <= item.keys()
    assert (item["st"], item["reason"]) == ("error", "storage")
    assert app.generations.get(chat_user.key, record.gid) is None
    assert app.generations.observe(chat_user.key, record.gid)[0] is None
