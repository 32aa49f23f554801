"""Calls that the table repeats: a write that meets a transaction or is throttled, a batch that is read in part."""

import random
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from converse_stream.limits import CurrentUsage, make_slot
from converse_stream.protocol.errors import NotFound, StorageError
from converse_stream.store import keys, table
from converse_stream.store.facts import Facts
from converse_stream.store.table import ConditionFailed
from converse_stream.store.usage import UsageStore
from tests.property.fake_table import FakeDynamo
from tests.property.steered_store import ALICE, GENEROUS_LIMITS, Always, Store, fails

# A plain write that meets a transaction


@pytest.mark.parametrize("operation", ["put", "delete"])
def test_a_plain_write_that_meets_a_transaction_is_repeated(store: Store, slept: list[float], operation: str) -> None:
    there = store.dynamo.table()
    if operation == "delete":
        there.put({"pk": "p", "sk": "s"})
    store.once.arm(operation, fails("conflict"))
    _write(there, operation)
    assert (("p", "s") in store.dynamo.items) == (operation == "put")
    assert len(slept) == 1


@pytest.mark.parametrize("operation", ["put", "delete"])
@pytest.mark.usefixtures("slept")
def test_a_plain_write_that_meets_transactions_all_the_time_is_a_storage_error(operation: str) -> None:
    steering = Always(operation, "conflict")
    with pytest.raises(StorageError):
        _write(FakeDynamo(steering).table(), operation)
    assert steering.calls == table.ATTEMPTS


def _write(there: table.Table, operation: str) -> None:
    if operation == "put":
        there.put({"pk": "p", "sk": "s"})
    else:
        there.delete("p", "s")


# A transaction that is throttled, which boto3 does not repeat


def test_a_start_and_an_end_that_are_throttled_are_repeated_after_a_longer_pause(
    store: Store, slept: list[float]
) -> None:
    with mock.patch.object(random, "uniform", lambda _, most: most):
        store.once.arm("transact", fails("throttled"))
        writer = store.send("one")
        store.once.arm("transact", fails("throttled"))
        store.finish(writer, "answer")
        store.once.arm("transact", fails("conflict"))
        store.finish(store.send("two"), "another")
    assert store.history == ["q", "answer", "q", "another"]
    assert slept == [table.THROTTLED_PAUSE, table.THROTTLED_PAUSE, table.FIRST_PAUSE]


def test_a_transaction_that_is_throttled_all_the_time_is_a_storage_error(slept: list[float]) -> None:
    steering = Always("transact", "throttled")
    there = FakeDynamo(steering).table()
    with mock.patch.object(random, "uniform", lambda _, most: most), pytest.raises(StorageError):
        there.transact([there.put_part({"pk": "p", "sk": "s"})])
    assert steering.calls == table.ATTEMPTS
    assert sum(slept) < 2, "an answer must be stored in the margin before the function's deadline"


def test_a_transaction_whose_condition_fails_while_it_is_throttled_is_not_repeated(store: Store) -> None:
    """The condition may hold by then, but then another transaction has changed the item."""
    there = store.dynamo.table()
    body: Any = {
        "Error": {"Code": "TransactionCanceledException"},
        "CancellationReasons": [{"Code": "ConditionalCheckFailed"}, {"Code": "ThrottlingError"}],
    }
    error = ClientError(body, "TransactWriteItems")
    with mock.patch.object(store.dynamo, "transact_write_items", side_effect=error), pytest.raises(ConditionFailed):
        there.transact([])


# A batch that is read in part

WANTED = [("p", str(number)) for number in range(8)]


def test_a_batch_that_is_read_in_part_is_read_on(store: Store, slept: list[float]) -> None:
    there = store.dynamo.table()
    for pk, sk in WANTED:
        there.put({"pk": pk, "sk": sk})
    store.once.arm("batch", fails("unprocessed"))
    assert {(item["pk"], item["sk"]) for item in there.get_many(WANTED)} == set(WANTED)
    assert len(slept) == 1, "the table asks for a pause"


def test_a_batch_that_is_never_read_to_its_end_is_a_storage_error(slept: list[float]) -> None:
    steering = Always("batch", "unprocessed")
    with pytest.raises(StorageError):
        FakeDynamo(steering).table().get_many(WANTED)
    assert steering.calls < 20
    assert 0 < sum(slept) < 5


def test_a_batch_waits_for_no_pause_that_nobody_waits_for(slept: list[float]) -> None:
    steering = Always("batch", "unprocessed")
    with mock.patch.object(random, "uniform", lambda _, most: most), pytest.raises(StorageError):
        FakeDynamo(steering).table().until(0.1).get_many(WANTED)
    assert sum(slept) <= 0.1


# A write that boto3 makes twice, because the first answer was lost


def test_a_fact_that_is_forgotten_twice_by_boto3_is_forgotten(store: Store) -> None:
    facts = Facts(store.dynamo.table())
    fact = facts.add(ALICE, "sails", "fact", limit=5)
    store.once.arm("delete", fails("again"))
    facts.delete(ALICE, fact.id)
    assert facts.all(ALICE) == []
    with pytest.raises(NotFound):
        facts.delete(ALICE, fact.id)


@pytest.mark.parametrize("ahead", [0, 3_000], ids=["idle", "busy"])
@pytest.mark.parametrize("runs", [False, True], ids=["without an answer", "with an answer"])
def test_a_rate_that_is_moved_twice_by_boto3_moves_one_step(store: Store, ahead: int, *, runs: bool) -> None:
    usages, now = UsageStore(store.dynamo.table(), GENEROUS_LIMITS, lambda: store.at), int(store.at * 1000)
    rates = [(keys.limits(ALICE), keys.RATE), keys.address("here")]
    for pk, sk in rates:
        store.dynamo.items[pk, sk] = {"pk": pk, "sk": sk, "tat": Decimal(now + ahead)}
    taken = make_slot(now + 60_000, "gid") if runs else None
    with mock.patch.object(
        store.once, "before", lambda operation, *_, **__: "again" if operation == "update" else "none"
    ):
        usages.admit(ALICE, "here", taken, CurrentUsage(tat=now + ahead, address_tat=now + ahead))
    assert [int(store.dynamo.items[key]["tat"]) - now - ahead for key in rates] == [1_000, 1_000]
