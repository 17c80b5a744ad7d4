"""The machine that the tests share: whether it is busy, and which test may have it alone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: tests run one after the other there
    fcntl = None  # type: ignore[assignment]

#: Seconds over which the use of the processors is measured.
_LOOK = 0.25
_STAT = Path("/proc/stat")


def is_busy() -> bool:
    """Tell whether other processes use more than half of the processors at this moment.

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


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Hold the machine together with the other worker processes of a test run, or ``alone``.

    Args:
        folder: Where the worker processes meet; it is the same for all of them.
        alone: Wait until no other test runs, and let none start.
    """
    if fcntl is None:
        yield
        return
    with (folder / "machine.lock").open("wb") as machine:
        with (folder / "next.lock").open("wb") as queue:  # a test that waits to be alone keeps others from starting
            fcntl.flock(queue, fcntl.LOCK_EX)
            fcntl.flock(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
