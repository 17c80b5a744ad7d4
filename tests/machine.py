"""The machine that the tests share: whether it is busy with other things."""

from __future__ import annotations

import os
import time
from pathlib import Path

#: Seconds over which the use of the processors is measured.
_LOOK = 0.25
_STAT = Path("/proc/stat")


def is_busy() -> bool:
    """Return whether other processes use more than half of the processors at this moment.

    Without ``/proc/stat`` the load average of the last minute has to do.
    """
    if not _STAT.exists():
        return os.getloadavg()[0] > (os.cpu_count() or 1)
    total, idle = _processor_time()
    time.sleep(_LOOK)
    later_total, later_idle = _processor_time()
    return 2 * (later_idle - idle) < later_total - total


def _processor_time() -> tuple[int, int]:
    """Return how much processor time has passed since the machine started, and how much of it idle, in ticks."""
    ticks = [int(field) for field in _STAT.read_text("ascii").partition("\n")[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


def resident() -> float:
    """Return how many megabytes of memory this process has, or 0 where ``/proc`` does not tell."""
    file = Path("/proc/self/statm")
    return int(file.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20 if file.exists() else 0.0
