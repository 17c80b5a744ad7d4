"""What an idle worker costs."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import Any

from .job import Job, stage
from .plan import Plan, Say
from .processes import cpu_seconds, launch, ready, resident_mb, stop
from .results import Column, Finding, Part, Row, cells
from .stores import STORES

#: What an idle worker may cost.
WANTED_PERCENT, WANTED_MB = 0.5, 80

#: How many seconds a worker has been idle before it is measured.
_SETTLES = 15

#: What any asyncio program costs on this machine that wakes up once a second and does nothing.
_BARE = """
import asyncio, contextlib
with contextlib.suppress(ImportError):
    import uvloop; uvloop.install()
async def main():
    while True:
        await asyncio.sleep(1)
asyncio.run(main())
"""

_COLUMNS = (
    Column(key="worker", title="worker", unit="% of a core", digits=2, chart="bars"),
    Column(key="server", title="database server", unit="% of a core", digits=2),
    Column(key="bare", title="a loop that only wakes once a second", unit="% of a core", digits=2),
    Column(key="rss", title="worker's memory", unit="MB", chart="bars"),
)


def part(plan: Plan, say: Say) -> Part:
    """Watch an idle worker on each store."""
    rows, findings = [], []
    for store in plan.stores:
        say(f"idle on {STORES[store]}, {plan.runs} times {plan.idle_seconds:g} s")
        found = [measure(store, plan.idle_seconds) for _ in range(plan.runs)]
        row = Row(label=STORES[store], cells=cells(found, _COLUMNS))
        rows.append(row)
        findings += [
            Finding(
                what=f"processor time of an idle worker on {row.label}",
                value=row.cells["worker"], unit="% of a core", at_most=WANTED_PERCENT,
            ),
            Finding(
                what=f"memory of an idle worker on {row.label}",
                value=row.cells["rss"], unit="MB", digits=0, at_most=WANTED_MB,
            ),
        ]  # fmt: skip
    return Part(
        name="idle",
        title="Nothing to do",
        about=f"A worker on a store with one subscription and no events, watched for {plan.idle_seconds:g} s after"
        f" {_SETTLES} s of nothing. It asks the store every fifteen seconds whether there is work, cleans"
        " up once a minute, and sleeps otherwise. Most of what it costs is the price of waking up, so an empty event"
        " loop is watched beside it.",
        columns=_COLUMNS,
        rows=rows,
        findings=findings,
        across="store",
    )


def measure(store: str, seconds: float) -> dict[str, Any]:
    """Return what an idle worker and its server use."""
    with ExitStack() as stack:
        on = stack.enter_context(stage(Job(store=store)))
        worker = on.worker(stack)
        ready(worker)
        bare = launch([sys.executable, "-c", _BARE])
        stack.callback(stop, bare)
        time.sleep(_SETTLES)
        pids = {"worker": worker.pid, "server": on.database.pid, "bare": bare.pid}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        started = time.monotonic()
        time.sleep(seconds)
        watched = time.monotonic() - started
        used = {name: (cpu_seconds(pid) - before[name]) / watched * 100 for name, pid in pids.items()}
        return {**used, "rss": resident_mb(worker.pid)}
