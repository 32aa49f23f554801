"""What one answer costs in write units, as DynamoDB counts its own requests."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from converse_stream.limits import (
    Budget,
    Rate,
    Rules,
    make_slot,
)
from converse_stream.protocol.events import Chunk, Usage
from converse_stream.protocol.ids import new_id
from converse_stream.store.conversations import Conversations
from converse_stream.store.generation_record import End
from converse_stream.store.table import Table
from converse_stream.store.usage import UsageStore
from tests.contract.dynamodb_local.server import DynamoDBLocal
from tests.contract.test_store import ALICE, answer, begin, user_message

WRITES = ("PutItem", "UpdateItem", "TransactWriteItems")
# Real prose, five characters a token: what is stored is deflated, and made-up words shrink too well.
PROSE = Path("LICENSE").read_text(encoding="utf-8").split()
TOKENS = [" ".join(PROSE)[at : at + 5] for at in range(0, 5000, 5)]


class Bill:
    """Write units so far, of the table and of its index; names the operation that each came from."""

    def __init__(self) -> None:
        self.table: list[tuple[str, float]] = []
        self.index = 0.0

    def note(self, parsed: dict[str, Any], model: Any, **_: object) -> None:
        consumed = parsed.get("ConsumedCapacity", [])
        for each in consumed if isinstance(consumed, list) else [consumed]:
            self.table.append((model.name, each["Table"]["CapacityUnits"]))
            self.index += sum(index["CapacityUnits"] for index in each.get("GlobalSecondaryIndexes", {}).values())

    @property
    def total(self) -> float:
        return sum(units for _, units in self.table)


@pytest.fixture
def bill() -> Bill:
    return Bill()


@pytest.fixture
def conversations(dynamodb_local: DynamoDBLocal, bill: Bill) -> Iterator[Conversations]:
    client = boto3.client("dynamodb", endpoint_url=dynamodb_local.url)
    ask: Any = lambda params, **_: {**params, "ReturnConsumedCapacity": "INDEXES"}  # noqa: E731  # a hook
    for operation in WRITES:
        client.meta.events.register(f"provide-client-params.dynamodb.{operation}", ask)
        client.meta.events.register(f"after-call.dynamodb.{operation}", bill.note)
    yield Conversations(Table(client, client.list_tables()["TableNames"][0]))
    client.close()


def test_a_1000_token_answer_at_one_flush_a_second(conversations: Conversations, bill: Bill) -> None:
    """50 tokens a second: one early flush, then twenty."""
    conversation = new_id()
    earlier = begin(conversations, ALICE, conversation, user_message("Hello"))
    earlier.finish(answer(Chunk("Hi")), End("done", "stop", Usage(1, 2, basis="exact")))
    bill.table.clear()
    bill.index = 0

    rules = Rules(Rate.per_minute(30, 10), Rate.per_minute(300, 100), 5, Budget(1_000_000, 0), Budget(0, 0))
    usages = UsageStore(conversations._table, rules)
    usages.admit(ALICE, "address", make_slot(int(time.time() * 1000) + 60_000, "gid"), usages.read(ALICE, "address"))
    admitted, bill.table[:] = bill.total, []
    assert admitted == 2

    writer = begin(conversations, ALICE, conversation, user_message("Tell me about rivers, please, at some length."))
    for at in [0, *range(12, 1000, 50)]:
        end = 12 if at == 0 else at + 50
        writer.flush([Chunk(token) for token in TOKENS[at:end]])
    streamed = sum(units for operation, units in bill.table if operation != "TransactWriteItems")
    writer.finish(answer(Chunk("".join(TOKENS))), End("done", "stop", Usage(100, 1000, basis="exact")))

    assert streamed <= 26
    budgets = 2 * 2  # in the last transaction: the deployment's day, and the user's slot
    assert bill.total - budgets <= 45
    assert admitted + bill.total + bill.index <= 60
