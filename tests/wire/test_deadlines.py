"""Nobody waits longer than they wanted to, and what they do not wait for ends."""

import threading
import time
from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError

from converse_stream.aws import deadlines
from converse_stream.aws.deadlines import DeadlineExecutor
from tests.wire.slow_server import DRIPS, gone, slow_server

KEY = {"pk": {"S": "a"}, "sk": {"S": "b"}}


def client(url: str, seconds: float) -> Any:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL_DYNAMODB", url)
        return deadlines.client("dynamodb", seconds)


@pytest.mark.parametrize("first", DRIPS.values(), ids=DRIPS)
@pytest.mark.parametrize("waited_for", [True, False])
def test_an_errand_is_broken_off_whatever_the_other_side_does(first: bytes, *, waited_for: bool) -> None:
    with slow_server(first) as server:
        patient, begun = client(server.url, 60), time.monotonic()
        errands = DeadlineExecutor("errand", 1, begun + 0.2)
        late = errands.submit(patient.get_item, TableName="t", Key=KEY)
        if waited_for:
            assert late not in errands.wait()
            assert time.monotonic() - begun >= 0.2
        else:
            assert server.asked.wait(5)
            errands.cancel()
        assert gone("errand")
        assert time.monotonic() - begun < 5


def test_an_errand_without_time_is_broken_off_before_it_connects() -> None:
    with slow_server() as server:
        patient = client(server.url, 60)
        errands = DeadlineExecutor("errand", 1, time.monotonic())
        stopped = threading.Event()
        late = errands.submit(lambda: stopped.wait() and patient.get_item(TableName="t", Key=KEY))
        assert errands.wait() == set()
        stopped.set()
        assert gone("errand")
        assert type(late.exception()) is ConnectTimeoutError
        assert not server.asked.is_set()


def test_what_ended_in_time_is_there_whether_it_failed_or_not() -> None:
    errands = DeadlineExecutor("errand", 3, time.monotonic() + 0.2)
    never = threading.Event()
    good, bad, late = errands.submit(str, 1), errands.submit(int, "x"), errands.submit(never.wait)
    assert errands.wait() == {good, bad}
    assert (good.result(), type(bad.exception()), late.done()) == ("1", ValueError, False)
    never.set()
    assert gone("errand")


def test_a_client_gives_up_by_itself() -> None:
    with slow_server() as server:
        quick, begun = client(server.url, 0.2), time.monotonic()
        with pytest.raises(ReadTimeoutError):
            quick.get_item(TableName="t", Key=KEY)
        assert time.monotonic() - begun < 2
        assert quick.meta.config.connect_timeout + quick.meta.config.read_timeout <= 0.2
