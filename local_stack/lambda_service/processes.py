"""Memory and CPU time of an execution environment, which is a process group. Reads /proc, so it needs Linux."""

import contextlib
import os
import time
from pathlib import Path

CACHE_SECONDS = 0.1  # how long the list of processes is used
PERIOD_SECONDS = 0.02  # unused CPU time is lost after this time
VCPU_MEGABYTES = 1_769  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html


class ProcessGroups:
    """The processes of this machine by group. The list is read again after CACHE_SECONDS. It is empty without /proc."""

    def __init__(self) -> None:
        self._members: dict[int, list[int]] = {}
        self._until = 0.0

    def members(self, group: int) -> list[int]:
        now = time.monotonic()
        if now >= self._until:
            self._members, self._until = _by_group(), now + CACHE_SECONDS
        return self._members.get(group, [])

    def peak_memory(self, group: int) -> int:
        """Return the sum of the members' peak resident memory, in bytes."""
        return sum(map(_peak_memory, self.members(group)))

    def cpu_seconds(self, group: int) -> float:
        """Return the CPU time that the members have used since their start, in seconds."""
        return sum(map(_cpu_seconds, self.members(group)))


class CpuRation:
    """Decides when a process group must pause, so that its CPU time is in proportion to its memory.

    `memory` is in megabytes; VCPU_MEGABYTES is one processor. CPU time that is not used within PERIOD_SECONDS is lost.
    If the group has used too much between two checks, it pauses longer. `used` is the group's CPU time in seconds,
    `now` the monotonic clock.
    """

    def __init__(self, memory: int, used: float, now: float) -> None:
        self._share = memory / VCPU_MEGABYTES
        self._allowed = used + self._share * PERIOD_SECONDS
        self._at = now

    def is_used_up(self, used: float, now: float) -> bool:
        """Return whether the group must pause now."""
        earned, self._at = self._share * (now - self._at), now
        self._allowed = min(self._allowed + earned, used + self._share * PERIOD_SECONDS)
        return used >= self._allowed


def _by_group() -> dict[int, list[int]]:
    groups: dict[int, list[int]] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(ProcessLookupError):
                    groups.setdefault(os.getpgid(int(name)), []).append(int(name))
    return groups


def _peak_memory(pid: int) -> int:
    with contextlib.suppress(OSError):  # the process has ended
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _cpu_seconds(pid: int) -> float:
    with contextlib.suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)  # the clock id of clock_getcpuclockid(3)
    return 0.0
