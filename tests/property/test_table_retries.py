"""Retries of the table: conflicting and throttled writes, and batches with unprocessed keys."""

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
from tests.property.controlled_store import ALICE, HIGH_LIMITS, EveryCallHook, Store, inject
from tests.property.fake_table import FakeDynamo

# A single write that conflicts with a transaction


@pytest.mark.parametrize("operation", ["put", "delete"])
def test_a_single_write_with_a_transaction_conflict_is_retried(
    store: Store, pauses: list[float], operation: str
) -> None:
    retrying_table = store.dynamo.table()
    if operation == "delete":
        retrying_table.put({"pk": "p", "sk": "s"})
    store.hook.arm(operation, inject("conflict"))
    _write(retrying_table, operation)
    assert (("p", "s") in store.dynamo.items) == (operation == "put")
    assert len(pauses) == 1


@pytest.mark.parametrize("operation", ["put", "delete"])
@pytest.mark.usefixtures("pauses")
def test_a_single_write_with_permanent_conflicts_raises_storage_error(operation: str) -> None:
    steering = EveryCallHook(operation, "conflict")
    with pytest.raises(StorageError):
        _write(FakeDynamo(steering).table(), operation)
    assert steering.calls == table.ATTEMPTS


def _write(retrying_table: table.Table, operation: str) -> None:
    if operation == "put":
        retrying_table.put({"pk": "p", "sk": "s"})
    else:
        retrying_table.delete("p", "s")


# A throttled transaction, which boto3 does not retry


def test_a_throttled_start_and_end_are_retried_after_a_longer_pause(store: Store, pauses: list[float]) -> None:
    with mock.patch.object(random, "uniform", lambda _, high: high):
        store.hook.arm("transact", inject("throttled"))
        writer = store.send("one")
        store.hook.arm("transact", inject("throttled"))
        store.finish(writer, "answer")
        store.hook.arm("transact", inject("conflict"))
        store.finish(store.send("two"), "another")
    assert store.history == ["q", "answer", "q", "another"]
    assert pauses == [table.THROTTLED_PAUSE, table.THROTTLED_PAUSE, table.FIRST_PAUSE]


def test_a_permanently_throttled_transaction_raises_storage_error(pauses: list[float]) -> None:
    steering = EveryCallHook("transact", "throttled")
    retrying_table = FakeDynamo(steering).table()
    with mock.patch.object(random, "uniform", lambda _, high: high), pytest.raises(StorageError):
        retrying_table.transact([retrying_table.put_part({"pk": "p", "sk": "s"})])
    assert steering.calls == table.ATTEMPTS
    assert sum(pauses) < 2, "an answer must be stored in the time that is reserved before the function's deadline"


def test_a_throttled_transaction_with_a_failed_condition_is_not_retried(store: Store) -> None:
    """The condition may hold later, but then another transaction has changed the item."""
    retrying_table = store.dynamo.table()
    body: Any = {
        "Error": {"Code": "TransactionCanceledException"},
        "CancellationReasons": [{"Code": "ConditionalCheckFailed"}, {"Code": "ThrottlingError"}],
    }
    error = ClientError(body, "TransactWriteItems")
    with mock.patch.object(store.dynamo, "transact_write_items", side_effect=error), pytest.raises(ConditionFailed):
        retrying_table.transact([])


# Batches with unprocessed keys

KEYS = [("p", str(number)) for number in range(8)]


def test_unprocessed_keys_of_a_batch_are_read_again(store: Store, pauses: list[float]) -> None:
    retrying_table = store.dynamo.table()
    for pk, sk in KEYS:
        retrying_table.put({"pk": pk, "sk": sk})
    store.hook.arm("batch", inject("unprocessed"))
    assert {(item["pk"], item["sk"]) for item in retrying_table.get_many(KEYS)} == set(KEYS)
    assert len(pauses) == 1, "a pause before the retry"


def test_a_batch_with_permanently_unprocessed_keys_raises_storage_error(pauses: list[float]) -> None:
    steering = EveryCallHook("batch", "unprocessed")
    with pytest.raises(StorageError):
        FakeDynamo(steering).table().get_many(KEYS)
    assert steering.calls < 20
    assert 0 < sum(pauses) < 5


def test_a_batch_does_not_pause_beyond_its_deadline(pauses: list[float]) -> None:
    steering = EveryCallHook("batch", "unprocessed")
    with mock.patch.object(random, "uniform", lambda _, high: high), pytest.raises(StorageError):
        FakeDynamo(steering).table().until(0.1).get_many(KEYS)
    assert sum(pauses) <= 0.1


# Writes that boto3 repeats because the first response was lost


def test_a_forget_repeated_by_boto3_succeeds(store: Store) -> None:
    facts = Facts(store.dynamo.table())
    fact = facts.add(ALICE, "sails", "fact", limit=5)
    store.hook.arm("delete", inject("again"))
    facts.delete(ALICE, fact.id)
    assert facts.all(ALICE) == []
    with pytest.raises(NotFound):
        facts.delete(ALICE, fact.id)


@pytest.mark.parametrize("ahead", [0, 3_000], ids=["idle", "busy"])
@pytest.mark.parametrize("runs", [False, True], ids=["without an answer", "with an answer"])
def test_a_rate_update_repeated_by_boto3_counts_once(store: Store, ahead: int, *, runs: bool) -> None:
    usages, now = UsageStore(store.dynamo.table(), HIGH_LIMITS, lambda: store.now), int(store.now * 1000)
    rates = [(keys.limits(ALICE), keys.RATE), keys.address("here")]
    for pk, sk in rates:
        store.dynamo.items[pk, sk] = {"pk": pk, "sk": sk, "tat": Decimal(now + ahead)}
    request_slot = make_slot(now + 60_000, "gid") if runs else None
    with mock.patch.object(
        store.hook, "before", lambda operation, *_, **__: "again" if operation == "update" else "none"
    ):
        usages.admit(ALICE, "here", request_slot, CurrentUsage(tat=now + ahead, address_tat=now + ahead))
    assert [int(store.dynamo.items[key]["tat"]) - now - ahead for key in rates] == [1_000, 1_000]
