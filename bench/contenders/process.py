"""A process that is measured: it has one processor for itself, and the benchmark with its servers another one."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@cache
def processors() -> tuple[int, int]:
    """The processor of the measured process, and that of the servers."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def pin() -> None:
    """Binds this process, which has the servers, to its processor."""
    os.sched_setaffinity(0, {processors()[1]})


@dataclass(frozen=True)
class Command:
    """How to start a process. It has only these `variables`."""

    arguments: Sequence[str]
    folder: Path
    variables: Mapping[str, str]


class MeasuredProcess:
    """A running process. `started_at` is a time of `time.perf_counter`."""

    def __init__(self, process: "subprocess.Popen[bytes]", started_at: float) -> None:
        self.started_at = started_at
        self._process = process

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def cpu_seconds(self) -> float:
        """The CPU time that all threads have used so far."""
        return time.clock_gettime((~self._process.pid << 3) | 2)  # the clock id of clock_getcpuclockid(3)

    def resident_megabytes(self) -> float:
        """The resident memory, in MiB."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise ProcessLookupError(self._process.pid)


@contextmanager
def started(command: Command, log: Path) -> Iterator[MeasuredProcess]:
    """Starts the process on its own processor, and kills its group at the end. Its output goes to `log`."""
    with log.open("wb") as output:
        os.sched_setaffinity(0, {processors()[0]})  # a child inherits it
        started_at = time.perf_counter()
        try:
            process = subprocess.Popen(
                command.arguments,
                cwd=command.folder,
                env=dict(command.variables),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        finally:
            pin()
    try:
        yield MeasuredProcess(process, started_at)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
