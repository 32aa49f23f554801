"""Limits of an execution environment: init time, memory and CPU time."""

import json
import time
from pathlib import Path

import pytest

from local_stack.lambda_service import pool
from local_stack.lambda_service.processes import VCPU_MEGABYTES, CpuRation
from tests.wire.lambda_entry_points import EntryPoints, entry_points, eventually
from tests.wire.test_local_lambda_invoke import invoker

MEGABYTE = 1024 * 1024
pytestmark = pytest.mark.anyio
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory and CPU time are read from /proc")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def error_of(system: EntryPoints, **event: object) -> str:
    """Invokes the plain function. Returns its error type, or an empty string."""
    _, payload = await invoker(system)(event)
    return str(json.loads(payload).get("errorType", ""))


async def test_an_init_that_times_out_runs_again_at_the_first_invocation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pool, "INIT_SECONDS", 1.5)
    async with entry_points(environment={"SLOW_INIT": str(tmp_path / "started")}) as system:
        assert await error_of(system) == ""
    assert "INIT_REPORT Phase: init Status: timeout" in capfd.readouterr().err


async def test_the_second_init_has_the_functions_timeout(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pool, "INIT_SECONDS", 0.01)
    async with entry_points(timeout=0.02) as system:
        assert await error_of(system) == "Sandbox.Timedout"
    assert "INIT_REPORT Phase: invoke Status: timeout" in capfd.readouterr().err


@linux
async def test_an_environment_above_its_memory_is_killed_and_replaced() -> None:
    async with entry_points(memory=128) as system:
        assert await error_of(system, allocate=200 * MEGABYTE, hold=10) == "Runtime.OutOfMemory"
        assert await error_of(system) == ""


@linux
async def test_a_short_excess_of_memory_ends_the_environment_only() -> None:
    async with entry_points(memory=128) as system:
        assert await error_of(system, allocate=200 * MEGABYTE, hold=0) in {"", "Runtime.OutOfMemory"}
        await eventually(lambda: not system.pools["Plain"].environments)
        assert await error_of(system) == ""


@linux
async def test_cpu_time_is_proportional_to_memory() -> None:
    async with entry_points(memory=VCPU_MEGABYTES // 10, rationed=True) as system:
        assert await error_of(system) == ""
        started_at = time.monotonic()
        assert await error_of(system, burn=0.3) == ""
        assert time.monotonic() - started_at > 1.5  # three seconds, except for the first and the last period


def test_unused_cpu_time_is_not_saved() -> None:
    ration = CpuRation(VCPU_MEGABYTES // 2, used=1.0, now=0.0)
    assert not ration.is_used_up(1.0, 10.0)
    assert not ration.is_used_up(1.009, 10.0)
    assert ration.is_used_up(1.03, 10.0)
    assert ration.is_used_up(1.03, 10.03)
    assert not ration.is_used_up(1.03, 10.05)
    one_processor = CpuRation(VCPU_MEGABYTES, used=0.0, now=0.0)
    assert not any(one_processor.is_used_up(tick / 100, tick / 100) for tick in range(1, 100))


def test_one_thread_never_exhausts_the_ration_of_two_processors() -> None:
    ration = CpuRation(2 * VCPU_MEGABYTES, used=0.0, now=0.0)
    assert not any(ration.is_used_up(tick / 100, tick / 100) for tick in range(1, 100))
