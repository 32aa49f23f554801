"""Rate limits with fifty concurrent requests, on both tables."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
from botocore.config import Config

from converse_stream.limits import Budget, Rate, Rules, make_slot
from converse_stream.protocol.errors import TooManyRequests
from converse_stream.protocol.ids import new_id
from converse_stream.store.table import Table
from converse_stream.store.usage import UsageStore
from local_stack.dynamodb.server import DynamoDB
from tests.contract.dynamodb_local.server import Endpoint

CONCURRENT = 50
BURST = 10
RULES = Rules(Rate.per_minute(6, BURST), Rate.per_minute(300, 100), 1_000, Budget(0, 0), Budget(0, 0))
LONG_TIMEOUT = Config(max_pool_connections=2 * CONCURRENT, read_timeout=30)


@pytest.fixture
def usages(dynamodb: Endpoint) -> Iterator[UsageStore]:
    client = boto3.client("dynamodb", endpoint_url=dynamodb.url, config=LONG_TIMEOUT)
    yield UsageStore(Table(client, client.list_tables()["TableNames"][0]), RULES)
    client.close()


def test_fifty_concurrent_requests_are_admitted_up_to_the_rate(usages: UsageStore) -> None:
    heavy_user, light_user, address = new_id(), new_id(), new_id()

    def admit(number: int) -> tuple[str, bool]:
        user = light_user if number % 10 == 0 else heavy_user
        request_slot = make_slot(int(time.time() * 1000) + 60_000, str(number))
        try:
            usages.admit(user, address, request_slot, usages.read(user, address))
        except TooManyRequests:
            return user, False
        return user, True

    started_at = time.monotonic()
    with ThreadPoolExecutor(CONCURRENT) as pool:
        answers = list(pool.map(admit, range(CONCURRENT)))
    seconds = time.monotonic() - started_at
    admitted = answers.count((heavy_user, True))
    assert BURST - 3 <= admitted <= 1 + (BURST - 1) + seconds * 1000 / RULES.user.interval
    assert (light_user, False) not in answers, "other users are not limited"


def test_a_slow_table_does_not_refuse_requests_within_the_rate(moto: DynamoDB) -> None:
    """A request that loses a race retries after the time at which the rate would refuse the first one."""
    client = boto3.client("dynamodb", endpoint_url=moto.url, config=LONG_TIMEOUT)
    usages = UsageStore(Table(client, client.list_tables()["TableNames"][0]), RULES)
    users, address = [new_id() for _ in range(BURST)], new_id()
    used = [usages.read(user, address) for user in users]
    moto.set_faults(delay_ms=1.5 * RULES.address.interval)
    try:
        with ThreadPoolExecutor(BURST) as pool:
            list(pool.map(lambda pair: usages.admit(pair[0], address, None, pair[1]), zip(users, used, strict=True)))
    finally:
        moto.set_faults()
        client.close()
