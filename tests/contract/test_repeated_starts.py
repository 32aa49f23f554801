"""Repeated sends through the whole application: they attach to the generation of the first send."""

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
from converse_stream.protocol.tokens import estimate_tokens
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
    """An application whose lookup has enough time on a busy machine."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.url)
    required = {"table_name": "ChatTable", "auth_mode": "dev", "url_auth_type": "AWS_IAM", "inference_profile": "us"}
    return Container(Settings.model_validate({**required, "memory_milliseconds": 5_000}))


def request_body(action: str, chat_user: ChatUser) -> ChatRequest:
    return ChatRequest.model_validate({"action": action, "conversationId": chat_user.conversation})


def record_missing(*_: object) -> None:
    """The lookup read the record just before the first request started."""


def table_too_late(*_: object) -> None:
    """The table did not respond in time."""
    raise StorageError


@pytest.mark.parametrize("action", ["regenerate", "continue"])
@pytest.mark.parametrize("lookup", [record_missing, table_too_late])
@pytest.mark.parametrize("ended", [False, True])
def test_a_repeated_request_attaches_to_the_first_although_the_lookup_missed_it(
    app: Container,
    chat_user: ChatUser,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    lookup: Callable[..., None],
    ended: bool,
) -> None:
    chat_user.sends("q", "half an", finish_reason="length")
    user, send = User(chat_user.key, "address"), Send(new_id(), "payload")
    first = service.start(app, user, request_body(action, chat_user), send, Context())
    assert isinstance(first, Generation)
    if ended:
        first._writer.flush([Chunk("new text")])
        record = app.generations.get(user.key, first.generation_id)
        assert record is not None
        app.generations.reap(user.key, record)
        app.settings = app.settings.model_copy(update={"max_continued_bytes": 1})
    results, real_record = iter([lookup]), GenerationRecords.get

    def record_once(self: GenerationRecords, *names: Any) -> GenerationRecord | None:
        result = next(results, None)
        return real_record(self, *names) if result is None else result()

    monkeypatch.setattr(GenerationRecords, "get", record_once)
    second = service.start(app, user, request_body(action, chat_user), send, Context())
    assert isinstance(second, GenerationRecord)
    assert second.gid == first.generation_id


@pytest.mark.parametrize("key", [None, SecretStr("user's own key")])
def test_the_record_has_the_estimated_cost_of_the_prompt_before_the_model_call(
    app: Container, chat_user: ChatUser, key: SecretStr | None
) -> None:
    """A lost generation is charged by this estimate."""
    user = User(chat_user.key, "address", bedrock_key=key)
    text = "How long is the river? " * 40
    body = ChatRequest.model_validate({"message": {"text": text}, "conversationId": chat_user.conversation})
    turn = service.start(app, user, body, Send(new_id(), "payload"), Context())
    assert isinstance(turn, Generation)
    record = app.generations.get(user.key, turn.generation_id)
    assert record is not None
    assert estimate_tokens(text) < record.estimate.input_tokens < len(text)
    answer = "word " * 400
    usage = Usage(record.estimate.input_tokens, estimate_tokens(answer), basis="estimated")
    expected = app.models["nova-lite"].priced(usage, body.options)
    cost = record.estimate.usage((Chunk(answer),)).cost
    assert cost == (None if key else pytest.approx(expected.cost, abs=1))
    app.generations.reap(user.key, record)
    assert chat_user.used.tokens == record.estimate.input_tokens
    assert chat_user.used.cost == (record.estimate.input_cost or 0)


# Items and functions of the previous version


def previous_version_item(user: str, record: GenerationRecord) -> dict[str, Any]:
    """Returns a generation record as the previous version stored it."""
    return {
        "pk": keys.generation(user, record.gid), "sk": keys.RECORD, "st": "run", "own": record.owner, "fp": "payload",
        "conv": record.conversation, "seq": record.seq, "mid": record.message_id, "model": "nova-lite", "n": 5,
        "t0": 3,
        "tail": b'[["t","de"]]', "lease": record.lease, "dl": record.deadline, "ttl": int(time.time()) + LOG_LIFETIME,
    }  # fmt: skip


def test_a_generation_of_the_previous_version_is_read_ended_and_continued(app: Container, chat_user: ChatUser) -> None:
    """Its records have no replaced answer and no costs, its segments no owner."""
    chat_user.sends("q", "good")
    conversation, [last] = app.conversations.recent(chat_user.key, chat_user.conversation, 1)
    writer = app.generations.start(
        chat_user.key, new_head(chat_user.conversation), conversation, last, replace_last=True
    )
    assert isinstance(writer, TableWriter)
    item = previous_version_item(chat_user.key, writer.record)
    app.table.put(item)
    app.table.put(
        {"pk": item["pk"], "sk": keys.segment(0), "n0": 0, "n1": 3, "ev": b'[["t","abc"]]', "ttl": item["ttl"]}
    )
    record = app.generations.get_or_reap(chat_user.key, writer.record.gid)
    assert record is not None
    assert app.generations.read(chat_user.key, record, 0) == [Chunk("abc"), Chunk("de")]
    tokens = estimate_tokens("abcde")
    assert app.generations.reap(chat_user.key, record).usage == Usage(0, tokens, basis="estimated")
    assert chat_user.used.tokens == 3 + tokens
    user = User(chat_user.key, "address")
    assert isinstance(
        service.start(app, user, request_body("continue", chat_user), Send(new_id(), "payload"), Context()), Generation
    )


def test_items_have_every_attribute_that_the_previous_version_reads(app: Container, chat_user: ChatUser) -> None:
    """It ignores the other attributes."""
    writer = app.generations.start(chat_user.key, new_head(chat_user.conversation), None, user_message("q"))
    assert isinstance(writer, TableWriter)
    for _ in range(40):
        writer.flush([Chunk(new_id())])
    item = app.table.get(keys.generation(chat_user.key, writer.record.gid), keys.RECORD)
    segment = app.table.get(keys.generation(chat_user.key, writer.record.gid), keys.segment(0))
    assert item is not None
    assert segment is not None
    assert previous_version_item(chat_user.key, writer.record).keys() <= item.keys()
    assert {"n0", "n1", "ev", "ttl"} <= segment.keys()


def test_the_previous_version_reads_a_closed_key_as_a_failed_answer(app: Container, chat_user: ChatUser) -> None:
    """So it responds to a repeated send that the answer can be requested again."""
    record = new_head(chat_user.conversation)
    assert app.generations._close(chat_user.key, record) is None
    item = app.table.get(keys.generation(chat_user.key, record.gid), keys.RECORD)
    assert item is not None
    assert previous_version_item(chat_user.key, record).keys() <= item.keys()
    assert (item["st"], item["reason"]) == ("error", "storage")
    assert app.generations.get(chat_user.key, record.gid) is None
    assert app.generations.observe(chat_user.key, record.gid)[0] is None
