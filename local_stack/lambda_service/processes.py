"""What the processes of an execution environment use. They are one process group; /proc tells, so this is for Linux."""

import contextlib
import os
import time
from pathlib import Path

FRESH = 0.1  # seconds for which a look at the processes of this machine counts
PERIOD = 0.02  # seconds within which unused CPU time is lost
VCPU_MEGABYTES = 1_769  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html


class ProcessGroups:
    """The processes of this machine by their group, looked up at most every FRESH seconds; none without /proc."""

    def __init__(self) -> None:
        self._members: dict[int, list[int]] = {}
        self._until = 0.0

    def members(self, group: int) -> list[int]:
        now = time.monotonic()
        if now >= self._until:
            self._members, self._until = _by_group(), now + FRESH
        return self._members.get(group, [])

    def peak_memory(self, group: int) -> int:
        """Bytes that were resident at most, of each member by itself."""
        return sum(map(_peak_memory, self.members(group)))

    def cpu_seconds(self, group: int) -> float:
        """CPU time that the members have used since they started."""
        return sum(map(_cpu_seconds, self.members(group)))


class CpuRation:
    """When a process group must pause, so that it gets CPU time in proportion to its memory in megabytes.

    That is one processor for VCPU_MEGABYTES. What is not used within PERIOD is lost; what was used too much between
    two looks is waited for. `used` is the group's CPU seconds, `now` the monotonic clock.
    """

    def __init__(self, memory: int, used: float, now: float) -> None:
        self._share = memory / VCPU_MEGABYTES
        self._allowed = used + self._share * PERIOD
        self._at = now

    def is_used_up(self, used: float, now: float) -> bool:
        """Whether the group must pause now."""
        earned, self._at = self._share * (now - self._at), now
        self._allowed = min(self._allowed + earned, used + self._share * PERIOD)
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
    with contextlib.suppress(OSError):  # it has ended
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


def _cpu_seconds(pid: int) -> float:
    with contextlib.suppress(OSError):
        return time.clock_gettime((~pid << 3) | 2)  # the clock that clock_getcpuclockid(3) names
    return 0.0
