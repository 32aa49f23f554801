"""What Lambda allows an execution environment: time to start, memory, CPU time."""

import json
import time
from pathlib import Path

import pytest

from local_stack.lambda_service import pool
from local_stack.lambda_service.processes import VCPU_MEGABYTES, CpuRation
from tests.wire.lambda_entry_points import Doors, doors, eventually
from tests.wire.test_local_lambda_invoke import invoker

MEGABYTE = 1024 * 1024
pytestmark = pytest.mark.anyio
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="/proc tells what a process uses")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def error_of(system: Doors, **order: object) -> str:
    """The type of the error that the plain function's invocation ends with; empty for none."""
    _, payload = await invoker(system)(order)
    return str(json.loads(payload).get("errorType", ""))


async def test_an_init_that_takes_too_long_is_run_again_with_the_first_invocation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pool, "INIT_SECONDS", 1.5)
    async with doors(environment={"SLOW_INIT": str(tmp_path / "begun")}) as system:
        assert await error_of(system) == ""
    assert "INIT_REPORT Phase: init Status: timeout" in capfd.readouterr().err


async def test_the_second_init_has_the_functions_timeout(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pool, "INIT_SECONDS", 0.01)
    async with doors(timeout=0.02) as system:
        assert await error_of(system) == "Sandbox.Timedout"
    assert "INIT_REPORT Phase: invoke Status: timeout" in capfd.readouterr().err


@linux
async def test_an_environment_above_its_memory_is_killed_and_replaced() -> None:
    async with doors(memory=128) as system:
        assert await error_of(system, allocate=200 * MEGABYTE, hold=10) == "Runtime.OutOfMemory"
        assert await error_of(system) == ""


@linux
async def test_a_burst_of_memory_costs_the_environment_and_no_later_invocation() -> None:
    async with doors(memory=128) as system:
        assert await error_of(system, allocate=200 * MEGABYTE, hold=0) in {"", "Runtime.OutOfMemory"}
        await eventually(lambda: not system.pools["Plain"].environments)
        assert await error_of(system) == ""


@linux
async def test_cpu_time_is_in_proportion_to_memory() -> None:
    async with doors(memory=VCPU_MEGABYTES // 10, rationed=True) as system:
        assert await error_of(system) == ""
        begun = time.monotonic()
        assert await error_of(system, burn=0.3) == ""
        assert time.monotonic() - begun > 1.5  # three seconds, but for the first period's and the last one's


def test_a_ration_is_earned_by_time_and_not_saved() -> None:
    ration = CpuRation(VCPU_MEGABYTES // 2, used=1.0, now=0.0)
    assert not ration.is_used_up(1.0, 10.0)
    assert not ration.is_used_up(1.009, 10.0)
    assert ration.is_used_up(1.03, 10.0)
    assert ration.is_used_up(1.03, 10.03)
    assert not ration.is_used_up(1.03, 10.05)
    whole = CpuRation(VCPU_MEGABYTES, used=0.0, now=0.0)
    assert not any(whole.is_used_up(at / 100, at / 100) for at in range(1, 100))


def test_more_memory_than_a_processors_worth_is_never_used_up_by_one_thread() -> None:
    ration = CpuRation(2 * VCPU_MEGABYTES, used=0.0, now=0.0)
    assert not any(ration.is_used_up(at / 100, at / 100) for at in range(1, 100))
