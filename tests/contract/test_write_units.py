"""Write units of one answer, as DynamoDB reports them."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from converse_stream.limits import Budget, Rate, Rules, make_slot
from converse_stream.protocol.events import Chunk, Usage
from converse_stream.protocol.ids import new_id
from converse_stream.store.conversations import Conversations
from converse_stream.store.generation_record import End
from converse_stream.store.table import Table
from converse_stream.store.usage import UsageStore
from tests.contract.dynamodb_local.server import DynamoDBLocal
from tests.contract.test_store import ALICE, answer, begin, user_message

WRITES = ("PutItem", "UpdateItem", "TransactWriteItems")
# Real prose, five characters a token: the stored text is compressed, and generated words compress too well.
PROSE = Path("LICENSE").read_text(encoding="utf-8").split()
TOKENS = [" ".join(PROSE)[at : at + 5] for at in range(0, 5000, 5)]


class WriteUnits:
    """Write units so far, of the table by operation and of its index."""

    def __init__(self) -> None:
        self.table: list[tuple[str, float]] = []
        self.index = 0.0

    def note(self, parsed: dict[str, Any], model: Any, **_: object) -> None:
        consumed = parsed.get("ConsumedCapacity", [])
        for capacity in consumed if isinstance(consumed, list) else [consumed]:
            self.table.append((model.name, capacity["Table"]["CapacityUnits"]))
            self.index += sum(index["CapacityUnits"] for index in capacity.get("GlobalSecondaryIndexes", {}).values())

    @property
    def total(self) -> float:
        return sum(units for _, units in self.table)


@pytest.fixture
def write_units() -> WriteUnits:
    return WriteUnits()


@pytest.fixture
def conversations(dynamodb_local: DynamoDBLocal, write_units: WriteUnits) -> Iterator[Conversations]:
    client = boto3.client("dynamodb", endpoint_url=dynamodb_local.url)
    add_parameter: Any = lambda params, **_: {**params, "ReturnConsumedCapacity": "INDEXES"}  # noqa: E731  # a hook
    for operation in WRITES:
        client.meta.events.register(f"provide-client-params.dynamodb.{operation}", add_parameter)
        client.meta.events.register(f"after-call.dynamodb.{operation}", write_units.note)
    yield Conversations(Table(client, client.list_tables()["TableNames"][0]))
    client.close()


def test_write_units_of_a_1000_token_answer_at_one_flush_per_second(
    conversations: Conversations, write_units: WriteUnits
) -> None:
    """At 50 tokens a second: one early flush, then twenty."""
    conversation = new_id()
    earlier = begin(conversations, ALICE, conversation, user_message("Hello"))
    earlier.finish(answer(Chunk("Hi")), End("done", "stop", Usage(1, 2, basis="exact")))
    write_units.table.clear()
    write_units.index = 0

    rules = Rules(Rate.per_minute(30, 10), Rate.per_minute(300, 100), 5, Budget(1_000_000, 0), Budget(0, 0))
    usages = UsageStore(conversations._table, rules)
    usages.admit(ALICE, "address", make_slot(int(time.time() * 1000) + 60_000, "gid"), usages.read(ALICE, "address"))
    admitted, write_units.table[:] = write_units.total, []
    assert admitted == 2

    writer = begin(conversations, ALICE, conversation, user_message("Tell me about rivers, please, at some length."))
    for at in [0, *range(12, 1000, 50)]:
        end = 12 if at == 0 else at + 50
        writer.flush([Chunk(token) for token in TOKENS[at:end]])
    streamed = sum(units for operation, units in write_units.table if operation != "TransactWriteItems")
    writer.finish(answer(Chunk("".join(TOKENS))), End("done", "stop", Usage(100, 1000, basis="exact")))

    assert streamed <= 26
    budgets = 2 * 2  # in the last transaction: the deployment's daily budget, and the user's slot
    assert write_units.total - budgets <= 45
    assert admitted + write_units.total + write_units.index <= 60
