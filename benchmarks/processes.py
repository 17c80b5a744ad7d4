"""The processes of a benchmark: start them, read what they cost, and always stop them.

What a process cost is read from ``/proc``.  Where there is none, costs are ``nan`` and
the tables show a dash.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
_SOURCE = Path(__file__).resolve().parents[1] / "src"
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


def launch(
    command: Sequence[str], *, output: bool = False, env: Mapping[str, str] | None = None
) -> subprocess.Popen[str]:
    """Start a process that does not outlive this one, and that a Ctrl-C in the terminal does not reach."""
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    ends_with_us = [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []
    return subprocess.Popen(
        [*ends_with_us, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if output else None,
        text=True,
        env=env,
        start_new_session=True,
    )


def role(*words: object, before: Sequence[str] = (), interpreted: bool = False) -> subprocess.Popen[str]:
    """Start a role of :mod:`benchmarks.roles`.

    Args:
        words: Its arguments.
        before: A program that runs it, such as a profiler.
        interpreted: Our code comes from its source, although it may be installed in another form.
    """
    env = {**os.environ, "PYTHONPATH": str(_SOURCE)} if interpreted else None
    return launch([*before, sys.executable, "-m", "benchmarks.roles", *map(str, words)], output=True, env=env)


def started(stack: ExitStack, *words: object, interpreted: bool = False) -> subprocess.Popen[str]:
    """Start a role that is stopped, at the latest, when ``stack`` closes."""
    process = role(*words, interpreted=interpreted)
    stack.callback(stop, process)
    return process


def stop(process: subprocess.Popen[str]) -> None:
    """Stop a process that may have ended already, and its children: SIGTERM first, then SIGKILL."""
    if process.poll() is None:
        for pid in reversed(tree(process.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait until a role has ended and return the figures it printed.

    Raises:
        RuntimeError: It failed.
    """
    lines = [line for line in process.communicate()[0].splitlines() if line.startswith("{")]
    if process.returncode or not lines:
        raise RuntimeError(f"a process of the benchmark failed ({process.returncode}): {process.args!r}")
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def ready(process: subprocess.Popen[str]) -> None:
    """Wait until a role reports that it is ready.

    Raises:
        RuntimeError: It ended before that.
    """
    assert process.stdout is not None
    while (line := process.stdout.readline()) != "ready\n":  # a profiler around it may print lines, too
        if not line:
            raise RuntimeError(f"a process of the benchmark failed: {process.args!r}")


def tree(pid: int) -> list[int]:
    """Return the ids of a process and of all that descend from it."""
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, Path(task, "children").read_text().split())
    return found


def cpu_seconds(pid: int | None) -> float:
    """Return the processor time of a process and its descendants, those that have ended included."""
    if pid is None or not Path("/proc/self/stat").exists():
        return math.nan
    used = 0
    for process in tree(pid):
        with contextlib.suppress(OSError):  # it has just ended: its time is counted for its parent now
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            used += sum(map(int, fields[11:15]))
    return used / _TICKS


def children_seconds() -> float:
    """Return the processor time of everything that this process has started."""
    return cpu_seconds(os.getpid()) - time.process_time()


def resident_mb(pid: int) -> float:
    """Return the memory of a process, in MB."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20
    except OSError:
        return math.nan


def most_resident_mb(pid: int | str = "self") -> float:
    """Return the most memory a process has had, in MB.

    Not ``getrusage``: on Linux its figure starts with that of the process that forked this one.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return math.nan
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024
