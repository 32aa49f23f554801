"""Calls with a deadline: the caller stops waiting at the deadline, and the call ends."""

import threading
import time
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from converse_stream.aws import deadlines
from converse_stream.aws.deadlines import DeadlineExecutor
from tests.wire.slow_server import FIRST_BYTES, slow_server, threads_ended

KEY = {"pk": {"S": "a"}, "sk": {"S": "b"}}


def client(url: str, seconds: float) -> Any:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
        return deadlines.client("dynamodb", seconds)


@pytest.mark.parametrize("first", FIRST_BYTES.values(), ids=FIRST_BYTES)
@pytest.mark.parametrize("wait", [True, False])
def test_a_call_ends_at_the_deadline_whatever_the_server_does(first: bytes, *, wait: bool) -> None:
    with slow_server(first) as server:
        slow_client, started_at = client(server.url, 60), time.monotonic()
        executor = DeadlineExecutor("call", 1, started_at + 0.2)
        late_call = executor.submit(slow_client.get_item, TableName="t", Key=KEY)
        if wait:
            assert late_call not in executor.wait()
            assert time.monotonic() - started_at >= 0.2
        else:
            assert server.request_received.wait(5)
            executor.cancel()
        assert threads_ended("call")
        assert time.monotonic() - started_at < 5


def test_a_call_after_the_deadline_does_not_connect() -> None:
    with slow_server() as server:
        slow_client = client(server.url, 60)
        executor = DeadlineExecutor("call", 1, time.monotonic())
        release = threading.Event()
        late_call = executor.submit(lambda: release.wait() and slow_client.get_item(TableName="t", Key=KEY))
        assert executor.wait() == set()
        release.set()
        assert threads_ended("call")
        assert type(late_call.exception()) is ConnectTimeoutError
        assert not server.request_received.is_set()


def test_wait_returns_the_tasks_that_ended_before_the_deadline() -> None:
    executor = DeadlineExecutor("call", 3, time.monotonic() + 0.2)
    release = threading.Event()
    good, bad, late_call = executor.submit(str, 1), executor.submit(int, "x"), executor.submit(release.wait)
    assert executor.wait() == {good, bad}
    assert (good.result(), type(bad.exception()), late_call.done()) == ("1", ValueError, False)
    release.set()
    assert threads_ended("call")


def test_a_client_with_a_deadline_times_out() -> None:
    with slow_server() as server:
        fast_client, started_at = client(server.url, 0.2), time.monotonic()
        with pytest.raises(ReadTimeoutError):
            fast_client.get_item(TableName="t", Key=KEY)
        assert time.monotonic() - started_at < 2
        timeout = fast_client.service.pool.timeout
        assert timeout.connect_timeout + timeout.read_timeout <= 0.2
