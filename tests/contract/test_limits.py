"""The rates under real concurrency: fifty requests at once, on both tables."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.config import Config

from converse_stream.limits import (
    Budget,
    Rate,
    Rules,
    make_slot,
)
from converse_stream.protocol.errors import TooManyRequests
from converse_stream.protocol.ids import new_id
from converse_stream.store.table import Table
from converse_stream.store.usage import UsageStore
from local_stack.dynamodb.server import DynamoDB
from tests.contract.dynamodb_local.server import Endpoint

AT_ONCE = 50
BURST = 10
RULES = Rules(Rate.per_minute(6, BURST), Rate.per_minute(300, 100), 1_000, Budget(0, 0), Budget(0, 0))
PATIENT = Config(max_pool_connections=2 * AT_ONCE, read_timeout=30)


@pytest.fixture
def usages(dynamodb: Endpoint) -> Iterator[UsageStore]:
    client = boto3.client("dynamodb", endpoint_url=dynamodb.url, config=PATIENT)
    yield UsageStore(Table(client, client.list_tables()["TableNames"][0]), RULES)
    client.close()


def test_of_fifty_at_once_as_many_are_admitted_as_the_rate_allows(usages: UsageStore) -> None:
    greedy, modest, address = new_id(), new_id(), new_id()

    def ask(number: int) -> tuple[str, bool]:
        user = modest if number % 10 == 0 else greedy
        taken = make_slot(int(time.time() * 1000) + 60_000, str(number))
        try:
            usages.admit(user, address, taken, usages.read(user, address))
        except TooManyRequests:
            return user, False
        return user, True

    begun = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(ask, range(AT_ONCE)))
    took = time.monotonic() - begun
    admitted = answers.count((greedy, True))
    assert BURST - 3 <= admitted <= 1 + (BURST - 1) + took * 1000 / RULES.user.interval
    assert (modest, False) not in answers, "the others notice nothing"


def test_a_table_slower_than_the_rate_refuses_nobody_who_is_within_it(moto: DynamoDB) -> None:
    """Who comes second has to ask again, and finds the table where the first would have been late already."""
    client = boto3.client("dynamodb", endpoint_url=moto.url, config=PATIENT)
    usages = UsageStore(Table(client, client.list_tables()["TableNames"][0]), RULES)
    users, address = [new_id() for _ in range(BURST)], new_id()
    used = [usages.read(user, address) for user in users]
    moto.set_faults(delay_ms=1.5 * RULES.address.interval)
    try:
        with ThreadPoolExecutor(BURST) as pool:
            list(pool.map(lambda each: usages.admit(each[0], address, None, each[1]), zip(users, used, strict=True)))
    finally:
        moto.set_faults()
        client.close()
